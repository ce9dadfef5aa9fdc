//! The alarm that rings when a lease runs out, however the machine spent the time.
//!
//! It is a thread of its own that touches no file: the renewing thread may be stuck in a write to a
//! dead disk just when this matters. It sleeps on a timer of `CLOCK_BOOTTIME`, so it also rings at
//! once after a suspend.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::trust::Trust;

/// A timer that one thread sets and another waits for.
#[derive(Debug)]
pub(super) struct Alarm(File);

impl Alarm {
    /// A timer that is not set.
    pub(super) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
        Ok(Self(File::from(timer)))
    }

    /// Rings in `ms` milliseconds instead of whenever it was to ring; 0 is as soon as possible.
    pub(super) fn set(&self, ms: u64) -> io::Result<()> {
        let nothing = Timespec { tv_sec: 0, tv_nsec: 0 };
        // A value of zero would switch the timer off.
        let ms = ms.clamp(1, u64::from(u32::MAX));
        let wait = Timespec {
            tv_sec: i64::try_from(ms / 1_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(ms % 1_000).unwrap_or(0) * 1_000_000,
        };
        let value = Itimerspec { it_interval: nothing, it_value: wait };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &value)?;
        Ok(())
    }

    fn wait(&self) -> io::Result<()> {
        (&self.0).read_exact(&mut [0; 8])
    }
}

/// Waits until the lease is over and returns: true when it ran out and this call noticed first.
///
/// A timer that fails counts as a lease that ran out, because nothing would notice that later.
pub(super) fn wait_for_end(alarm: &Arc<Alarm>, trust: &Trust) -> bool {
    loop {
        let woken = alarm.wait();
        if trust.is_over() {
            return false;
        }
        let left = trust.left_ms();
        if left == 0 || woken.is_err() || alarm.set(left).is_err() {
            return trust.lose();
        }
    }
}
