//! Who a data directory is, where it was made, and how far it certainly had come.
//!
//! The identity file records its own inode and birth time. A copy of the file, made by whatever
//! tool, is another inode born at another time, so every copy of the directory is noticed; moving
//! or renaming the directory within its file system is not a copy. A copy below the file system
//! (a cloned volume or virtual machine) cannot be told apart, only its device while one boot lasts.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::DIRECTORY_FORMAT;
use super::small_file::{self, Sealed};
use crate::boot::{self, boot_id};
use crate::kv::Fault;

/// The name of the identity file.
pub(super) const IDENTITY: &str = "identity";

/// The identity of one data directory: random, and new for every copy that is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct InstanceId(pub u128);

impl InstanceId {
    /// A new one from the system's random source.
    pub fn random() -> Result<Self, Fault> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(&mut bytes))
            .map_err(|error| Fault::io("reading /dev/urandom", error))?;
        Ok(Self(u128::from_be_bytes(bytes)))
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for InstanceId {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for InstanceId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

/// Why a daemon comes up held: nothing is sent or handed out until an operator releases it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldReason {
    /// The directory is a copy of another one, which may still be at work.
    Copy,
    /// The directory was restored from a backup; the original may still be at work.
    Restored,
    /// The identity file is missing or damaged: whether this is a copy cannot be known.
    UnknownOrigin,
}

impl std::fmt::Display for HeldReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Copy => "this directory is a copy; the original may still be at work",
            Self::Restored => "this directory was restored; the original may still be at work",
            Self::UnknownOrigin => "it cannot be known whether this directory is a copy",
        })
    }
}

/// How far the creation of the directory had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nothing was ever accepted: an interrupted creation begins again.
    Creating,
    /// A backup is being restored: nothing counts before all of it is there.
    Restoring,
    /// There is data, which must be found.
    Established,
}

/// One inode, which no other file of the same file system ever is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileId {
    /// Its number.
    pub inode: u64,
    /// When it was made, in nanoseconds since 1970, where the file system says so.
    pub birth_ns: Option<u64>,
}

impl FileId {
    fn of(meta: &Metadata) -> Self {
        let born = meta.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let birth_ns = born.and_then(|age| u64::try_from(age.as_nanos()).ok());
        Self { inode: meta.ino(), birth_ns }
    }

    /// Whether both are the same file. Of a file system, kernel or sandbox that does not tell births
    /// only the inode is known.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let births = self.birth_ns.zip(other.birth_ns);
        self.inode == other.inode && births.is_none_or(|(ours, theirs)| ours == theirs)
    }

    /// The file under `path`, if there is one.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|meta| Self::of(&meta))
    }
}

/// Where the identity file was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The identity file itself.
    pub own: FileId,
    /// The device it was on.
    pub device: u64,
    /// The boot during which it was written, empty where that cannot be known: device numbers mean
    /// nothing beyond, and what nobody synced is gone.
    pub boot: String,
    /// The directory itself: a copy by hard links keeps the file's inode, but not this one. Absent in
    /// files of earlier versions.
    #[serde(default)]
    pub dir: Option<FileId>,
}

/// The store's files after a clean stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanMark {
    /// The last commit; the base holds it.
    pub seq: u64,
    /// The sum of the lengths of the store's files.
    pub bytes: u64,
    /// Checksum over the store's files; absent when they were too large for one.
    pub crc: Option<u32>,
}

/// The content of the identity file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The format of the whole directory.
    pub format: u32,
    /// Who it is.
    pub instance: InstanceId,
    /// Whether there must be data.
    pub stage: Stage,
    /// Why it is held, if it is.
    pub held: Option<HeldReason>,
    /// The store's main file that belongs to this directory. Absent while a rebuild is pending:
    /// whatever is there is then not trusted.
    pub store: Option<FileId>,
    /// Present only between a clean stop and the next start.
    pub clean: Option<CleanMark>,
    /// Where the file was written; filled in by [`Identity::write`].
    pub place: Option<Place>,
    /// Who wrote the journal before this instance did, if somebody did: the directory was a copy.
    #[serde(default)]
    pub from: Option<InstanceId>,
}

impl Identity {
    /// A new identity without data.
    pub fn new(stage: Stage, held: Option<HeldReason>) -> Result<Self, Fault> {
        Ok(Self {
            format: DIRECTORY_FORMAT,
            instance: InstanceId::random()?,
            stage,
            held,
            store: None,
            clean: None,
            place: None,
            from: None,
        })
    }

    /// Writes the file so that it survives a power cut. It then belongs to this directory, and to
    /// this program's format: an older program shall not take what this one is about to write for
    /// an empty store.
    pub fn write(&mut self, data_dir: &Path) -> Result<(), Fault> {
        self.format = DIRECTORY_FORMAT;
        small_file::write(data_dir, IDENTITY, |file| {
            let meta = file.metadata().map_err(|error| Fault::io("looking at identity", error))?;
            let boot = boot_id().unwrap_or_default();
            let dir = FileId::at(data_dir);
            self.place = Some(Place { own: FileId::of(&meta), device: meta.dev(), boot, dir });
            Ok(&*self)
        })
    }

    /// Whether the identity file under `data_dir` is a copy of the one that was written.
    #[must_use]
    pub fn is_copy(&self, data_dir: &Path) -> bool {
        let Ok(meta) = fs::metadata(data_dir.join(IDENTITY)) else { return true };
        let Some(place) = &self.place else { return true };
        let moved_device = self.boot() == Boot::Same && place.device != meta.dev();
        let linked = match (&place.dir, FileId::at(data_dir)) {
            (Some(then), Some(now)) => !then.is(&now),
            // Of an earlier version: with a second name, this may be the copy.
            (None, _) => meta.nlink() > 1,
            (Some(_), None) => true,
        };
        !place.own.is(&FileId::of(&meta)) || moved_device || linked
    }

