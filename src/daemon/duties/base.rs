//! A base that is damaged ends the process: the next start makes it anew.

use std::path::{Path, PathBuf};

use crate::daemon::panics;
use crate::data_dir::mark;
use crate::kv::Fault;

/// Ends the process when the base has panicked, in whatever thread.
pub(in crate::daemon) async fn watch_base(data_dir: PathBuf) {
    panics::base_panicked().await;
    leave_damaged(&data_dir, "a panic in the base");
}

/// To go on would be to live with a store that no image can be made of, or that writes nothing; the
/// next start rebuilds it.
pub(super) fn leave_damaged(data_dir: &Path, words: &str) -> ! {
    tracing::error!(event = "store.damaged", error = words, "ending: the next start rebuilds");
    if let Err(error) = mark::mark_suspect(data_dir, words) {
        tracing::error!(event = "store.not_marked", %error);
    }
    crate::logger::exit(i32::from(DAMAGED));
}

/// What damage an attempt met, if any: sled tells of it by errors and by panics.
pub(super) fn damage<T>(
    made: &Result<Result<T, Fault>, tokio::task::JoinError>,
    panicked_in_the_base: bool,
) -> Option<String> {
    match made {
        Ok(Err(fault)) => fault.is_damage().then(|| fault.to_string()),
        Err(panic) => panicked_in_the_base.then(|| panic.to_string()),
        Ok(Ok(_)) => None,
    }
}

/// How a process ends that met damage: as by any fault, so that it is started again.
const DAMAGED: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_in_the_base_is_damage_and_another_is_not() {
        let panicked = tokio::spawn(async { panic!("on purpose") }).await.map(|()| Ok(()));
        assert!(damage::<()>(&panicked, true).is_some());
        assert_eq!(damage::<()>(&panicked, false), None);
        let full = Ok(Err(Fault::io("writing", "no space")));
        assert_eq!(damage::<()>(&full, true), None);
        let torn = Fault::Damaged { tree: "tasks", why: "checksum".to_owned() };
        assert!(damage::<()>(&Ok(Err(torn)), false).is_some());
    }
}
