//! Numbers for metrics and readiness: what can be told without walking the store.

use super::asked::{QueueStats, Stats, TenantStats};
use crate::engine::{Engine, waits};
use crate::kv::{Fault, Kv};
use crate::model::task::QueueCounts;
use crate::model::tenant::TenantState;
use crate::store::keys::{self, Lane, TenantNo, TypeNo};
use crate::time::Timestamp;

/// Types shown in metrics: labels must stay few.
const KINDS: usize = 200;
/// Priorities of one type whose lateness is looked at for metrics.
const LANES: usize = 16;

impl<K: Kv> Engine<K> {
    pub(super) fn stats(&mut self, now: Timestamp) -> Result<Stats, Fault> {
        let mut tenants = Vec::new();
        let names: Vec<(TenantNo, String)> =
            self.tx.names.tenants().map(|(number, name)| (number, name.to_owned())).collect();
        for (number, tenant) in names {
            let state = self.tx.store.read::<TenantState>(&keys::tenant_state(number))?;
            let state = state.unwrap_or_default();
            let first = waits::first_due_of(&mut self.tx, number)?;
            tenants.push(TenantStats {
                tenant,
                in_flight: self.outbox.in_flight_of(number),
                held: state.hold_until > now || state.refusals > 0,
                requests_today: state.sent_today,
                token_fetches: state.token_fetches,
                late_ms: first.map_or(0, |due| now.since(due)),
            });
        }
        let mut queues = Vec::new();
        let kinds: Vec<(TypeNo, String)> =
            self.tx.names.kinds().take(KINDS).map(|(kind, name)| (kind, name.to_owned())).collect();
        for (number, kind) in kinds {
            queues.push(self.queue_stats(now, number, kind)?);
        }
        Ok(Stats {
            mode: self.tx.mode,
            term: self.tx.identity.term,
            commit: self.tx.store.committed(),
            waiters: self.queue.waiters.len(),
            store_bytes: self.tx.store.base().size_bytes(),
            types: self.tx.names.kind_count(),
            tenants,
            queues,
        })
    }

    fn queue_stats(
        &mut self,
        now: Timestamp,
        number: TypeNo,
        kind: String,
    ) -> Result<QueueStats, Fault> {
        let mut counts = QueueCounts::default();
        for (_, one) in self.queue.lanes.of(number) {
            counts.pending += one.pending;
            counts.claimed += one.claimed;
            counts.dead += one.dead;
            counts.acked += one.acked;
            counts.cancelled += one.cancelled;
        }
        let late_ms = self.late_ms(now, number)?;
        Ok(QueueStats { kind, counts, late_ms })
    }

    /// How long the first due task of a type has waited to be claimed.
    pub(in crate::engine) fn late_ms(
        &mut self,
        now: Timestamp,
        kind: TypeNo,
    ) -> Result<u64, Fault> {
        let waiting = self.queue.lanes.of(kind).filter(|(_, counts)| counts.pending > 0);
        let priorities: Vec<u8> = waiting.map(|(priority, _)| priority).take(LANES).collect();
        let mut late_ms = 0;
        for priority in priorities {
            late_ms = late_ms.max(self.lane_late_ms(now, kind, priority)?);
        }
        Ok(late_ms)
    }

    /// The same of one priority: since it was due or added, whichever came later; 0 while its type is
    /// paused, since nobody is late then.
    pub(super) fn lane_late_ms(
        &mut self,
        now: Timestamp,
        kind: TypeNo,
        priority: u8,
    ) -> Result<u64, Fault> {
        if self.queue.states.get(&kind).is_some_and(|state| state.paused) {
            return Ok(0);
        }
        let first = self.tx.store.delay_first(Lane::Queue(kind, priority), 1)?.pop();
        let Some((due, item)) = first else { return Ok(0) };
        let added = keys::read_id(&item).unwrap_or_default().made_at();
        Ok(now.since(due.max(added)))
    }
}
