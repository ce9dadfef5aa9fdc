//! Small libraries that are preloaded into a daemon, made when a test wants them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::home::Home;

/// Compiles `tests/binary/support/{name}.rs`; gives the library.
pub(crate) fn library(home: &Home, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/binary/support").join(name);
    let library = home.path(&format!("lib{name}.so"));
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let done = Command::new(compiler)
        .args(["--edition", "2024", "--crate-type", "cdylib", "-C", "panic=abort", "-o"])
        .args([&library, &source.with_extension("rs")])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    library
}
