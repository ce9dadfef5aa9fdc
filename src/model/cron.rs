//! Cron rules.

/// A checked cron rule.
#[derive(Clone, Debug)]
pub struct CronRule;
