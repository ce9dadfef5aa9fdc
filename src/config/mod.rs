//! The configuration: one TOML file, read once at start, checked as a whole.
//!
//! Every problem is reported, each with the key's full name and what to write instead; a file with
//! any problem yields no [`Config`]. Relative paths are taken from the configuration file's
//! directory. What the engine decides by is in [`Config::rules`]; addresses and secrets stay in
//! the other fields, for the edges.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use toml::Table;

use crate::limits::CONFIG_BYTES;
use crate::model::rules::Rules;

mod admin;
mod data_dir;
mod politeness;
mod queues;
mod requests;
mod retention;
mod review;
mod schedules;
mod secrets;
mod section;
mod storage;
mod tenants;
mod text;

#[cfg(test)]
mod tests;

pub use admin::{Admin, Callback, Legacy};
pub use data_dir::{NetworkDisk, check_data_dir};
pub use queues::{ARTICLE_REVIEW, Webhook};
pub use requests::Carried;
pub use review::{Moderation, Review, Tencent};
pub use schedules::Pull;
pub use secrets::read_token;
pub use storage::Storage;
pub use tenants::{AudienceHost, CallbackKeys, Service, Tenant, TokenFrom};

use section::{Reading, Section};

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// How the data directory is used.
    pub storage: Storage,
    /// How long a stopping daemon waits for what is under way.
    pub drain_ms: u64,
    /// The admin port.
    pub admin: Admin,
    /// The listener for WeChat's own calls, when it is not the admin port.
    pub callback: Option<Callback>,
    /// The listener for the clients of the old schedule service, when it is not the admin port.
    pub legacy: Option<Legacy>,
    /// Accounts by tenant; the same names as in [`Rules::tenants`].
    pub tenants: BTreeMap<String, Tenant>,
    /// Webhooks by task type. These types are [`crate::model::rules::Deliver::Push`] in the rules.
    pub webhooks: BTreeMap<String, Webhook>,
    /// Task types that the built-in article worker works, in order. Pushed as well.
    pub article_types: Vec<String>,
    /// Sources of notices by schedule.
    pub pulls: BTreeMap<String, Pull>,
    /// What the article worker needs; present when [`Config::article_types`] is not empty.
    pub review: Option<Review>,
    /// What the engine decides by.
    pub rules: Rules,
    /// What works and was probably not meant, one line each. For the log and for `check`.
    pub warnings: Vec<String>,
}

/// All that is wrong with a configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// One line each, headed by the key's full name.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl Config {
    /// Reads and checks a file. Credentials are looked for in `$CREDENTIALS_DIRECTORY`.
    ///
    /// # Errors
    /// Every problem found; none of them shows a secret.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Self::load_with(path, credentials.as_deref())
    }

    /// Like [`Config::load`], with the directory of credentials given.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with(path: &Path, credentials: Option<&Path>) -> Result<Self, ConfigError> {
        let text = read_text(path).map_err(only)?;
        let table = parse(path, &text).map_err(only)?;
        let base = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let base = base.parent().unwrap_or(Path::new("/"));
        let reading = Reading::new(base, credentials);
        let config = Section::visit(&reading, String::new(), &table, read);
        if reading.inline_secret.get() && secrets::is_world_readable(path) {
            let shown = path.display();
            reading.warn(format!(
                "{shown}: holds a secret and can be read by everybody; chmod 600 {shown}, or use \
                 a secret file"
            ));
        }
        let (problems, warnings) = reading.into_notes();
        if problems.is_empty() {
            Ok(Self { warnings, ..config })
        } else {
            Err(ConfigError { problems })
        }
    }
}

fn only(problem: String) -> ConfigError {
    ConfigError { problems: vec![problem] }
}

fn read_text(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let told = |why: std::io::Error| {
        format!("{shown}: cannot be read: {why}; give the file's path with --config")
    };
    if CONFIG_BYTES < fs::metadata(path).map_err(told)?.len() {
        return Err(format!("{shown}: is too large for a configuration"));
    }
    fs::read_to_string(path).map_err(told)
}

/// Parses TOML. The parser's own display quotes the line, which may hold a secret; only its message
/// and the place are used.
fn parse(path: &Path, text: &str) -> Result<Table, String> {
    text.parse::<Table>().map_err(|why| {
        let start = why.span().map_or(0, |span| span.start).min(text.len());
        let before = text.get(..start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let message = why.message().replace('\n', ", ");
        format!("{}: line {line}, column {column}: not TOML: {message}", path.display())
    })
}

/// Reads the whole file, in the order in which problems are best told.
fn read(top: &Section<'_>) -> Config {
    let data_dir = top.reading.base.join(top.required_text("data_dir", "\"/var/lib/duebox\""));
    let (storage, drain_ms) = storage::read(top);
    let admin = admin::read(top);
    let tenants = tenants::read(top);
    let callback = admin::read_callback(top, &tenants.accounts);
    let legacy = admin::read_legacy(top);
    let queues = queues::read(top);
    let names: Vec<String> = tenants.accounts.keys().cloned().collect();
    let schedules = schedules::read(top, &names);
    let review = review::read(top, &queues.article_types);
    let rules = Rules {
        tenants: tenants.rules,
        queues: queues.rules,
        schedules: schedules.rules,
        retention: retention::read(top),
    };
    Config {
        data_dir,
        storage,
        drain_ms,
        admin,
        callback,
        legacy,
        tenants: tenants.accounts,
        webhooks: queues.webhooks,
        article_types: queues.article_types,
        pulls: schedules.pulls,
        review,
        rules,
        warnings: Vec::new(),
    }
}
