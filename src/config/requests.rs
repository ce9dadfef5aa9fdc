//! What requests to other programs' addresses carry: headers out of a file, and a signing secret.

use super::secrets::{self, SECRET};
use super::section::Section;
use crate::secret::Secret;

/// Headers and the secret to sign with.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    /// Headers by name.
    pub headers: Vec<(String, Secret)>,
    /// As Standard Webhooks has it: `whsec_…`.
    pub secret: Option<Secret>,
}

/// Most headers.
const HEADERS: usize = 16;

/// Reads `headers_file` and `secret_file`.
pub(super) fn read(section: &Section<'_>) -> Carried {
    let secret = secrets::secret(section, &SECRET);
    let headers = section.text("headers_file").map(|path| read_headers(section, path));
    Carried { headers: headers.unwrap_or_default(), secret }
}

fn read_headers(section: &Section<'_>, path: &str) -> Vec<(String, Secret)> {
    const WANTED: &str = "must have lines `Name: value`";
    let text = match secrets::read_lines(section, "headers_file", path) {
        Ok(text) => text,
        Err(why) => {
            section.problem("headers_file", why);
            return Vec::new();
        }
    };
    let mut headers = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let named = line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        match named {
            Some((name, value)) if is_name(name) && !value.is_empty() => {
                headers.push((name.to_ascii_lowercase(), Secret::new(value)));
            }
            Some(_) | None => {
                section.problem("headers_file", format!("line {}: {WANTED}", number + 1));
            }
        }
    }
    if headers.is_empty() {
        section.problem("headers_file", format!("{WANTED}, and there is none"));
    }
    if headers.len() > HEADERS {
        section.problem("headers_file", format!("has more than {HEADERS} headers"));
    }
    headers
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
