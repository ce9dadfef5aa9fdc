//! The configuration that the simulated daemon runs with.

use duebox::model::cron::CronRule;
use duebox::model::keyword::Overflow;
use duebox::model::rules::{Action, QueueRule, Rules, ScheduleRule, TemplateRule, TenantRule};
use duebox::time::SECOND_MS;

/// A tenant with one template that refuses long values and one that cuts them.
pub(crate) fn tenant() -> TenantRule {
    let template = |id: &str, overflow| TemplateRule {
        id: id.to_owned(),
        overflow,
        ..TemplateRule::default()
    };
    TenantRule {
        concurrency: 8,
        rate: 0,
        templates: [
            ("strict".to_owned(), template("TPL-S", Overflow::Reject)),
            ("loose".to_owned(), template("TPL-L", Overflow::Truncate)),
        ]
        .into(),
        ..TenantRule::default()
    }
}

/// Tenants `a` and `b`, nothing else.
pub(crate) fn outbox() -> Rules {
    let tenants = ["a", "b"].map(|name| (name.to_owned(), tenant()));
    Rules { tenants: tenants.into(), ..Rules::default() }
}

/// Type `q` with short claims and few attempts.
pub(crate) fn queues() -> Rules {
    let rule = QueueRule { claim_ttl_ms: 30 * SECOND_MS, ..QueueRule::default() };
    Rules { queues: [("q".to_owned(), rule)].into(), ..outbox() }
}

/// A schedule `job` every minute.
pub(crate) fn schedule(action: Action) -> Rules {
    let cron = CronRule::parse("* * * * *", "UTC").unwrap();
    Rules { schedules: [("job".to_owned(), ScheduleRule { cron, action })].into(), ..outbox() }
}
