//! The check edge: asks a business system which of some recipients are no longer bound to it.
//!
//! `POST {"tenant", "notice", "openids": […]}` is answered by `{"gone": […]}`. Any other answer, and
//! none, is no answer: nobody passes for it, and nobody is skipped.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

pub use crate::outbound::service::Service;

use crate::outbound::{self, Body, words};
use crate::time::Timestamp;

/// Most openids of one question.
pub const BATCH: usize = 500;
/// The longest time one question may take. With the wait for the one before it, it is far below the time
/// after which a send counts as lost.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest answer: [`BATCH`] openids, and room.
const ANSWER_BYTES: usize = 256 * 1024;

/// Who is asked.
#[derive(Clone, Debug)]
pub struct Register(pub Service);

#[derive(Deserialize)]
struct Wire {
    gone: Vec<String>,
}

impl Register {
    /// Asks which of at most [`BATCH`] openids are gone.
    ///
    /// # Errors
    /// Why there is no answer, with the address but without its query.
    pub async fn gone(
        &self,
        tenant: &str,
        notice: &str,
        openids: &[&str],
        now: Timestamp,
    ) -> Result<HashSet<String>, String> {
        let body = json!({"tenant": tenant, "notice": notice, "openids": openids}).to_string();
        let request = self.0.post(&format!("check_{notice}_{}", now.0), body, now);
        let asked = |why: String| format!("the check at {} gave no answer: {why}", self.0);
        let request = request.timeout(CHECK_TIMEOUT);
        let mut response = request.send().await.map_err(|error| asked(words(error)))?;
        let status = response.status();
        let Body::Whole(bytes) = outbound::read(&mut response, ANSWER_BYTES).await else {
            return Err(asked(format!("HTTP {} with a body that is cut off", status.as_u16())));
        };
        let read = serde_json::from_slice::<Wire>(&bytes).ok().filter(|_| status.is_success());
        let wire = read.ok_or_else(|| {
            asked(format!("HTTP {} and not {{\"gone\": [\"openid\", …]}}", status.as_u16()))
        })?;
        Ok(wire.gone.into_iter().collect())
    }
}
