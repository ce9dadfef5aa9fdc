//! Looking at things: typed views, in bounded pages.
//!
//! Lists are paged by an opaque cursor: the key after the last row looked at, in hexadecimal.

pub mod asked;
mod doubts;
mod log;
mod notices;
pub(super) mod page;
mod rows;
mod schedules;
mod stats;
mod tasks;
mod tenants;
mod walk;
mod why;

use super::Engine;
use super::letter;
use super::refusal::{Code, Refusal, not_found};
use super::view::View;
use crate::caught::{self, caught};
use crate::kv::{Fault, Kv};
use crate::time::Timestamp;

pub use asked::{DeadKind, LogFilter, Query, QueueStats, Stats, TenantStats};
pub(super) use page::SCAN_ROWS;
pub use page::{Page, limit};

impl<K: Kv> Engine<K> {
    /// Answers a query. A store that cannot be read there, and a panic on the way, are refusals: who
    /// looks never ends the process. A change that meets the same damage does.
    pub(super) fn query(&mut self, now: Timestamp, query: Query) -> Result<View, Refusal> {
        let asked = query.name();
        let words = match caught(|| self.look(now, query)) {
            Ok(Ok(answer)) => return answer,
            Ok(Err(fault)) => fault.to_string(),
            Err(panic) => panic,
        };
        let words = caught::cut(&words);
        tracing::error!(
            event = "query.failed",
            asked,
            why = words,
            "what was asked for cannot be read; restart the daemon: it then makes its store anew from image and journal"
        );
        Err(Refusal::new(
            Code::Unreadable,
            format!("this cannot be read from the store, the daemon goes on: {words}"),
        ))
    }

    fn look(&mut self, now: Timestamp, query: Query) -> Result<Result<View, Refusal>, Fault> {
        Ok(match query {
            Query::Notices { tenant, state, key: Some(key), .. } => {
                self.notice_of_key(now, tenant, state, &key)?.map(View::Notices)
            }
            Query::Notices { tenant, state, key: None, marks, order, page } => {
                self.list_notices(now, tenant, state, &marks, order, &page)?.map(View::Notices)
            }
            Query::Notice(id) => self.show_notice(now, id)?.map(|it| View::Notice(Box::new(it))),
            Query::Deliveries { notice, state, openid, page } => {
                self.list_deliveries(notice, state, openid, &page)?.map(View::Deliveries)
            }
            Query::Delivery(id) => self.show_delivery(id)?.map(|it| View::Delivery(Box::new(it))),
            Query::Log { filter, order, page } => {
                self.list_log(&filter, order, &page)?.map(View::Log)
            }
            Query::Tenants => Ok(View::Tenants(self.list_tenants(now)?)),
            Query::Tasks { kind, state, key: Some(key), payload, .. } => {
                self.task_of_key(kind, state, &key, payload)?.map(View::Tasks)
            }
            Query::Tasks { kind, state, key: None, marks, payload, order, page } => {
                let filter = (kind, state, marks);
                self.list_tasks(filter, payload, order, &page)?.map(View::Tasks)
            }
            Query::Task(id) => self.show_task(id)?.map(|it| View::Task(Box::new(it))),
            Query::Queues { kind, page } => self.list_queues(now, kind, &page)?.map(View::Queues),
            Query::Dead { kind, only, payload, page } => {
                self.list_dead(kind, only, payload, &page)?.map(View::Dead)
            }
            Query::Letter(id) => match letter::letter_view(&self.tx, id)? {
                Some(letter) => Ok(View::Letter(Box::new(letter))),
                None => Err(not_found("dead letter of a notice", id)),
            },
            Query::Schedules => Ok(View::Schedules(self.list_schedules()?)),
            Query::Runs { schedule, page } => self.list_runs(schedule, &page)?.map(View::Runs),
            Query::Run(id) => self.show_run(id)?.map(|it| View::Run(Box::new(it))),
            Query::Quarantine(page) => self.list_quarantine(&page)?.map(View::Quarantine),
            Query::Pending => Ok(View::Pending(self.pending()?)),
            Query::Stats => Ok(View::Stats(Box::new(self.stats(now)?))),
            Query::Attention => Ok(View::Attention(self.attention(now)?)),
            Query::Count { notice, states, errcode, page } => {
                self.count_deliveries(notice, &states, errcode, &page)?.map(View::Count)
            }
            Query::Why { tenant, openid, notice, reference } => {
                let tenant = tenant.as_deref();
                let id = match self.notice_meant(tenant, &openid, notice, reference)? {
                    Ok(id) => id,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                self.why(now, tenant, &openid, id)?.map(|it| View::Why(Box::new(it)))
            }
            Query::Doubts { tenant, notice, page } => {
                self.list_doubts(tenant, notice, &page)?.map(View::Deliveries)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;
    use crate::engine::command::{Command, Reply};
    use crate::engine::{Handled, Identity, Mode};
    use crate::kv::memory::MemoryKv;
    use crate::kv::{Key, TreeNo, Value, Write};
    use crate::model::rules::Rules;
    use crate::store::{Order, Store};

    /// A base whose scans fail by and by: 1 with an error, 2 with a panic as sled's.
    struct Rotten(MemoryKv, AtomicU8);

    impl Kv for Rotten {
        fn get(&self, tree: TreeNo, key: &[u8]) -> Result<Option<Value>, Fault> {
            self.0.get(tree, key)
        }
        fn scan(
            &self,
            tree: TreeNo,
            from: &[u8],
            to: &[u8],
            limit: usize,
        ) -> Result<Vec<(Key, Value)>, Fault> {
            match self.1.load(Ordering::Relaxed) {
                1 => Err(Fault::io("scanning the store", "on purpose")),
                2 => panic!("{}", "a whole tree of sled ".repeat(9999)),
                _ => self.0.scan(tree, from, to, limit),
            }
        }
        fn scan_back(
            &self,
            tree: TreeNo,
            from: &[u8],
            to: &[u8],
            limit: usize,
        ) -> Result<Vec<(Key, Value)>, Fault> {
            self.scan(tree, from, to, limit)
        }
        fn apply(&self, writes: &[Write]) -> Result<(), Fault> {
            self.0.apply(writes)
        }
        fn sync(&self) -> Result<(), Fault> {
            Ok(())
        }
        fn size_bytes(&self) -> u64 {
            0
        }
    }

    #[test]
    fn a_look_at_what_cannot_be_read_is_refused_in_words() {
        let base = Arc::new(Rotten(MemoryKv::new(), AtomicU8::new(0)));
        let identity = Identity { term: 1, worker: "w".to_owned() };
        let (store, now) = (Store::new(base.clone(), 0), Timestamp(1_000_000));
        let mut engine =
            Engine::open(store, Rules::default(), identity, Mode::Working, now).unwrap();
        let mut look = || {
            let page = Page { limit: 10, cursor: None };
            let order = Order::Descending;
            let query = Query::Notices {
                tenant: None,
                state: None,
                key: None,
                marks: Vec::new(),
                order,
                page,
            };
            let Handled::Now(decision) = engine.handle(now, Command::Query(query)).unwrap() else {
                panic!("a query does not wait")
            };
            decision
        };
        assert!(matches!(look(), Ok(Reply::View(_))));
        for rot in [1, 2] {
            base.1.store(rot, Ordering::Relaxed);
            let refusal = look().unwrap_err();
            assert_eq!(refusal.code, Code::Unreadable);
            assert!(refusal.detail.len() < 700, "{} bytes of words", refusal.detail.len());
        }
        base.1.store(0, Ordering::Relaxed);
        assert!(matches!(look(), Ok(Reply::View(_))));
    }
}
