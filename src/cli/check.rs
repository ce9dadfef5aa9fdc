//! `duebox check`: whether `serve` would take a configuration.

use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::Exit;
use super::output::{self, Failure};
use crate::config::{Config, check_data_dir};
use crate::daemon;

/// Arguments of `check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    pub config: PathBuf,
}

pub(super) fn run(args: &CheckArgs) -> Exit {
    output::finish(load(&args.config).and_then(|config| output::print(&summary(&config))))
}

/// Reads a configuration and looks at its data directory, as `serve` and `check` both must before
/// anything is opened. Warnings are said; problems end with [`Exit::Usage`].
pub(super) fn load(path: &Path) -> Result<Config, Failure> {
    let told = |errors| Failure::Told { exit: Exit::Usage, errors, hints: Vec::new() };
    let config = Config::load(path).map_err(|error| told(error.problems))?;
    daemon::check(&config).map_err(|problem| told(vec![problem]))?;
    let found = check_data_dir(&config.data_dir, config.storage.network_disk);
    let more = found.map_err(|problem| told(vec![problem]))?;
    config.warnings.iter().chain(&more).for_each(|line| output::say("warning", line));
    Ok(config)
}

/// What was understood, without anything secret.
fn summary(config: &Config) -> String {
    let rules = &config.rules;
    let named = |names: Vec<&String>| match names.as_slice() {
        [] => "none".to_owned(),
        names => names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", "),
    };
    let token = config.admin.token.as_ref().map_or("no token", |_| "with a token");
    format!(
        "ok\ndata_dir   {}\nadmin      {}, {token}\ntenants    {}\nschedules  {}\nqueues     {}\n",
        config.data_dir.display(),
        config.admin.listen,
        named(rules.tenants.keys().collect()),
        named(rules.schedules.keys().collect()),
        named(rules.queues.keys().collect()),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn exit(text: &str) -> Exit {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        run(&CheckArgs { config: file.path().to_path_buf() })
    }

    #[test]
    fn a_right_configuration_ends_with_0_and_others_with_2() {
        let right = "data_dir = 'duebox-data'\n[storage]\nallow_network_fs = true";
        assert_eq!(exit(right), Exit::Ok);
        assert_eq!(exit("data_dir = 'x'\nwrong = 1"), Exit::Usage);
        assert_eq!(exit("data_dir = '/dev/null/x'"), Exit::Usage);
        for wrong in [
            "[queues.a]\ndeliver = { webhook = 'http://127.0.0.1:9/', secret = 'no-key' }",
            "[queues.a]\ndeliver = { worker = 'article-review' }\n\
             [review]\nmoderation = { provider = 'none' }\n\
             articles = 'http://127.0.0.1:9/{id}'\npublish = 'http://127.0.0.1:9/'",
            "[tenants.a]\nappid = 'w'\nsecret = 's'\nbase_url = 'http://u:p@127.0.0.1:9'",
        ] {
            assert_eq!(exit(&format!("{right}\n{wrong}")), Exit::Usage, "{wrong}");
        }
        assert_eq!(run(&CheckArgs { config: PathBuf::from("/none/duebox.toml") }), Exit::Usage);
    }

    #[test]
    fn the_summary_shows_no_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text =
            "data_dir = 'x'\nadmin.token = 'canary'\n[tenants.a]\nappid = 'w'\nsecret = 'canary'";
        std::fs::write(file.path(), text).unwrap();
        let shown = summary(&Config::load(file.path()).unwrap());
        assert!(shown.contains("tenants    a\n") && shown.contains("with a token"), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
