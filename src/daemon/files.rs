//! File descriptors: as many as the system gives, and a word when they are too few.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::Config;

/// What is open beside connections: journal, base, lease, images, the runtime's own.
const OWN: u64 = 64;

/// Raises the limit as far as it goes without rights, and tells when the configuration needs more. Out
/// of descriptors sends would wait for each other, and the lease could not be kept.
pub(super) fn raise_limit(config: &Config) {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    let needed = needed(config);
    if let Some(most) = limit.current.filter(|most| *most < needed) {
        tracing::warn!(
            event = "files.few",
            most,
            needed,
            "fewer files may be open than this configuration may need at once: raise the limit \
             (LimitNOFILE in the unit, ulimit -n in a shell), or lower concurrency and \
             admin.max_connections"
        );
    }
}

/// Files that may be open at once.
fn needed(config: &Config) -> u64 {
    let sends = config.rules.tenants.values().map(|rule| u64::from(rule.concurrency));
    let pushes = config.rules.queues.values().filter_map(|rule| match &rule.deliver {
        crate::model::rules::Deliver::Push(push) => Some(u64::from(push.concurrency)),
        crate::model::rules::Deliver::Claim => None,
    });
    let listeners = 1 + u64::from(config.legacy.is_some());
    OWN + sends.sum::<u64>() + pushes.sum::<u64>() + listeners * config.admin.max_connections as u64
}
