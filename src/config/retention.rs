//! `[retention]`: how long what is finished is kept.

use super::section::Section;
use crate::model::rules::Retention;
use crate::time::{DAY_MS, MINUTE_MS};

/// Ten years are the longest duration that can be written.
const KEEP: std::ops::RangeInclusive<u64> = MINUTE_MS..=3653 * DAY_MS;

/// Reads `[retention]`.
pub(super) fn read(top: &Section<'_>) -> Retention {
    let unset = Retention::default();
    let read = top.section("retention", |section| {
        let log_ms = section.duration_ms("log", KEEP, unset.log_ms);
        // Log entries refer to their notice, which therefore stays at least as long.
        let notices_ms = section.duration_ms("notices", KEEP, unset.notices_ms.max(log_ms));
        if notices_ms < log_ms {
            section.problem("notices", "must not be shorter than log, whose entries refer to them");
        }
        Retention {
            log_ms,
            notices_ms,
            tasks_ms: section.duration_ms("tasks", KEEP, unset.tasks_ms),
            dead_ms: section.duration_ms("dead", KEEP, unset.dead_ms),
            runs_ms: section.duration_ms("runs", KEEP, unset.runs_ms),
            keys_ms: section.duration_ms("keys", KEEP, unset.keys_ms),
        }
    });
    read.unwrap_or(unset)
}
