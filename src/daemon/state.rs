//! What the daemon says of itself: its role, and why it is not ready if it is not.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::board::Board;
use super::phase::{Phase, PhaseOut, Phases};
use crate::admin::{Readiness, Role, Status};
use crate::model::attention::{Act, Kind, Row};
use crate::time::{Clock, SystemClock, Timestamp};

/// How long a refused connection is a trouble.
const FULL_FOR: Duration = Duration::from_secs(60);

/// Shared by whoever changes it and the admin port.
pub struct State {
    phase: PhaseOut,
    inner: Mutex<Inner>,
    board: Board,
    refused: Mutex<Option<(Instant, Timestamp, usize)>>,
}

struct Inner {
    since: Timestamp,
    reason: Option<String>,
    about: Json,
}

impl State {
    /// A process that has just begun.
    #[must_use]
    pub fn new() -> Self {
        let now = SystemClock.now();
        Self {
            phase: PhaseOut::default(),
            inner: Mutex::new(Inner { since: now, reason: None, about: json!({}) }),
            board: Board::default(),
            refused: Mutex::new(None),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Enters a phase, with the reason for not being ready if it is another than working.
    pub fn enter(&self, phase: Phase, reason: Option<String>) {
        let mut inner = self.lock();
        if self.phase.now().role() != phase.role() {
            inner.since = SystemClock.now();
        }
        inner.reason = reason;
        self.phase.enter(phase);
    }

    /// Goes on within stopping: the reason stays.
    pub fn go_on_to(&self, phase: Phase) {
        self.phase.enter(phase);
    }

    /// The phase, for those who go by it.
    #[must_use]
    pub fn phases(&self) -> Phases {
        self.phase.seen()
    }

    /// Resolves when nobody is at work who must be waited for.
    pub async fn all_gone(&self) {
        self.phase.all_gone().await;
    }

    /// Facts shown beside the role: address, term, who leads.
    pub fn tell(&self, about: Json) {
        self.lock().about = about;
    }

    /// Where troubles are put up.
    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    fn is_held(&self) -> Option<Row> {
        let inner = self.lock();
        let reason = inner.reason.as_deref().filter(|_| self.role() == Role::Held)?;
        Some(Row {
            kind: Kind::Held,
            subject: "directory".to_owned(),
            tenant: None,
            since: inner.since,
            sentence: format!("Nothing is sent or handed out: {reason}."),
            acts: vec![
                Act::post(
                    "release, what waits held",
                    "/v1/release",
                    Some(json!({"pending": "hold"})),
                ),
                Act::post(
                    "release, what waits sent",
                    "/v1/release",
                    Some(json!({"pending": "send"})),
                ),
            ],
        })
    }

    fn is_full(&self) -> Option<Row> {
        let refused = self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (_, since, most) = refused.filter(|(last, ..)| last.elapsed() < FULL_FOR)?;
        Some(Row {
            kind: Kind::ConnectionsFull,
            subject: "admin".to_owned(),
            tenant: None,
            since,
            sentence: format!(
                "All {most} connections of the admin port are taken, callers are refused. Close idle \
                 ones, or raise admin.max_connections."
            ),
            acts: Vec::new(),
        })
    }

    /// The role now.
    #[must_use]
    pub fn role(&self) -> Role {
        self.phase.now().role()
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl Status for State {
    fn ready(&self) -> Readiness {
        let low = self.board.own().into_iter().find(|row| row.kind == Kind::DiskLow);
        let inner = self.lock();
        Readiness {
            ready: self.role() == Role::Leader,
            role: self.role(),
            reasons: inner.reason.iter().cloned().chain(low.map(|row| row.sentence)).collect(),
            lease: inner.about.clone(),
        }
    }

    fn concerns(&self) -> Vec<Row> {
        let mut rows = self.board.own();
        rows.extend(self.is_held());
        rows.extend(self.is_full());
        rows
    }

    fn noticed(&self) -> BTreeMap<Kind, usize> {
        self.board.counts()
    }

    fn connection_refused(&self, most: usize) {
        let mut refused = self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let since = refused.filter(|(last, ..)| last.elapsed() < FULL_FOR);
        let since = since.map_or_else(|| SystemClock.now(), |(_, since, _)| since);
        *refused = Some((Instant::now(), since, most));
    }
}
