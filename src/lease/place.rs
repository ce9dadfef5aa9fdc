//! Whether the file system under the data directory honours locks between machines.
//!
//! Sources: flock(2) (NFS emulates it since 2.6.12, SMB since 5.5), nfs(5) (`local_lock`, `nolock`,
//! and the lock manager that versions before 4 need), and that FUSE locks stay on one machine
//! unless the server implements them.

use std::path::Path;

/// A verdict on a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One machine only: the kernel's lock is all there is.
    Local,
    /// Several machines, with locks that reach all of them.
    Shared {
        /// Type as the kernel names it.
        kind: String,
    },
    /// Several machines, with locks that may not reach them.
    Unsafe {
        /// Type as the kernel names it.
        kind: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Judges the file system that holds `dir`; one that cannot be found out counts as local.
pub(super) fn of(dir: &Path) -> Place {
    let Ok(dir) = dir.canonicalize() else { return Place::Local };
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return Place::Local };
    match mount_of(&dir, &mounts) {
        Some((kind, options)) => judge(kind, options),
        None => Place::Local,
    }
}

/// Type and options of the mount under `dir`: the longest mount point, of equal ones the last.
///
/// Lines are `id parent dev root POINT options [tags] - TYPE source SUPEROPTIONS`, with octal
/// escapes in the point (proc(5)).
fn mount_of<'a>(dir: &Path, mounts: &'a str) -> Option<(&'a str, &'a str)> {
    let mut best: Option<(usize, &str, &str)> = None;
    for line in mounts.lines() {
        let Some((front, back)) = line.split_once(" - ") else { continue };
        let Some(point) = front.split(' ').nth(4) else { continue };
        let mut back = back.split(' ');
        let (Some(kind), _, Some(options)) = (back.next(), back.next(), back.next()) else {
            continue;
        };
        let point = unescape(point);
        if dir.starts_with(&point) && best.is_none_or(|(length, ..)| length <= point.len()) {
            best = Some((point.len(), kind, options));
        }
    }
    best.map(|(_, kind, options)| (kind, options))
}

fn unescape(point: &str) -> String {
    point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

fn judge(kind: &str, options: &str) -> Place {
    let bad = |why| Place::Unsafe { kind: kind.to_owned(), why };
    let has = |option: &str| options.split(',').any(|one| one == option);
    match kind {
        "nfs" | "nfs4" => {
            let local_locks = options
                .split(',')
                .any(|one| one.starts_with("local_lock=") && one != "local_lock=none");
            if has("nolock") || local_locks {
                bad("it is mounted with locks that stay on one machine")
            } else if has("vers=4.1") || has("vers=4.2") {
                Place::Shared { kind: kind.to_owned() }
            } else {
                bad("locks need NFS 4.1 or newer")
            }
        }
        "ceph" | "gfs2" | "ocfs2" => Place::Shared { kind: kind.to_owned() },
        "cifs" | "smb3" | "smbfs" => bad("SMB does not keep the order of writes and locks"),
        "9p" | "afs" | "coda" | "lustre" | "vboxsf" | "beegfs" => {
            bad("its locks may stay on one machine")
        }
        _ if kind == "fuse" || kind.starts_with("fuse.") => {
            bad("FUSE locks may stay on one machine")
        }
        _ => Place::Local,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn innermost_mount_decides() {
        let mounts = "27 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
                      28 27 0:40 / /srv rw shared:2 master:3 - nfs4 nas:/ rw,vers=4.2\n\
                      29 27 0:41 / /srv/my\\040data rw - cifs //nas/x rw\n\
                      30 27 0:42 / /srv/fast rw - xfs /dev/vdb rw\n";
        for (dir, kind) in [
            ("/var/lib/duebox", Some("ext4")),
            ("/srv/duebox", Some("nfs4")),
            ("/srv/my data/duebox", Some("cifs")),
            ("/srv/fast/duebox", Some("xfs")),
            ("/srvs", Some("ext4")),
        ] {
            assert_eq!(mount_of(Path::new(dir), mounts).map(|m| m.0), kind, "{dir}");
        }
    }

    #[test]
    fn only_locks_that_reach_all_machines_pass() {
        let word = |kind, options| match judge(kind, options) {
            Place::Local => "local",
            Place::Shared { .. } => "shared",
            Place::Unsafe { .. } => "unsafe",
        };
        for (kind, options, expected) in [
            ("ext4", "rw", "local"),
            ("xfs", "rw", "local"),
            ("overlay", "rw,lowerdir=/a", "local"),
            ("tmpfs", "rw", "local"),
            ("nfs4", "rw,vers=4.2,local_lock=none", "shared"),
            ("nfs4", "rw,vers=4.1,local_lock=none", "shared"),
            ("nfs4", "rw,vers=4.0,local_lock=none", "unsafe"),
            ("nfs4", "rw,vers=4.2,local_lock=all", "unsafe"),
            ("nfs4", "rw,vers=4.2,local_lock=flock", "unsafe"),
            ("nfs", "rw,vers=3,local_lock=none", "unsafe"),
            ("nfs", "rw,vers=3,nolock", "unsafe"),
            ("ceph", "rw", "shared"),
            ("cifs", "rw", "unsafe"),
            ("fuse.sshfs", "rw", "unsafe"),
            ("fuse", "rw", "unsafe"),
            ("fuseblk", "rw", "local"),
            ("9p", "rw", "unsafe"),
        ] {
            assert_eq!(word(kind, options), expected, "{kind} {options}");
        }
    }
}
