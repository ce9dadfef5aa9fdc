//! Dead letters as people see them.

use schemars::JsonSchema;
use serde::Serialize;

use super::delivery::DeliveryView;
use super::row::{ROW_BYTES, Row, len};
use super::scalars::{At, DeliveryText, IdText, Raw, Word};
use super::task::TaskView;
use crate::engine::query::asked::DeadKind;

/// What was given up, or waits for a person.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum DeadLetter {
    /// A task.
    Task(Box<TaskLetter>),
    /// A delivery.
    Delivery(Box<DeliveryLetter>),
    /// A refused notice of a pull.
    Notice(Box<NoticeLetter>),
}

impl Row for DeadLetter {
    fn bytes(&self) -> usize {
        match self {
            Self::Task(letter) => letter.task.bytes(),
            Self::Delivery(letter) => ROW_BYTES + len(letter.reason.as_ref()),
            Self::Notice(letter) => ROW_BYTES + letter.body.text().len() + letter.reason.len(),
        }
    }
}

/// A task that was given up.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TaskLetter {
    /// `task`.
    #[serde(rename = "kind")]
    pub letter: Word<DeadKind>,
    /// When it was given up.
    pub died: At,
    /// The task.
    #[serde(flatten)]
    pub task: TaskView,
}

/// A delivery that was given up.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DeliveryLetter {
    /// `delivery`.
    pub kind: Word<DeadKind>,
    /// When it was given up.
    pub died: At,
    /// Its id.
    pub id: DeliveryText,
    /// Whose it is.
    pub tenant: String,
    /// Its notice.
    pub notice: IdText,
    /// The recipient.
    pub openid: String,
    /// The number of the last attempt.
    pub attempt: u32,
    /// What WeChat answered last.
    pub errcode: Option<i64>,
    /// What that means.
    pub meaning: Option<&'static str>,
    /// Why it was given up.
    pub reason: Option<String>,
}

/// A notice that a pull found and that was refused.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NoticeLetter {
    /// `notice`.
    pub kind: Word<DeadKind>,
    /// When it was refused.
    pub died: At,
    /// The letter's id.
    pub id: IdText,
    /// The schedule that found it.
    pub schedule: String,
    /// The tenant that was asked for.
    pub tenant: String,
    /// The run.
    pub run: IdText,
    /// What is wrong with it.
    pub reason: String,
    /// The notice as it came; a string when it is no JSON.
    pub body: Raw,
}

/// A page of `GET /v1/dead`, in which deliveries in doubt are listed when they are asked for.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum DeadOrDoubt {
    /// Given up.
    Dead(DeadLetter),
    /// In doubt.
    Doubt(Box<DeliveryView>),
}
