//! The names of all log events, with what each one means in words. README lists those at WARN and
//! above.

/// Name and words, in order of the names. A line that brings no message of its own says these.
const EVENTS: &[(&str, &str)] = &[
    ("account.not_told", "WeChat did not tell of an account what was asked"),
    ("admin.accept_failed", "a connection to the admin port could not be taken"),
    ("admin.call", "a call that changes something was answered"),
    ("admin.connection_ended", "a connection to the admin port ended early"),
    ("admin.cut_off", "connections to the admin port were cut off at the stop"),
    ("admin.full", "all connections of the admin port are taken"),
    (
        "archive.copy_short",
        "the journal of a copy ends before one of its images: what came last is missing",
    ),
    (
        "archive.identity_damaged",
        "the file `identity` cannot be read: the directory is taken for a copy",
    ),
    (
        "archive.journal_broken",
        "the journal is broken after the store's last commit; a new image closes the gap",
    ),
    ("archive.mark_damaged", "the file `mark` cannot be read: less of a loss could be noticed"),
    ("archive.no_room", "there is no room on the disk for both stores"),
    ("archive.not_pruned", "old images and journal files could not be removed"),
    ("archive.not_rebuilt", "the store could not be rebuilt"),
    ("archive.pruned", "old images and journal files were removed"),
    ("archive.rebuild", "the store is made anew from image and journal"),
    ("archive.store_removed", "an old store that was set aside was removed"),
    ("archive.store_set_aside", "the old store was set aside as evidence"),
    ("archive.stray_journal", "a journal file of another directory was set aside"),
    (
        "archive.unusable",
        "image and journal could not be used to make the store anew: make a backup now",
    ),
    ("attention.more", "more needs a person than is told line by line"),
    ("attention.over", "what needed a person is over"),
    ("attention.raised", "something needs a person"),
    ("audience.failed", "the audience of a notice could not be read, and is tried again"),
    ("auth.refused", "a call without the right admin token was refused"),
    ("backup.bad_image", "an image is damaged and was left out of the backup"),
    ("callback.ready", "WeChat's own calls are taken at an address of their own"),
    ("callback.refused", "calls for WeChat's address were not taken: a wrong token or key"),
    ("clock.jumped", "the machine's clock jumped"),
    (
        "daemon.cut",
        "what was under way was cut off at the stop; it is taken up after the next start",
    ),
    ("daemon.held", "this directory is held: nothing is sent or handed out"),
    ("daemon.ready", "the daemon is ready"),
    ("daemon.released", "the directory was released and works from now on"),
    ("daemon.stopped", "the daemon has stopped"),
    ("daemon.stopping", "the daemon is stopping"),
    ("dead.letters", "something was given up"),
    ("disk.enough", "there is enough free space again"),
    ("disk.full", "the disk is full: waiting for space"),
    ("disk.low", "the disk is nearly full: new work is refused until there is space again"),
    ("disk.not_cleared", "space that may be given back could not be given back"),
    ("files.few", "fewer files may be open than the configuration may need"),
    ("image.failed", "no image was made"),
    ("image.made", "an image was made"),
    ("image.put_off", "an image waits for more free space"),
    ("lease.lost", "the lease is lost: the process ends at once"),
    ("lease.release_failed", "the lease could not be given back"),
    ("lease.taken", "this process leads from now on"),
    ("legacy.ready", "the old paths are served on a port of their own"),
    ("log.filter_wrong", "DUEBOX_LOG is not understood: everything from info on is shown"),
    ("log.lost", "log lines were lost before this one"),
    ("mark.failed", "the file `mark` could not be written"),
    ("notice.cancelled", "a notice was withdrawn"),
    ("notice.done", "nothing of a notice is left to send"),
    ("notice.paused", "a notice is paused"),
    (
        "outbound.no_certificates",
        "this machine has no trusted certificates: https cannot be checked",
    ),
    ("panic", "a mistake in the program"),
    ("pull.refused", "a pulled notice was refused and kept"),
    ("query.failed", "what was asked for cannot be read"),
    ("queue.many_types", "half of the task types that there may be are taken"),
    ("quota.cleared", "WeChat's counters of the day were set back by hand"),
    (
        "recover.in_doubt",
        "deliveries that were on the wire when the last process ended are in doubt",
    ),
    ("row.quarantined", "a damaged row was set aside; `GET /v1/quarantine` shows it"),
    ("run.done", "a run of a schedule is done"),
    ("run.failed", "a run of a schedule failed"),
    ("run.partly", "a part of a run was refused and is kept"),
    (
        "schedule.planned_anew",
        "a schedule's next tick was planned anew: the clock was ahead when it was planned",
    ),
    ("send.lost", "the outcome of a send could not be handed over"),
    ("signal.hangup", "SIGHUP does not stop the daemon; use SIGTERM"),
    ("standby.no_port", "a standby has no admin port: another process has it"),
    ("standby.sees", "another process leads"),
    ("start.no_room", "the start waits for free space"),
    ("start.progress", "the start goes on"),
    ("stop.panic", "a task that the daemon cannot do without has panicked: it ends"),
    ("store.damaged", "the store is damaged: the process ends, the next start makes it anew"),
    ("store.half_snapshot_removed", "a half-made snapshot of the store was removed"),
    ("store.new", "there was no store: this one begins empty"),
    ("store.not_marked", "the store could not be noted as suspect"),
    ("store.open", "the store is open"),
    ("store.packed", "rows of an older store were packed"),
    ("store.upgraded", "the store was brought up to today's format"),
    ("template.gone", "WeChat lists a template no longer"),
    ("tenant.goes_on", "a tenant's rest is over"),
    ("tenant.rests", "a tenant rests: nothing of it is sent for now"),
    ("tenant.slower", "a tenant sends more slowly, as WeChat wants"),
    ("timer.unknown", "a timer of a kind that this version does not know was left alone"),
    ("token.changed", "the admin token is another one"),
    ("token.failed", "a tenant's access token could not be had"),
    ("token.unreadable", "the admin token's file changed and is not usable"),
    ("tokens.not_kept", "a new access token could not be kept for the next start"),
];

/// What an event means; `None` for a name that is not in the list.
#[must_use]
pub fn words(name: &str) -> Option<&'static str> {
    let at = EVENTS.binary_search_by_key(&name, |(known, _)| known).ok()?;
    Some(EVENTS[at].1)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn each_source(dir: &Path, see: &mut dyn FnMut(&str)) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                each_source(&path, see);
            } else if path.extension().is_some_and(|end| end == "rs") {
                see(&fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn every_event_of_the_source_has_words_and_the_list_has_no_other() {
        let mut used = std::collections::BTreeSet::new();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        each_source(&source, &mut |text| {
            for part in text.split("event = \"").skip(1) {
                used.insert(part.split('"').next().unwrap().to_owned());
            }
        });
        used.retain(|name| name.contains('.') || name == "panic");
        let listed: Vec<&str> = EVENTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(used.into_iter().collect::<Vec<_>>(), listed);
        assert!(listed.is_sorted());
        assert_eq!(words("disk.enough"), Some("there is enough free space again"));
        assert_eq!(words("none"), None);
    }
}
