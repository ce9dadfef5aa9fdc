//! What needs a person: one list, shown alike by every door.
//!
//! A row is there as long as its trouble is: it is computed, not stored. Each says in a sentence what
//! is wrong and offers the calls that help.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};

use crate::named::Named;
use crate::time::Timestamp;

/// Kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A copy that nobody has released.
    Held,
    /// New work is refused for lack of space.
    DiskLow,
    /// A tenant rests: nothing of it is sent.
    TenantParked,
    /// A notice waits for a resume or a cancel.
    NoticePaused,
    /// It is not known whether messages of a notice were shown.
    InDoubt,
    /// Something was given up.
    DeadLetters,
    /// A consumer is not pushed to.
    CircuitOpen,
    /// The last run of a schedule failed, or lost a part.
    ScheduleFails,
    /// What is due waits for long.
    Late,
    /// The machine's clock jumped.
    ClockJumped,
    /// There is no new image, from which the store could be made anew.
    ImageOld,
    /// Backups have stopped.
    BackupOld,
    /// Damaged rows were set aside.
    Quarantine,
    /// No place is left for ordinary callers of the admin port.
    ConnectionsFull,
}

impl Kind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 14] = [
        Self::Held,
        Self::DiskLow,
        Self::TenantParked,
        Self::NoticePaused,
        Self::InDoubt,
        Self::DeadLetters,
        Self::CircuitOpen,
        Self::ScheduleFails,
        Self::Late,
        Self::ClockJumped,
        Self::ImageOld,
        Self::BackupOld,
        Self::Quarantine,
        Self::ConnectionsFull,
    ];

    /// The name in JSON, in the log and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::DiskLow => "disk_low",
            Self::TenantParked => "tenant_parked",
            Self::NoticePaused => "notice_paused",
            Self::InDoubt => "in_doubt",
            Self::DeadLetters => "dead_letters",
            Self::CircuitOpen => "circuit_open",
            Self::ScheduleFails => "schedule_fails",
            Self::Late => "late",
            Self::ClockJumped => "clock_jumped",
            Self::ImageOld => "image_old",
            Self::BackupOld => "backup_old",
            Self::Quarantine => "quarantine",
            Self::ConnectionsFull => "connections_full",
        }
    }
}

impl Named for Kind {
    const ALL: &'static [Self] = &Kind::ALL;

    fn word(self) -> &'static str {
        self.name()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A call that helps, or shows more.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Act {
    /// What it does, one or two words.
    pub label: &'static str,
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with its query.
    pub path: String,
    /// The body to send as JSON; null for a GET, which has none.
    pub body: Option<Json>,
}

impl Act {
    /// A look at more.
    #[must_use]
    pub fn show(path: impl Into<String>) -> Self {
        Self { label: "show", method: "GET", path: path.into(), body: None }
    }

    /// A change; without fields its body is `{}`.
    #[must_use]
    pub fn post(label: &'static str, path: impl Into<String>, body: Option<Json>) -> Self {
        let body = Some(body.unwrap_or_else(|| json!({})));
        Self { label, method: "POST", path: path.into(), body }
    }
}

/// One trouble.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What it is.
    pub kind: Kind,
    /// What has it: a tenant, a notice's id, a type, a schedule, or a kind of dead letters.
    pub subject: String,
    /// Whose it is, if it is one tenant's.
    pub tenant: Option<String>,
    /// Since when; as far as it is known, else since when it has been seen.
    #[serde(serialize_with = "rfc3339")]
    pub since: Timestamp,
    /// What is wrong and what to do, for people.
    pub sentence: String,
    /// What helps. Empty when no call does.
    pub acts: Vec<Act>,
}

impl Row {
    /// What tells it from all others.
    #[must_use]
    pub fn key(&self) -> (Kind, &str) {
        (self.kind, &self.subject)
    }
}

fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_written_as_it_is_promised() {
        let row = Row {
            kind: Kind::TenantParked,
            subject: "acme".to_owned(),
            tenant: Some("acme".to_owned()),
            since: Timestamp(1_795_395_600_000),
            sentence: "acme rests".to_owned(),
            acts: vec![Act::post("resume", "/v1/tenants/acme/resume", None)],
        };
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(
            text,
            "{\"kind\":\"tenant_parked\",\"subject\":\"acme\",\"tenant\":\"acme\",\
             \"since\":\"2026-11-23T01:00:00.000Z\",\"sentence\":\"acme rests\",\
             \"acts\":[{\"label\":\"resume\",\"method\":\"POST\",\
             \"path\":\"/v1/tenants/acme/resume\",\"body\":{}}]}"
        );
    }

    #[test]
    fn each_kind_is_listed_once_and_in_order() {
        assert!(Kind::ALL.is_sorted_by(|a, b| a < b));
        let names: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|it| it.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
