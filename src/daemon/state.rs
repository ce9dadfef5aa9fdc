//! What the daemon says of itself: its role, and why it is not ready if it is not.

use std::sync::Mutex;

use serde_json::{Value as Json, json};

use crate::admin::{Readiness, Status};

/// The part that this process plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opens its store.
    Starting,
    /// Waits for another process to end.
    Standby,
    /// Works.
    Leader,
    /// Leads, but on a copy: nothing is sent or handed out.
    Held,
    /// Finishes what is under way.
    Draining,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Standby => "standby",
            Self::Leader => "leader",
            Self::Held => "held",
            Self::Draining => "draining",
        }
    }
}

/// Shared by whoever changes it and the admin port.
pub struct State {
    inner: Mutex<Inner>,
}

struct Inner {
    role: Role,
    reason: Option<String>,
    about: Json,
}

impl State {
    /// A process that has just begun.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: Mutex::new(Inner { role: Role::Starting, reason: None, about: json!({}) }) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes a role, with the reason for not being ready if it is not the leader's.
    pub fn set(&self, role: Role, reason: Option<String>) {
        let mut inner = self.lock();
        inner.role = role;
        inner.reason = reason;
    }

    /// Facts shown beside the role: address, term, who leads.
    pub fn tell(&self, about: Json) {
        self.lock().about = about;
    }

    /// The role now.
    #[must_use]
    pub fn role(&self) -> Role {
        self.lock().role
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl Status for State {
    fn ready(&self) -> Readiness {
        let inner = self.lock();
        Readiness {
            ready: inner.role == Role::Leader,
            role: inner.role.name(),
            reasons: inner.reason.iter().cloned().collect(),
            about: inner.about.clone(),
        }
    }
}
