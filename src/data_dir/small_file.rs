//! Small files that are replaced as a whole: one line of JSON, one line with its CRC-32 in hex.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::sync_dir;
use crate::kv::{Cause, Fault};
use crate::regular;

/// More than any of these files has.
pub(super) const MOST_BYTES: u64 = 64 * 1024;

/// What was found under a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sealed<T> {
    /// A whole, right file.
    Found(T),
    /// No such file.
    Missing,
    /// A file that is not what was written; why.
    Damaged(String),
}

/// Replaces `name` in `dir`; afterwards it survives a power cut. `content` is made from the new
/// file before it gets its name, so a file can record its own inode.
pub(crate) fn write<T: Serialize>(
    dir: &Path,
    name: &str,
    content: impl FnOnce(&File) -> Result<T, Fault>,
) -> Result<(), Fault> {
    let fault = |error| Fault::io("writing a file", Cause::at(&dir.join(name), error));
    let new = dir.join(format!("{name}.new"));
    // A left-over is removed, not reused: the new file is a new inode with its own birth time.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(fault(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file = File::create_new(&new).map_err(fault)?;
    let text = serde_json::to_string(&content(&file)?)
        .map_err(|error| Fault::io("encoding a file", error.to_string()))?;
    let crc = crc32fast::hash(text.as_bytes());
    file.write_all(format!("{text}\n{crc:08x}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&new, dir.join(name)))
        .map_err(fault)?;
    sync_dir(dir)
}

/// Reads what [`write`] wrote.
pub(crate) fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<Sealed<T>, Fault> {
    let path = dir.join(name);
    let bytes = match regular::read(&path, MOST_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Sealed::Missing),
        // Somebody put something else in its place: as good as damaged.
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Ok(Sealed::Damaged(error.to_string()));
        }
        Err(error) => {
            return Err(Fault::io("reading a file", Cause::at(&path, error)));
        }
    };
    let Some((line, seal)) =
        std::str::from_utf8(&bytes).ok().and_then(|text| text.split_once('\n'))
    else {
        return Ok(Sealed::Damaged("not a line of text and its checksum".to_owned()));
    };
    if seal != format!("{:08x}\n", crc32fast::hash(line.as_bytes())) {
        return Ok(Sealed::Damaged("wrong checksum".to_owned()));
    }
    Ok(match serde_json::from_str(line) {
        Ok(content) => Sealed::Found(content),
        Err(error) => Sealed::Damaged(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_flipped_byte_and_every_cut_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read::<u64>(dir.path(), "x").unwrap(), Sealed::Missing);
        write(dir.path(), "x", |_| Ok(12_345u64)).unwrap();
        assert_eq!(read::<u64>(dir.path(), "x").unwrap(), Sealed::Found(12_345));
        let path = dir.path().join("x");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(&path, &bytes).unwrap();
            assert!(matches!(read::<u64>(dir.path(), "x").unwrap(), Sealed::Damaged(_)), "{at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(matches!(read::<u64>(dir.path(), "x").unwrap(), Sealed::Damaged(_)), "{at}");
        }
    }

    #[test]
    fn a_hostile_file_is_the_good_one_or_damaged() {
        use crate::mutants::Mutants;
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "x", |_| Ok(vec!["a", "b\n", "通"])).unwrap();
        let good = fs::read(dir.path().join("x")).unwrap();
        for bytes in Mutants::of(&[&good], 3_000) {
            fs::write(dir.path().join("x"), &bytes).unwrap();
            match read::<Vec<String>>(dir.path(), "x") {
                Ok(Sealed::Found(read)) => assert_eq!(read, ["a", "b\n", "通"], "{bytes:?}"),
                Ok(Sealed::Damaged(_)) => assert_ne!(bytes, good),
                other => panic!("{other:?}"),
            }
        }
    }
}
