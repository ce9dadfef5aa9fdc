//! Every answer of a daemon, held against the document by which it describes itself.
//!
//! The document lets answers grow; here each field must be in it, so that none is forgotten.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::{Value as Json, json};

use super::http::Answer;

/// `GET /openapi.json`, strict.
static DOCUMENT: LazyLock<Json> = LazyLock::new(|| {
    let mut document = duebox::admin::document(false);
    strictly(&mut document["components"]["schemas"]);
    document
});

static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Allows no field beside those that an object lists.
fn strictly(schema: &mut Json) {
    match schema {
        Json::Object(fields) => {
            fields.values_mut().for_each(strictly);
            let lists = fields.get("properties").is_some_and(Json::is_object);
            if lists && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Json::Array(items) => items.iter_mut().for_each(strictly),
        _ => {}
    }
}

/// Fails when an answer is not as the document says. What the document has no path for is another
/// program's.
pub(crate) fn check(method: &str, path: &str, media: &str, answer: &Answer) {
    let Some(operation) = operation(method, path) else { return };
    let responses = &operation["responses"];
    let response = match &responses[answer.status.to_string()] {
        Json::Null => &responses["default"],
        response => response,
    };
    let media = media.split(';').next().unwrap_or_default().trim();
    let schema = &response["content"][media];
    assert!(
        schema.is_object(),
        "{method} {path} answers {} as {media}, which its description lacks: {}",
        answer.status,
        answer.text
    );
    let Some(name) = schema["schema"]["$ref"].as_str() else { return };
    let document = serde_json::from_str(&answer.text).unwrap();
    let wrong: Vec<String> = validator(name)
        .iter_errors(&document)
        .map(|error| format!("{}: {error:.200}", error.instance_path()))
        .collect();
    let what = format!("{method} {path} answers {} not as {name} says", answer.status);
    assert!(wrong.is_empty(), "{what}: {wrong:#?}\n{:.2000}", answer.text);
}

/// The operation of a path: the one with the most words that are its own.
fn operation(method: &str, path: &str) -> Option<&'static Json> {
    let fits = |template: &&String| {
        let (mut given, mut wanted) = (path.split('/'), template.split('/'));
        let all = wanted.by_ref().zip(given.by_ref()).all(|(wanted, given)| {
            wanted == given || (wanted.starts_with('{') && !given.is_empty())
        });
        all && path.split('/').count() == template.split('/').count()
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let found = paths.keys().filter(fits).min_by_key(|template| template.matches('{').count())?;
    paths[found].get(method.to_ascii_lowercase())
}

fn validator(name: &str) -> Arc<Validator> {
    let mut known = VALIDATORS.lock().unwrap();
    let found = known.entry(name.to_owned()).or_insert_with(|| {
        let schema = json!({ "$ref": name, "components": DOCUMENT["components"] });
        Arc::new(jsonschema::validator_for(&schema).unwrap())
    });
    found.clone()
}

#[test]
fn an_answer_that_is_not_as_described_is_found() {
    let answer = |text: &str| Answer { status: 200, text: text.to_owned() };
    let good = json!({"items": []}).to_string();
    check("GET", "/v1/tasks", "application/json", &answer(&good));
    for bad in [json!({}), json!({"items": [], "more": 1}), json!({"items": [{"id": 7}]})] {
        let bad = answer(&bad.to_string());
        let found =
            std::panic::catch_unwind(|| check("GET", "/v1/tasks", "application/json", &bad));
        assert!(found.is_err(), "{}", bad.text);
    }
}
