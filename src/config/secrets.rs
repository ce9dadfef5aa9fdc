//! Secrets: from the file itself (for development), from a file of their own, or from systemd.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::section::Section;
use crate::limits::SECRET_BYTES;
use crate::secret::Secret;

/// The three keys under which one secret may be given.
pub(super) struct SecretKeys {
    /// The secret itself.
    inline: &'static str,
    /// A path; a bare name is looked for among systemd's credentials first.
    file: &'static str,
    /// A name among systemd's credentials.
    credential: &'static str,
}

macro_rules! secret_keys {
    ($name:literal) => {
        SecretKeys {
            inline: $name,
            file: concat!($name, "_file"),
            credential: concat!($name, "_credential"),
        }
    };
}

/// `secret`, of a tenant or a webhook.
pub(super) const SECRET: SecretKeys = secret_keys!("secret");
/// `token`, of the admin port.
pub(super) const TOKEN: SecretKeys = secret_keys!("token");
/// `callback_token`, of a tenant.
pub(super) const CALLBACK_TOKEN: SecretKeys = secret_keys!("callback_token");
/// `encoding_aes_key`, of a tenant.
pub(super) const ENCODING_AES_KEY: SecretKeys = secret_keys!("encoding_aes_key");
/// The token before `callback_token`, while it is being changed.
pub(super) const CALLBACK_TOKEN_PREVIOUS: SecretKeys = secret_keys!("callback_token_previous");
/// The key before `encoding_aes_key`, while it is being changed.
pub(super) const ENCODING_AES_KEY_PREVIOUS: SecretKeys = secret_keys!("encoding_aes_key_previous");
/// `secret_id`, of a moderation provider.
pub(super) const SECRET_ID: SecretKeys = secret_keys!("secret_id");
/// `secret_key`, of a moderation provider.
pub(super) const SECRET_KEY: SecretKeys = secret_keys!("secret_key");

impl SecretKeys {
    /// Whether the secret is given under any of its keys.
    pub(super) fn are_given(&self, section: &Section<'_>) -> bool {
        [self.inline, self.file, self.credential].into_iter().any(|key| section.has(key))
    }
}

/// Reads a secret that may be absent. No message shows anything of it.
pub(super) fn secret(section: &Section<'_>, keys: &SecretKeys) -> Option<Secret> {
    let inline = section.hidden_text(keys.inline).map(|text| (keys.inline, text));
    let file = section.text(keys.file).map(|text| (keys.file, text));
    let credential = section.text(keys.credential).map(|text| (keys.credential, text));
    let mut given = [inline, file, credential].into_iter().flatten();
    let (key, text) = given.next()?;
    if let Some((second, _)) = given.next() {
        section.problem(second, format!("{key} is given as well; keep one of them"));
    }
    if key == keys.inline {
        section.reading.inline_secret.set(true);
        return check(section, key, text);
    }
    let path = if key == keys.file {
        file_path(section, text)
    } else {
        credential_path(section, key, text)?
    };
    match read_file(&path) {
        Ok(text) => {
            warn_if_open(section, key, &path);
            check(section, key, &text)
        }
        Err(why) => {
            section.problem(key, format!("{}: {why}", path.display()));
            None
        }
    }
}

/// Reads a secret that must be there.
pub(super) fn required(section: &Section<'_>, keys: &SecretKeys) -> Secret {
    if !keys.are_given(section) {
        let what = format!(
            "is missing; add {} = \"/path\", or {} = \"name\" for a systemd credential",
            keys.file, keys.credential
        );
        section.problem(keys.inline, what);
    }
    secret(section, keys).unwrap_or_else(|| Secret::new(""))
}

/// The file that a secret was read from, if it was.
pub(super) fn file_of(section: &Section<'_>, keys: &SecretKeys) -> Option<PathBuf> {
    section.text(keys.file).map(|text| file_path(section, text))
}

/// Reads a small file of several lines, such as headers, of which nothing is ever shown.
pub(super) fn read_lines(section: &Section<'_>, key: &str, text: &str) -> Result<String, String> {
    let path = file_path(section, text);
    let lines = read_file(&path).map_err(|why| format!("{}: {why}", path.display()))?;
    warn_if_open(section, key, &path);
    if lines.len() > SECRET_BYTES {
        return Err(format!("{} is longer than {SECRET_BYTES} bytes", path.display()));
    }
    Ok(lines)
}

