//! What every decision receives: the time, the store with the changes of the group so far, names,
//! ids, rules, who decides. And what a decision comes to.

use super::clock::WallClock;
use super::command::{Effect, Reply};
use super::mode::{Identity, Mode};
use super::names::Names;
use super::refusal::{Code, Refusal};
use super::timer::Timer;
use crate::id::Id;
use crate::kv::Kv;
use crate::model::notice::Notice;
use crate::model::retry::RetryPolicy;
use crate::model::rules::{Cap, QueueRule, Rules, TemplateRule};
use crate::model::task::Task;
use crate::near;
use crate::store::Store;
use crate::store::keys::{Lane, TenantNo, TypeNo};
use crate::store::schema;
use crate::time::{SECOND_MS, Timestamp};

/// An answer or a no.
pub type Decision = Result<Reply, Refusal>;

/// What [`super::Engine::handle`] makes of a command.
#[derive(Debug)]
pub enum Handled {
    /// Decided.
    Now(Decision),
    /// A claim that waits for work; [`Effect::Answer`] names it.
    Waits(u64),
}

/// What one tick came to.
#[derive(Debug, Default)]
pub struct Ticked {
    /// What the world shall do.
    pub effects: Vec<Effect>,
    /// When to call again at the latest; at once when it has passed already.
    pub wake: Option<Timestamp>,
}

impl Ticked {
    /// Asks to be called at `at` or earlier.
    pub(super) fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// What every decision receives.
pub(super) struct Tx<K: Kv> {
    /// When it is decided.
    pub(super) now: Timestamp,
    /// What is stored, and what this group has changed of it.
    pub(super) store: Store<K>,
    /// The configuration, as far as decisions go by it.
    pub(super) rules: Rules,
    /// Who decides.
    pub(super) identity: Identity,
    /// Whether work is handed out.
    pub(super) mode: Mode,
    /// Names and their numbers.
    pub(super) names: Names,
    /// The last id given.
    pub(super) last_id: Id,
    /// What is known of the wall clock.
    pub(super) clock: WallClock,
    /// When the engine was opened: ticks before it are caught up.
    pub(super) started: Timestamp,
    /// Effects of commands, given out with the next tick.
    pub(super) effects: Vec<Effect>,
}

impl<K: Kv> Tx<K> {
    /// How long one request of a notice may take.
    pub(super) fn send_timeout_ms(&self, notice: &Notice) -> u64 {
        let name = self.names.tenant_name(TenantNo(notice.tenant));
        self.rules.tenants.get(name).map_or(10 * SECOND_MS, |rule| rule.send_timeout_ms)
    }

    /// When a notice's failed deliveries are tried again.
    pub(super) fn retry_policy(&self, notice: &Notice) -> RetryPolicy {
        let name = self.names.tenant_name(TenantNo(notice.tenant));
        let policy = self.rules.tenants.get(name).map(|rule| rule.retry.clone());
        policy.unwrap_or_else(RetryPolicy::deliveries)
    }

    /// Whether receipts come for a tenant's messages.
    pub(super) fn has_receipts(&self, tenant: TenantNo) -> bool {
        let rule = self.rules.tenants.get(self.names.tenant_name(tenant));
        rule.is_some_and(|rule| rule.receipts)
    }

    /// Messages that one person of a tenant gets at most.
    pub(super) fn cap(&self, tenant: TenantNo) -> Option<Cap> {
        self.rules.tenants.get(self.names.tenant_name(tenant)).and_then(|rule| rule.cap)
    }

    /// Says that there is no such tenant, and which one was probably meant.
    pub(super) fn no_tenant(&self, name: &str) -> String {
        let known = self.rules.tenants.keys().map(String::as_str);
        let advice = near::advise(name, "there are", known);
        format!("there is no tenant {name:?} in the configuration; {advice}")
    }

    /// The number of a tenant that the configuration has.
    pub(super) fn configured_tenant(&self, name: &str) -> Option<TenantNo> {
        self.rules.tenants.contains_key(name).then(|| self.names.known_tenant(name)).flatten()
    }

    /// A template of a tenant, or which one was probably meant.
    pub(super) fn template(&self, tenant: &str, name: &str) -> Result<&TemplateRule, Refusal> {
        let found = self.rules.tenants.get(tenant).and_then(|rule| rule.templates.get(name));
        found.ok_or_else(|| {
            Refusal::field(Code::UnknownTemplate, "/template", {
                let known = self.rules.tenants.get(tenant).into_iter();
                let known = known.flat_map(|rule| rule.templates.keys().map(String::as_str));
                let advice = near::advise(name, "it has", known);
                format!("tenant {tenant} has no template {name:?} in the configuration; {advice}")
            })
        })
    }

    /// What the configuration says of a type, or the defaults.
    pub(super) fn queue_rule(&self, kind: TypeNo) -> QueueRule {
        self.rules.queues.get(self.names.kind_name(kind)).cloned().unwrap_or_default()
    }

    /// Failures after which a task is given up.
    pub(super) fn max_attempts(&self, task: &Task) -> u32 {
        let rule = self.queue_rule(TypeNo(task.kind));
        task.terms.max_attempts.unwrap_or(rule.retry.max_attempts)
    }

    /// The time by which rows are old enough to be deleted for good. Never after `now`.
    pub(super) fn settled(&self) -> Timestamp {
        self.clock.settled(self.now)
    }

    /// Whether a time is certainly over, for what ends with it for good.
    pub(super) fn is_over(&self, end: Timestamp) -> bool {
        self.clock.is_over(self.now, end)
    }

    /// A time on a clock that never went back: as if each step back had not been made.
    pub(super) fn unwound(&self, at: Timestamp) -> Timestamp {
        self.clock.unwound(at)
    }

    /// For the end of a group: what the wall clock has shown goes with it.
    pub(super) fn write_wall(&mut self) {
        let wall = self.clock.take_to_write();
        self.store.write(schema::WALL.to_vec(), &wall);
    }

    /// An id that was never given before.
    pub(super) fn new_id(&mut self) -> Id {
        self.last_id = self.last_id.next(self.now);
        self.last_id
    }

    /// Sets a timer.
    pub(super) fn set_timer(&mut self, due: Timestamp, timer: &Timer) {
        self.store.delay_put(Lane::Timers, due, &timer.encode());
    }

    /// Takes a timer back.
    pub(super) fn clear_timer(&mut self, due: Timestamp, timer: &Timer) {
        self.store.delay_delete(Lane::Timers, due, &timer.encode());
    }
}
