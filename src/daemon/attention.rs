//! What needs a person: the daemon's own troubles, and a log line for each that begins or ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::phase::{Phase, Phases};
use super::state::State;
use crate::admin;
use crate::data_dir::backup::last_backup;
use crate::engine::attention::Died;
use crate::mailbox::Mailbox;
use crate::model::attention::{Kind, Row};
use crate::time::{Clock, DAY_MS, SystemClock, Timestamp};

/// How often the list is looked at for the log and for metrics.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A backup is old after so long: three of a nightly timer were missed.
const BACKUP_OLD_MS: u64 = 3 * DAY_MS;
/// Lines about rows of one look; more are summed up.
const LINES: usize = 20;

/// Looks at the list for as long as the daemon works, and tells what changed.
pub(super) async fn watch(data_dir: PathBuf, mailbox: Mailbox, state: Arc<State>, phase: Phases) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = Seen::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = phase.reached(Phase::Draining) => return,
        }
        match old_backup(SystemClock.now(), last_backup(&data_dir)) {
            Some(row) => state.board().raise(row),
            None => state.board().lower(Kind::BackupOld),
        }
        // A store that cannot be read has told so itself; a writer that has ended ends the process.
        let Ok(found) = admin::attention::gather(Some(&mailbox), &*state).await else { continue };
        state.board().note(&found.rows);
        seen.tell(&found.rows);
        seen.tell_died(found.died);
    }
}

/// Backups were made and have stopped. Where none was ever made nobody expects one.
fn old_backup(now: Timestamp, last: Option<Timestamp>) -> Option<Row> {
    let last = last.filter(|last| now.since(*last) > BACKUP_OLD_MS)?;
    Some(Row {
        kind: Kind::BackupOld,
        subject: "backup".to_owned(),
        tenant: None,
        since: last.plus(BACKUP_OLD_MS),
        sentence: format!(
            "The last backup was made at {last}, {} days ago. Look why none has been made since \
             (journalctl -u duebox-backup), or make one: duebox backup DATA_DIR BACKUP_DIR.",
            now.since(last) / DAY_MS
        ),
        acts: Vec::new(),
    })
}

/// What the log has been told of.
#[derive(Default)]
struct Seen {
    rows: BTreeMap<(Kind, String), Row>,
    died: Died,
}

impl Seen {
    fn tell(&mut self, rows: &[Row]) {
        let now: BTreeMap<(Kind, String), Row> =
            rows.iter().map(|row| ((row.kind, row.subject.clone()), row.clone())).collect();
        let came: Vec<&Row> = now
            .iter()
            .filter(|(key, _)| !self.rows.contains_key(*key))
            .map(|(_, row)| row)
            .collect();
        for row in came.iter().take(LINES) {
            tracing::warn!(
                event = "attention.raised", kind = row.kind.name(), subject = row.subject,
                tenant = row.tenant, since = %row.since, "{}", row.sentence
            );
        }
        if let Some(more) = came.len().checked_sub(LINES).filter(|more| *more > 0) {
            tracing::warn!(
                event = "attention.more",
                more,
                "more needs a person than is told line by line: see GET /v1/attention"
            );
        }
        let went = self.rows.iter().filter(|(key, _)| !now.contains_key(*key));
        for ((kind, subject), _) in went.take(LINES) {
            tracing::info!(event = "attention.over", kind = kind.name(), subject, "it is over");
        }
        self.rows = now;
    }

    fn tell_died(&mut self, died: Died) {
        if died == self.died {
            return;
        }
        tracing::warn!(
            event = "dead.letters",
            tasks = died.tasks - self.died.tasks,
            deliveries = died.deliveries - self.died.deliveries,
            notices = died.notices - self.died.notices,
            "given up since the last such line: see GET /v1/dead"
        );
        self.died = died;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::board::Board;

    fn row(at: u64) -> Row {
        Row {
            kind: Kind::DiskLow,
            subject: "disk".to_owned(),
            tenant: None,
            since: Timestamp(at),
            sentence: format!("at {at}"),
            acts: Vec::new(),
        }
    }

    #[test]
    fn backups_that_stopped_are_told_and_none_at_all_is_not() {
        let now = Timestamp(100 * DAY_MS);
        assert_eq!(old_backup(now, None), None);
        assert_eq!(old_backup(now, Some(now.minus(2 * DAY_MS))), None);
        let row = old_backup(now, Some(now.minus(5 * DAY_MS))).unwrap();
        assert!(row.sentence.contains("5 days ago"), "{row:?}");
        assert_eq!(row.since, now.minus(2 * DAY_MS));
    }

    #[test]
    fn a_trouble_keeps_the_time_at_which_it_began_until_it_is_over() {
        let board = Board::default();
        board.raise(row(1));
        board.raise(row(2));
        assert_eq!(board.own(), [Row { sentence: "at 2".to_owned(), ..row(1) }]);
        board.lower(Kind::DiskLow);
        board.raise(row(3));
        assert_eq!(board.own(), [row(3)]);
        board.note(&[row(3), row(4)]);
        assert_eq!(board.counts(), BTreeMap::from([(Kind::DiskLow, 2)]));
    }
}