/// Reads an admin token's file again. The words say what is wrong with it and nothing of it.
///
/// # Errors
/// When it cannot be read, is empty, too long, or has a control character.
pub fn read_token(path: &Path) -> Result<String, String> {
    let text = read_file(path)?;
    let text = tidy(&text);
    wrong(text).map_or_else(|| Ok(text.to_owned()), Err)
}

/// A bare or relative path: a credential of that name when there is one, else beside the
/// configuration file.
fn file_path(section: &Section<'_>, text: &str) -> PathBuf {
    let from_systemd = section.reading.credentials.as_ref().map(|dir| dir.join(text));
    match from_systemd {
        Some(path) if Path::new(text).is_relative() && path.is_file() => path,
        _ => section.reading.base.join(text),
    }
}

fn credential_path(section: &Section<'_>, key: &str, name: &str) -> Option<PathBuf> {
    if name.contains('/') || name == ".." {
        section.problem(key, "must be the bare name of a credential, without a path");
        return None;
    }
    let Some(dir) = &section.reading.credentials else {
        let fix = format!(
            "$CREDENTIALS_DIRECTORY is not set, so there is no credential {name:?}; start the \
             daemon by systemd with LoadCredential={name}:/path, or give a file instead"
        );
        section.problem(key, fix);
        return None;
    };
    Some(dir.join(name))
}

/// Reads a whole small file. The bound keeps a wrong path from reading a huge file.
fn read_file(path: &Path) -> Result<String, String> {
    let facts = fs::metadata(path)
        .map_err(|why| format!("{why}; create it, readable by the daemon's user"))?;
    if !facts.is_file() {
        return Err("is not a file".to_owned());
    }
    let file =
        File::open(path).map_err(|why| format!("{why}; make it readable by the daemon's user"))?;
    let mut bytes = Vec::new();
    let bound = u64::try_from(SECRET_BYTES + 1).unwrap_or(u64::MAX);
    file.take(bound).read_to_end(&mut bytes).map_err(|why| why.to_string())?;
    String::from_utf8(bytes).map_err(|_| "is not text in UTF-8".to_owned())
}

fn warn_if_open(section: &Section<'_>, key: &str, path: &Path) {
    let shown = path.display();
    if is_world_readable(path) {
        section.warn(key, format!("{shown} can be read by everybody; chmod 600 {shown}"));
    }
    let mode = fs::metadata(path).map_or(0, |facts| facts.permissions().mode());
    if mode & 0o022 != 0 {
        section.warn(key, format!("{shown} can be changed by others; chmod go-w {shown}"));
    }
}

/// Whether the mode bits let everybody read a file.
pub(super) fn is_world_readable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|facts| facts.permissions().mode() & 0o004 != 0)
}

/// One line, not empty, not huge. What an editor or a shell leaves at its ends is not part of it.
fn check(section: &Section<'_>, key: &str, text: &str) -> Option<Secret> {
    let tidied = tidy(text);
    if let Some(problem) = wrong(tidied) {
        section.problem(key, problem);
        return None;
    }
    if tidied != text.trim_end_matches(['\n', '\r']) {
        section
            .warn(key, "the secret has blanks or a byte order mark at an end; they are left out");
    }
    let quoted = |quote| tidied.len() > 1 && tidied.starts_with(quote) && tidied.ends_with(quote);
    if quoted('"') || quoted('\'') {
        section.warn(key, "the secret stands in quotes, which count as a part of it; remove them");
    } else if tidied.contains(char::is_whitespace) && !key.starts_with("secret") {
        section.warn(key, "the secret has a blank in it; is this the right file?");
    }
    Some(Secret::new(tidied))
}

/// The text without line ends, blanks and a byte order mark at its ends.
fn tidy(text: &str) -> &str {
    text.trim_matches(|c: char| {
        c == '\u{feff}' || c == '\n' || c == '\r' || c == ' ' || c == '\u{a0}'
    })
}

fn wrong(text: &str) -> Option<String> {
    if text.trim().is_empty() {
        Some("the secret is empty".to_owned())
    } else if SECRET_BYTES < text.len() {
        Some(format!("the secret is longer than {SECRET_BYTES} bytes; is this the right file?"))
    } else if text.chars().any(char::is_control) {
        Some("the secret has more than one line or a control character".to_owned())
    } else {
        None
    }
}
