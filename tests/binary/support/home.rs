//! A temporary directory with a configuration and a data directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use duebox::sandbox::DEFAULT_TEMPLATE;
use tempfile::TempDir;

use super::daemon::PROGRAM;
use super::sandbox::{Sandbox, account};
use super::until;

/// A place for one daemon, or for two on one data directory.
pub(crate) struct Home {
    dir: TempDir,
}

/// The configuration before tables: port 0, and a disk that is never called full.
pub(crate) const BASE: &str = "data_dir = \"data\"\n";

/// The tables that every test has.
pub(crate) const TABLES: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n\
     [storage]\nmin_free_disk = \"0MiB\"\nallow_network_fs = true\ncache = \"16MiB\"\n";

/// A tenant named like its number in the sandbox: t0, t1.
pub(crate) fn tenant(sandbox: &Sandbox, number: usize) -> String {
    let (appid, secret) = account(number);
    format!(
        "[tenants.t{number}]\nappid = \"{appid}\"\nsecret = \"{secret}\"\n\
         base_url = \"{}\"\nconcurrency = 50\nrate = 0\n\
         [tenants.t{number}.templates.new_task]\nid = \"{DEFAULT_TEMPLATE}\"\noverflow = \"truncate\"\n",
        sandbox.url
    )
}

impl Home {
    /// With a configuration of the usual parts: keys before tables, and tables.
    pub(crate) fn new(keys: &str, tables: &str) -> Self {
        Self::with(&format!("{BASE}{keys}\n{TABLES}{tables}"))
    }

    /// With exactly this configuration.
    pub(crate) fn with(config: &str) -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap() };
        home.write("duebox.toml", config);
        home
    }

    /// Writes a file that only this user can read.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("duebox.toml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Everything that daemons of this home logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    /// Waits for a text in the log: a running daemon writes it beside its answers, not before them.
    pub(crate) fn logged(&self, text: &str) {
        let within = Duration::from_secs(10);
        until(&format!("{text} is logged"), within, || self.log().contains(text).then_some(()));
    }

    /// A home with the same configuration and a copy of the data directory, made by `cp -a` as an
    /// operator would; of a running daemon's directory, files may vanish meanwhile.
    pub(crate) fn copied(&self) -> Self {
        let copy = Self::with(&fs::read_to_string(self.config()).unwrap());
        let done = Command::new("cp").arg("-a").arg(self.data()).arg(copy.data()).output();
        let done = done.unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(
            said.lines().all(|line| line.contains("No such file") || line.contains("vanished")),
            "cp: {said}"
        );
        copy
    }

    /// Runs the program with these arguments to its end: exit code, standard output and error.
    pub(crate) fn run(&self, args: &[&str]) -> (i32, String) {
        let done = Command::new(PROGRAM).args(args).current_dir(self.dir.path()).output().unwrap();
        let (out, err) =
            (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        (done.status.code().unwrap_or(-1), format!("{out}{err}"))
    }
}

/// The files of a directory whose names end so, in order.
pub(crate) fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let found = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        found.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    found.sort();
    found
}