    /// Whether the machine was started again since the file was written.
    #[must_use]
    pub fn boot(&self) -> Boot {
        let then = self.place.as_ref().and_then(|place| boot::parse(&place.boot));
        match (then, boot_id()) {
            (Some(then), Some(now)) if then == now => Boot::Same,
            (Some(_), Some(_)) => Boot::Another,
            _ => Boot::Unknown,
        }
    }
}

/// The start of the machine in which a file was written, seen from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// This one.
    Same,
    /// An earlier one.
    Another,
    /// That cannot be known.
    Unknown,
}

/// What the identity file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A right one.
    Identity(Box<Identity>),
    /// None.
    Missing,
    /// One that cannot be read; why.
    Damaged(String),
    /// One of a newer program, in this format.
    Newer(u32),
}

/// Reads the identity file.
pub fn read(data_dir: &Path) -> Result<Found, Fault> {
    // The format is looked at first: a newer file may have any other content.
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    Ok(match small_file::read::<Format>(data_dir, IDENTITY)? {
        Sealed::Missing => Found::Missing,
        Sealed::Damaged(why) => Found::Damaged(why),
        Sealed::Found(Format { format }) if format > DIRECTORY_FORMAT => Found::Newer(format),
        Sealed::Found(_) => match small_file::read::<Identity>(data_dir, IDENTITY)? {
            Sealed::Found(identity) => Found::Identity(Box::new(identity)),
            Sealed::Missing => Found::Missing,
            Sealed::Damaged(why) => Found::Damaged(why),
        },
    })
}

/// Lifts the hold, for good.
pub fn release(data_dir: &Path) -> Result<(), Fault> {
    match read(data_dir)? {
        Found::Identity(mut identity) => {
            identity.held = None;
            identity.write(data_dir)
        }
        other => Err(Fault::io("releasing the data directory", format!("{other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn copies_are_noticed_and_moves_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::create_dir(&one).unwrap();
        let mut identity = Identity::new(Stage::Established, None).unwrap();
        identity.write(&one).unwrap();
        let found = read(&one).unwrap();
        assert_eq!(found, Found::Identity(Box::new(identity.clone())));
        assert!(!identity.is_copy(&one));
        fs::rename(&one, &two).unwrap();
        assert!(!identity.is_copy(&two), "a renamed directory is no copy");
        fs::create_dir(&one).unwrap();
        fs::copy(two.join(IDENTITY), one.join(IDENTITY)).unwrap();
        assert!(identity.is_copy(&one));
        identity.write(&one).unwrap();
        assert!(!identity.is_copy(&one), "a copy becomes itself once written");
    }

    #[test]
    fn a_copy_by_hard_links_is_a_copy_and_the_original_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let mut identity = Identity::new(Stage::Established, None).unwrap();
        for dir in [&one, &two] {
            fs::create_dir(dir).unwrap();
        }
        identity.write(&one).unwrap();
        fs::hard_link(one.join(IDENTITY), two.join(IDENTITY)).unwrap();
        assert!(identity.is_copy(&two) && !identity.is_copy(&one));
        identity.place.as_mut().unwrap().dir = None;
        assert!(identity.is_copy(&two) && identity.is_copy(&one), "which one cannot be known");
    }

    #[test]
    fn another_device_tells_a_copy_only_within_one_known_boot() {
        let dir = tempfile::tempdir().unwrap();
        let mut identity = Identity::new(Stage::Established, None).unwrap();
        identity.write(dir.path()).unwrap();
        assert_eq!(identity.boot(), Boot::Same);
        let mut elsewhere = |boot: &str| {
            let place = identity.place.as_mut().unwrap();
            place.device ^= 1;
            boot.clone_into(&mut place.boot);
            let copy = identity.is_copy(dir.path());
            identity.place.as_mut().unwrap().device ^= 1;
            (identity.boot(), copy)
        };
        assert_eq!(elsewhere(""), (Boot::Unknown, false));
        assert_eq!(elsewhere(&"0".repeat(32)), (Boot::Another, false));
        let now = boot_id().unwrap();
        assert_eq!(elsewhere(&now), (Boot::Same, true));
        assert_eq!(elsewhere(&format!("{}-{}", &now[..8], &now[8..])), (Boot::Same, true));
    }

    #[test]
    fn births_count_only_where_both_are_known() {
        let file = |inode, birth_ns| FileId { inode, birth_ns };
        assert!(file(1, Some(5)).is(&file(1, Some(5))) && file(1, None).is(&file(1, Some(5))));
        assert!(!file(1, Some(5)).is(&file(1, Some(6))) && !file(1, None).is(&file(2, None)));
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), Found::Missing);
        small_file::write(dir.path(), IDENTITY, |_| Ok(serde_json::json!({"format": 3}))).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Found::Newer(3));
        small_file::write(dir.path(), IDENTITY, |_| Ok(serde_json::json!({"format": 1}))).unwrap();
        assert!(matches!(read(dir.path()).unwrap(), Found::Damaged(_)));
    }

    #[test]
    fn a_directory_of_format_1_is_taken_over_and_closed_to_older_programs() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::new(Stage::Established, None).unwrap();
        let older = Identity { format: 1, ..identity };
        small_file::write(dir.path(), IDENTITY, |_| Ok(older.clone())).unwrap();
        let Found::Identity(mut found) = read(dir.path()).unwrap() else { panic!("not read") };
        found.write(dir.path()).unwrap();
        let Found::Identity(found) = read(dir.path()).unwrap() else { panic!("not read") };
        assert_eq!(found.format, DIRECTORY_FORMAT);
    }
}
