//! The record beside the lock: who leads, for people, for standbys and for the next holder's term.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::process::Identity;
use crate::regular;

/// The record's file.
pub(super) const RECORD_FILE: &str = "lease.json";
/// Where the next record is written before it takes the name. Only the lock's holder writes it.
const NEXT_FILE: &str = "lease.json.next";
/// Largest record that is read: real ones have some 400 bytes.
const RECORD_BYTES: u64 = 16 * 1024;

/// What the holder is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Locked; the store is being opened, nothing is served yet. The record is not renewed.
    Opening,
    /// At work.
    Active,
    /// Stopping: what is under way is finished, nothing new is begun.
    Draining,
    /// Given back in good order.
    Released,
}

/// Contents of `lease.json`. Unknown fields are ignored, so that a newer holder can be watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The holder's number; it grows with each holder.
    pub term: u64,
    /// What the holder is doing.
    pub state: State,
    /// What the holder calls itself.
    #[serde(default)]
    pub instance: String,
    /// Which process holds, and on which machine.
    #[serde(flatten)]
    pub holder: Identity,
    /// Where the holder's admin port is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// Milliseconds after which the holder gives up if it could not renew.
    pub ttl_ms: u64,
    /// Grows with each write of this term. Only a change of it means life.
    pub renewals: u64,
    /// When this record was written, RFC 3339. For people only: wall clocks jump.
    #[serde(default)]
    pub written_at: String,
    /// Number of the last commit; present once released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_commit: Option<u64>,
}

/// Reads the record; `None` when there is none.
///
/// # Errors
/// Whatever reading says; `InvalidData` for a file that is too long or not a record.
pub(super) fn read(dir: &Path) -> io::Result<Option<Record>> {
    let file = match regular::open(&dir.join(RECORD_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(RECORD_BYTES).read_to_end(&mut text)?;
    Ok(Some(serde_json::from_slice(&text)?))
}

/// Replaces the record: after a crash at any point either the old or the new one is there, whole.
pub(super) fn write(dir: &Path, record: &Record) -> io::Result<()> {
    let next = dir.join(NEXT_FILE);
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o640).open(&next)?;
    let mut text = serde_json::to_vec_pretty(record)?;
    text.push(b'\n');
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(&next, dir.join(RECORD_FILE))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn example() -> Record {
        Record {
            term: 7,
            state: State::Active,
            instance: "a".into(),
            holder: Identity {
                host: "vm".into(),
                boot_id: Some("b".into()),
                pid_namespace: None,
                pid: 42,
                started_ticks: 4711,
            },
            admin: Some("127.0.0.1:7280".into()),
            ttl_ms: 15_000,
            renewals: 3,
            written_at: "2026-11-23T09:00:00.000Z".into(),
            last_commit: None,
        }
    }

    #[test]
    fn record_comes_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        write(dir.path(), &example()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(example()));
        assert!(!dir.path().join(NEXT_FILE).exists());
    }

    #[test]
    fn record_is_flat_json_that_a_newer_version_may_extend() {
        let text = serde_json::to_string(&example()).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["pid"], 42);
        assert_eq!(value["state"], "active");
        value["zone"] = "new".into();
        assert_eq!(serde_json::from_value::<Record>(value).unwrap(), example());
    }

    #[test]
    fn damaged_record_is_an_error_and_no_record() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{", "{\"term\":1}", &" ".repeat(20_000)] {
            std::fs::write(dir.path().join(RECORD_FILE), text).unwrap();
            let kind = read(dir.path()).unwrap_err().kind();
            assert!(matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof));
        }
    }
}
