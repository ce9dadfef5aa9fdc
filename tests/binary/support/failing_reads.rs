//! Preloaded into a daemon by its tests: some reads of the store's file fail, as on a bad disk.
//! `FAILING_READS` is `first-last`, counted from the moment that the store lies in its place.

use std::ffi::{c_int, c_long, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn __errno_location() -> *mut c_int;
}

#[cfg(target_arch = "x86_64")]
const SYS_PREAD: c_long = 17;
#[cfg(target_arch = "aarch64")]
const SYS_PREAD: c_long = 67;

const EIO: c_int = 5;

static READS: AtomicU64 = AtomicU64::new(0);

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pread64(file: c_int, to: *mut c_void, length: usize, at: i64) -> isize {
    if fails(file) {
        unsafe { *__errno_location() = EIO };
        return -1;
    }
    unsafe { syscall(SYS_PREAD, c_long::from(file), to, length, at) as isize }
}

fn fails(file: c_int) -> bool {
    let Some(range) = std::env::var_os("FAILING_READS") else { return false };
    let path = std::fs::read_link(format!("/proc/self/fd/{file}")).unwrap_or_default();
    if !path.ends_with("data/store/db") {
        return false;
    }
    let range = range.to_string_lossy().into_owned();
    let (first, last) = range.split_once('-').expect("first-last");
    let (first, last): (u64, u64) = (first.parse().expect("first"), last.parse().expect("last"));
    let read = READS.fetch_add(1, Ordering::Relaxed) + 1;
    (first..=last).contains(&read)
}
