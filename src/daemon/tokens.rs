//! Access tokens between two runs, in a file of their own: they live two hours, so losing them costs one
//! call, and nothing that is copied or kept for longer (journal, images, backups) shall hold them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::regular;
use crate::time::Timestamp;

/// The file's name in the data directory.
const TOKENS: &str = "tokens";
/// More than the tokens of all tenants take.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// A token as it is kept. A secret: it has no place in any output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The account that it is for: under another one it is worth nothing.
    pub(super) appid: String,
    pub(super) value: String,
    pub(super) expires_at: Timestamp,
}

/// The file, by tenant.
pub(super) struct Tokens {
    path: PathBuf,
    kept: Mutex<BTreeMap<String, Kept>>,
}

impl Tokens {
    /// What an earlier run left. A file that is not right is worth nothing.
    pub(super) fn load(data_dir: &Path) -> Self {
        let path = data_dir.join(TOKENS);
        let kept = regular::read(&path, MOST_BYTES).ok();
        let kept = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { path, kept: Mutex::new(kept) }
    }

    /// A tenant's token, if it is for this account.
    pub(super) fn of(&self, tenant: &str, appid: &str) -> Option<Kept> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(tenant).filter(|kept| kept.appid == appid).cloned()
    }

    /// Keeps a token. Whether that worked is not worth ending anything.
    pub(super) fn keep(&self, tenant: &str, token: Kept) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(tenant.to_owned(), token);
        if let Err(error) = write(&self.path, &kept) {
            tracing::warn!(event = "tokens.not_kept", %error);
        }
    }
}

fn write(path: &Path, kept: &BTreeMap<String, Kept>) -> std::io::Result<()> {
    let part = path.with_extension("part");
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(&serde_json::to_vec(kept)?)?;
    std::fs::rename(part, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_outlives_the_process_for_its_account_only() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept { appid: "wx1".into(), value: "v".into(), expires_at: Timestamp(7) };
        let tokens = Tokens::load(dir.path());
        assert!(tokens.of("acme", "wx1").is_none());
        tokens.keep("acme", kept.clone());
        let tokens = Tokens::load(dir.path());
        assert!(tokens.of("acme", "wx1") == Some(kept) && tokens.of("acme", "wx2").is_none());
        let mode = std::fs::metadata(dir.path().join(TOKENS)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(dir.path().join(TOKENS), "{").unwrap();
        assert!(Tokens::load(dir.path()).of("acme", "wx1").is_none());
    }
}
