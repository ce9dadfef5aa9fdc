//! The OpenAPI 3.1 document, made from the route table.

use std::sync::LazyLock;

use serde_json::{Map, Value as Json, json};

use super::call::Verb;
use super::hooks;
use super::route::{Note, Route, Who};
use super::table::ROUTES;
use crate::api::schemas;

/// With and without a token to be sent.
static DOCUMENTS: [LazyLock<String>; 2] =
    [LazyLock::new(|| document(false).to_string()), LazyLock::new(|| document(true).to_string())];

/// The document as text.
pub(super) fn text(has_token: bool) -> &'static str {
    &DOCUMENTS[usize::from(has_token)]
}

/// What `GET /openapi.json` answers; with a token it says that one is to be sent.
#[must_use]
pub fn document(has_token: bool) -> Json {
    let mut paths: Map<String, Json> = Map::new();
    for route in ROUTES {
        let operations = paths.entry(route.path).or_insert_with(|| json!({}));
        operations[route.method.name().to_ascii_lowercase()] = operation(route);
    }
    let security = if has_token { json!([{"token": []}]) } else { json!([]) };
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "duebox admin port",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Ids are strings. Times go out as RFC 3339 in UTC and come in as that \
                            or as epoch milliseconds. Unknown fields are refused by name.",
        },
        "security": security,
        "paths": paths,
        "webhooks": hooks::webhooks(),
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn schema(name: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn operation(route: &Route) -> Json {
    let mut operation = json!({
        "summary": route.summary,
        "operationId": operation_id(route),
        "tags": [tag(route)],
        "parameters": parameters(route),
        "responses": responses(route),
    });
    if !route.takes.is_empty() {
        let optional = route.notes.contains(&Note::BodyMayBeMissing);
        operation["requestBody"] = json!({"required": !optional, "content": takes(route)});
    }
    if route.is_open() || route.who == Who::Provider {
        operation["security"] = json!([]);
    }
    operation
}

/// The first word of the path: what the call is about.
fn tag(route: &Route) -> &'static str {
    let path = route.path.strip_prefix("/v1/").unwrap_or(route.path);
    match path.split('/').next() {
        Some("") if path.starts_with("/api/") => "old",
        Some("") | None => "daemon",
        Some(word) => word,
    }
}

/// The method and the words of the path.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(['/', '{', '}', '.']).filter(|word| !word.is_empty());
    let mut id = route.method.name().to_ascii_lowercase();
    for word in words {
        id.push('_');
        id.push_str(word);
    }
    id
}

fn takes(route: &Route) -> Json {
    let media = json!({"schema": schema(route.takes)});
    if route.notes.contains(&Note::OnlyLines) {
        return json!({"application/x-ndjson": media, "text/csv": {}});
    }
    let mut content = json!({"application/json": media});
    for note in route.notes {
        if let Note::AlsoLines(name) = note {
            content["application/x-ndjson"] = json!({"schema": schema(name)});
        }
    }
    content
}

fn parameters(route: &Route) -> Vec<Json> {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{'));
    let in_path = in_path.map(|part| {
        let name = part.trim_end_matches('}');
        json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
    });
    let in_query = route.query.iter().map(|name| {
        // One parameter for each label: label.NAME.
        let name = if *name == "label" { &"label.{name}" } else { name };
        let schema = match *name {
            "limit" => json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
            "errcode" => json!({"type": "integer", "format": "int64"}),
            "order" => json!({"type": "string", "enum": ["asc", "desc"]}),
            "for" => json!({"type": "string", "enum": ["excel"]}),
            "tz" => json!({"type": "string", "example": "Asia/Shanghai"}),
            "cursor" => json!({"type": "string", "pattern": "^([0-9a-f]{2})*$", "maxLength": 512}),
            "notice" => json!({"type": "string", "pattern": "^[0-9]{1,20}$"}),
            "standby" => json!({"type": "string", "enum": ["ok"]}),
            "atomic" | "done" | "dry_run" | "payload" => {
                json!({"type": "boolean", "default": false})
            }
            _ => json!({"type": "string"}),
        };
        json!({"name": name, "in": "query", "schema": schema})
    });
    let keyed = route
        .notes
        .contains(&Note::Keyed)
        .then(|| json!({"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}}));
    in_path.chain(in_query).chain(keyed).collect()
}

fn responses(route: &Route) -> Json {
    let (status, name) = route.gives;
    let mut media = Map::new();
    if !name.is_empty() {
        media.insert("application/json".to_owned(), json!({"schema": schema(name)}));
    }
    for note in route.notes {
        if let Note::Gives(others) = note {
            media.extend(others.iter().map(|other| ((*other).to_owned(), json!({}))));
        }
    }
    let media = Json::Object(media);
    let mut responses = Map::new();
    responses.insert(status.to_string(), json!({"description": "done", "content": media}));
    if route.notes.contains(&Note::Known) {
        let known = json!({"description": "known: the key was used before", "content": media});
        responses.insert("200".to_owned(), known);
    }
    if route.notes.contains(&Note::NotReady) {
        responses.insert("503".to_owned(), json!({"description": "not ready", "content": media}));
    }
    let problem = json!({"application/problem+json": {"schema": schema("Problem")}});
    let mut refusals = vec![("default", "a problem; its code says which")];
    if route.who == Who::Provider {
        refusals.push(("403", "the call is not WeChat's"));
    } else if !route.is_open() {
        refusals.push(("401", "no token, or a wrong one"));
    }
    if !matches!(route.method, Verb::Get | Verb::Delete) {
        refusals.push(("422", "the body is not as it should be"));
    }
    for (status, description) in refusals {
        responses.insert(
            status.to_owned(),
            json!({"description": description, "content": problem.clone()}),
        );
    }
    Json::Object(responses)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every schema that is referred to.
    fn references<'a>(value: &'a Json, found: &mut Vec<&'a str>) {
        match value {
            Json::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str().filter(|_| name == "$ref") {
                        Some(target) => found.push(target),
                        None => references(value, found),
                    }
                }
            }
            Json::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn the_document_has_every_route_and_every_schema_it_names() {
        let document = document(true);
        for route in ROUTES {
            let method = route.method.name().to_ascii_lowercase();
            assert!(
                document["paths"][route.path][&method]["responses"].is_object(),
                "{}",
                route.path
            );
        }
        let mut found = Vec::new();
        references(&document, &mut found);
        let schemas = &document["components"]["schemas"];
        for target in found {
            let name = target.rsplit('/').next().unwrap_or("");
            assert!(schemas.get(name).is_some(), "{target}");
        }
    }
}
