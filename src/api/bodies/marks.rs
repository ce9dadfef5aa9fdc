//! What a caller calls what it submits: `ref` and `labels`.

use serde_json::json;

use crate::api::form::Form;
use crate::model::marks::{LABELS, MARK_CHARS, Marks, wrong_name, wrong_text};

/// Reads both.
pub(super) fn marks(form: &mut Form<'_>) -> Marks {
    let reference = form.text("ref", 4 * MARK_CHARS);
    form.also("ref", json!({"description": "your own id for it, up to 64 characters"}));
    if let Some(why) = reference.as_deref().and_then(wrong_text) {
        form.wrong("ref", why);
    }
    let labels = form.strings("labels", LABELS * 8 * MARK_CHARS);
    form.also(
        "labels",
        json!({"description": "up to 8 labels of your own", "maxProperties": LABELS}),
    );
    if labels.len() > LABELS {
        form.wrong("labels", format!("{} labels, {LABELS} are allowed", labels.len()));
    }
    for (name, value) in &labels {
        if let Some(why) = wrong_name(name).or_else(|| wrong_text(value)) {
            form.wrong("labels", format!("{:?}: {why}", crate::text::cut(name, 80)));
        }
    }
    Marks { reference, labels }
}
