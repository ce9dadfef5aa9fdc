//! Preloaded into a daemon by its tests: notes, in order, whatever is done to the files below
//! `RECORDED_ROOT` in the file `RECORDED_LOG`. `disk.rs` reads the notes.

use std::collections::HashSet;
use std::ffi::{CStr, OsStr, c_char, c_int, c_long, c_uint, c_void};
use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

#[cfg(target_arch = "x86_64")]
mod number {
    use super::c_long;
    pub const WRITE: c_long = 1;
    pub const LSEEK: c_long = 8;
    pub const PWRITE: c_long = 18;
    pub const FLOCK: c_long = 73;
    pub const FSYNC: c_long = 74;
    pub const FDATASYNC: c_long = 75;
    pub const FTRUNCATE: c_long = 77;
    pub const OPENAT: c_long = 257;
    pub const MKDIRAT: c_long = 258;
    pub const UNLINKAT: c_long = 263;
    pub const RENAMEAT2: c_long = 316;
}
#[cfg(target_arch = "aarch64")]
mod number {
    use super::c_long;
    pub const FLOCK: c_long = 32;
    pub const MKDIRAT: c_long = 34;
    pub const UNLINKAT: c_long = 35;
    pub const FTRUNCATE: c_long = 46;
    pub const OPENAT: c_long = 56;
    pub const LSEEK: c_long = 62;
    pub const WRITE: c_long = 64;
    pub const PWRITE: c_long = 68;
    pub const FSYNC: c_long = 82;
    pub const FDATASYNC: c_long = 83;
    pub const RENAMEAT2: c_long = 276;
}

const AT_FDCWD: c_int = -100;
const AT_REMOVEDIR: c_int = 0x200;
const SEEK_CUR: c_int = 1;
const O_TRUNC: c_int = 0o1000;
const LOCK_EX: c_int = 2;
const LOCK_UN: c_int = 8;

/// The kinds of notes, as `disk.rs` knows them.
const OPEN: u8 = 1;
const WRITE: u8 = 2;
const TRUNCATE: u8 = 3;
const SYNC: u8 = 4;
const MKDIR: u8 = 5;
const RENAME: u8 = 6;
const UNLINK: u8 = 7;

/// One at a time: what the notes say came first did come first. Across processes, too: whoever holds
/// the lock of the log knows that nothing is done and not yet noted, and may kill this process.
struct Recorder {
    root: PathBuf,
    log: File,
    /// Inodes of what was opened below the root.
    known: HashSet<u64>,
}

/// What a note holds beside its kind.
#[derive(Default)]
struct Note<'a> {
    inode: u64,
    number: u64,
    path: &'a [u8],
    other: &'a [u8],
    data: &'a [u8],
}

/// The recorder, while nobody else does anything.
struct Turn(MutexGuard<'static, Recorder>);

impl Turn {
    fn begin(recorder: MutexGuard<'static, Recorder>) -> Self {
        let log = recorder.log.as_raw_fd();
        // Interrupted by a signal, it is tried again.
        while unsafe { syscall(number::FLOCK, log, LOCK_EX) } != 0 {}
        Self(recorder)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        unsafe { syscall(number::FLOCK, self.0.log.as_raw_fd(), LOCK_UN) };
    }
}

impl std::ops::Deref for Turn {
    type Target = Recorder;

    fn deref(&self) -> &Recorder {
        &self.0
    }
}

impl std::ops::DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut Recorder {
        &mut self.0
    }
}

fn recorder() -> Option<Turn> {
    static RECORDER: OnceLock<Option<Mutex<Recorder>>> = OnceLock::new();
    let recorder = RECORDER.get_or_init(|| {
        let root = PathBuf::from(std::env::var_os("RECORDED_ROOT")?);
        let path = [std::env::var_os("RECORDED_LOG")?.as_bytes(), b"\0"].concat();
        // Write, create, append, close on exec: not through this file's own `open64`.
        let flags = 0o1 | 0o100 | 0o2000 | 0o2000000;
        let fd = unsafe { syscall(number::OPENAT, AT_FDCWD, path.as_ptr(), flags, 0o600) };
        assert!(0 <= fd, "no log of the disk");
        let log = unsafe { File::from_raw_fd(fd as RawFd) };
        Some(Mutex::new(Recorder { root, log, known: HashSet::new() }))
    });
    let recorder = recorder.as_ref()?;
    Some(Turn::begin(recorder.lock().unwrap_or_else(PoisonError::into_inner)))
}

impl Recorder {
    fn note(&self, kind: u8, note: Note<'_>) {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&note.inode.to_le_bytes());
        bytes.extend_from_slice(&note.number.to_le_bytes());
        for part in [note.path, note.other, note.data] {
            bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
        }
        for part in [note.path, note.other, note.data] {
            bytes.extend_from_slice(part);
        }
        let log = self.log.as_raw_fd();
        let done = unsafe { syscall(number::WRITE, log, bytes.as_ptr(), bytes.len()) };
        assert_eq!(done, bytes.len() as c_long, "the log of the disk is cut");
    }

