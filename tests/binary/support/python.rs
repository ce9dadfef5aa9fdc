//! Public Python libraries, in an environment of their own below the build directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

static MAKING: Mutex<()> = Mutex::new(());

/// A Python with these packages, each with its version. Without Python, or without a package index,
/// the test is skipped; with `DUEBOX_PYTHON=required`, as in `.ci/run`, that is a failure.
pub(crate) fn python(packages: &[&str]) -> Option<PathBuf> {
    let made = make(packages);
    let required = std::env::var("DUEBOX_PYTHON").is_ok_and(|value| value == "required");
    match made {
        Ok(python) => Some(python),
        Err(why) if required => panic!("{why}"),
        Err(why) => {
            eprintln!("skipped: {why}");
            None
        }
    }
}

fn make(packages: &[&str]) -> Result<PathBuf, String> {
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let name: String = packages.join("-").replace(['=', '.'], "_");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{name}"));
    let (python, whole) = (dir.join("bin/python"), dir.join("whole"));
    if whole.exists() {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir))?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(packages))?;
    std::fs::write(&whole, "").map_err(|why| why.to_string())?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let done = command.output().map_err(|why| format!("python3: {why}"))?;
    if done.status.success() {
        return Ok(());
    }
    // An index's address may stand in its words: only the last line, which has none.
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let last = said.lines().rev().find(|line| !line.contains("://")).unwrap_or_default();
    Err(format!("{:?} failed: {last}", command.get_program()))
}
