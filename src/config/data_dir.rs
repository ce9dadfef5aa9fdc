//! Whether a data directory can be used, found out without writing to it.

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat, statfs};

/// Whether a network file system is accepted for the data directory.
///
/// Locks of two hosts on one volume and the order of writes are not what the store relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkDisk {
    /// Refused.
    Refuse,
    /// Taken, with a warning.
    Allow,
}

/// What kind of file system holds a directory, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Local,
    /// Gone after a reboot.
    Memory(&'static str),
    /// Locks and syncs are somebody else's promise.
    Network(&'static str),
}

/// Checks that a data directory exists or can be made, that this user can write there, and that
/// its file system keeps what it is given. Nothing is created. Returns warnings.
///
/// # Errors
/// One line that names `data_dir` and what to do.
pub fn check_data_dir(path: &Path, network: NetworkDisk) -> Result<Vec<String>, String> {
    let shown = path.display();
    let told = |what: String| format!("data_dir: {shown}: {what}");
    let place = nearest_existing(path).map_err(|why| told(why.to_string()))?;
    if !place.is_dir() {
        let what = format!("{} is not a directory; choose another path", place.display());
        return Err(told(what));
    }
    let rights = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    if let Err(why) = accessat(CWD, place, rights, AtFlags::EACCESS) {
        return Err(told(format!(
            "{} cannot be written: {why}; give it to the daemon's user (chown), or choose another",
            place.display()
        )));
    }
    let facts = statfs(place).map_err(|why| told(format!("statfs: {why}")))?;
    let kind = kind_of(magic(facts.f_type));
    judge(kind, network).map(|warning| warning.map(told).into_iter().collect()).map_err(told)
}

/// The path itself or the closest parent that exists.
fn nearest_existing(path: &Path) -> std::io::Result<&Path> {
    for place in path.ancestors() {
        let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
        match place.metadata() {
            Ok(_) => return Ok(place),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
            // A file in the middle of the path; the loop finds and names it.
            Err(why) if why.kind() == std::io::ErrorKind::NotADirectory => {}
            Err(why) => return Err(why),
        }
    }
    Err(std::io::ErrorKind::NotFound.into())
}

fn judge(kind: Kind, network: NetworkDisk) -> Result<Option<String>, String> {
    match (kind, network) {
        (Kind::Local, _) => Ok(None),
        (Kind::Memory(name), _) => {
            Ok(Some(format!("is on {name}: everything is lost when the machine restarts")))
        }
        (Kind::Network(name), NetworkDisk::Allow) => {
            Ok(Some(format!("is on {name}: only one machine may ever use it")))
        }
        (Kind::Network(name), NetworkDisk::Refuse) => Err(format!(
            "is on {name}, whose locks and syncs cannot be relied on; choose a local disk, or set \
             allow_network_fs = true in [storage]"
        )),
    }
}

/// The low 32 bits: some platforms give the number signed, some wider.
#[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation)]
fn magic(f_type: rustix::fs::FsWord) -> u32 {
    f_type as u32
}

/// Numbers from Linux's `magic.h` and `statfs(2)`.
fn kind_of(magic: u32) -> Kind {
    match magic {
        0x0000_6969 => Kind::Network("NFS"),
        0x0000_517b | 0xff53_4d42 | 0xfe53_4d42 => Kind::Network("SMB"),
        0x6573_5546 => Kind::Network("FUSE"),
        0x0102_1997 => Kind::Network("9p"),
        0x00c3_6400 => Kind::Network("Ceph"),
        0x5346_414f | 0x6b41_4653 => Kind::Network("AFS"),
        0x7375_7245 => Kind::Network("Coda"),
        0x0bd0_0bd0 => Kind::Network("Lustre"),
        0x4750_4653 => Kind::Network("GPFS"),
        0x0116_1970 => Kind::Network("GFS2"),
        0x7461_636f => Kind::Network("OCFS2"),
        0x786f_4256 => Kind::Network("vboxsf"),
        0x0102_1994 => Kind::Memory("tmpfs"),
        0x8584_58f6 => Kind::Memory("ramfs"),
        _ => Kind::Local,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missing_directory_under_a_writable_one_is_fine_and_not_created() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b");
        assert!(check_data_dir(&path, NetworkDisk::Allow).is_ok());
        assert!(check_data_dir(home.path(), NetworkDisk::Allow).is_ok());
        assert!(!home.path().join("a").exists());
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, "x").unwrap();
        for path in [file.clone(), file.join("below")] {
            let why = check_data_dir(&path, NetworkDisk::Allow).unwrap_err();
            assert!(why.starts_with("data_dir: "), "{why}");
            assert!(why.contains(&format!("{} is not a directory", file.display())), "{why}");
        }
    }

    #[test]
    fn a_network_file_system_is_refused_unless_allowed() {
        for number in [0x6969, 0xff53_4d42, 0x6573_5546] {
            let why = judge(kind_of(number), NetworkDisk::Refuse).unwrap_err();
            assert!(why.contains("allow_network_fs = true"), "{why}");
            assert!(judge(kind_of(number), NetworkDisk::Allow).unwrap().is_some());
        }
        assert_eq!(judge(kind_of(0xef53), NetworkDisk::Refuse), Ok(None));
        assert!(judge(kind_of(0x0102_1994), NetworkDisk::Refuse).unwrap().is_some());
    }
}