    /// The path below the root, if it is below the root.
    fn below(&self, dir: c_int, path: *const c_char) -> Option<PathBuf> {
        let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
        let from = if path.is_absolute() {
            PathBuf::new()
        } else if dir == AT_FDCWD {
            std::env::current_dir().ok()?
        } else {
            std::fs::read_link(format!("/proc/self/fd/{dir}")).ok()?
        };
        Some(from.join(path).strip_prefix(&self.root).ok()?.to_path_buf())
    }
}

/// The inode of an open file or directory.
fn inode(fd: c_int) -> Option<u64> {
    if fd < 0 {
        return None;
    }
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    let meta = file.metadata().ok()?;
    (meta.is_file() || meta.is_dir()).then(|| meta.ino())
}

/// The recorder, if this is open below the root.
fn of(fd: c_int) -> Option<(Turn, u64)> {
    let inode = inode(fd)?;
    let recorder = recorder()?;
    recorder.known.contains(&inode).then_some((recorder, inode))
}

fn opened(dir: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    let mut recorder = recorder();
    let fd = unsafe { syscall(number::OPENAT, dir, path, flags, mode) } as c_int;
    if let Some(recorder) = &mut recorder
        && let Some(inode) = inode(fd)
        && let Some(path) = recorder.below(dir, path)
    {
        recorder.known.insert(inode);
        let number = u64::from(flags & O_TRUNC != 0);
        let path = path.as_os_str().as_bytes();
        recorder.note(OPEN, Note { inode, number, path, ..Note::default() });
    }
    fd
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    opened(AT_FDCWD, path, flags, mode)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat64(
    dir: c_int,
    path: *const c_char,
    flags: c_int,
    mode: c_uint,
) -> c_int {
    opened(dir, path, flags, mode)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: usize) -> isize {
    let Some((recorder, inode)) = of(fd) else {
        return unsafe { syscall(number::WRITE, fd, bytes, count) } as isize;
    };
    let done = unsafe { syscall(number::WRITE, fd, bytes, count) };
    if 0 < done {
        let end = unsafe { syscall(number::LSEEK, fd, 0, SEEK_CUR) };
        let data = unsafe { std::slice::from_raw_parts(bytes.cast(), done as usize) };
        let number = (end - done) as u64;
        recorder.note(WRITE, Note { inode, number, data, ..Note::default() });
    }
    done as isize
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(
    fd: c_int,
    bytes: *const c_void,
    count: usize,
    offset: i64,
) -> isize {
    let recorder = of(fd);
    let done = unsafe { syscall(number::PWRITE, fd, bytes, count, offset) };
    if let Some((recorder, inode)) = recorder
        && 0 < done
    {
        let data = unsafe { std::slice::from_raw_parts(bytes.cast(), done as usize) };
        recorder.note(WRITE, Note { inode, number: offset as u64, data, ..Note::default() });
    }
    done as isize
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate64(fd: c_int, length: i64) -> c_int {
    let recorder = of(fd);
    let done = unsafe { syscall(number::FTRUNCATE, fd, length) };
    if let Some((recorder, inode)) = recorder
        && done == 0
    {
        recorder.note(TRUNCATE, Note { inode, number: length as u64, ..Note::default() });
    }
    done as c_int
}

fn synced(call: c_long, fd: c_int) -> c_int {
    let recorder = of(fd);
    let done = unsafe { syscall(call, fd) };
    if let Some((recorder, inode)) = recorder
        && done == 0
    {
        recorder.note(SYNC, Note { inode, ..Note::default() });
    }
    done as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    synced(number::FSYNC, fd)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    synced(number::FDATASYNC, fd)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const c_char, mode: c_uint) -> c_int {
    let recorder = recorder();
    let done = unsafe { syscall(number::MKDIRAT, AT_FDCWD, path, mode) };
    if let Some(recorder) = recorder
        && done == 0
        && let Some(path) = recorder.below(AT_FDCWD, path)
    {
        recorder.note(MKDIR, Note { path: path.as_os_str().as_bytes(), ..Note::default() });
    }
    done as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let recorder = recorder();
    let done = unsafe { syscall(number::RENAMEAT2, AT_FDCWD, from, AT_FDCWD, to, 0) };
    if let Some(recorder) = recorder
        && done == 0
        && let Some(from) = recorder.below(AT_FDCWD, from)
    {
        let to = recorder.below(AT_FDCWD, to).expect("moved out of the root");
        let (path, other) = (from.as_os_str().as_bytes(), to.as_os_str().as_bytes());
        recorder.note(RENAME, Note { path, other, ..Note::default() });
    }
    done as c_int
}

fn removed(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    let recorder = recorder();
    let done = unsafe { syscall(number::UNLINKAT, dir, path, flags) };
    if let Some(recorder) = recorder
        && done == 0
        && let Some(path) = recorder.below(dir, path)
    {
        recorder.note(UNLINK, Note { path: path.as_os_str().as_bytes(), ..Note::default() });
    }
    done as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    removed(AT_FDCWD, path, 0)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    removed(AT_FDCWD, path, AT_REMOVEDIR)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    removed(dir, path, flags)
}
