//! Naming a process so that a later one with the same number is not taken for it, and looking at
//! it from another process (proc(5): `/proc/PID/stat`, fields 3 and 22).

use std::fs;

use serde::{Deserialize, Serialize};

use crate::boot::boot_id;

/// One process on one machine since one start of that machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the machine.
    pub host: String,
    /// The machine's boot id, 32 hexadecimal digits; absent where it cannot be read.
    #[serde(default)]
    pub boot_id: Option<String>,
    /// The namespace in which `pid` counts, as the kernel prints it.
    #[serde(default)]
    pub pid_namespace: Option<String>,
    /// Process number.
    pub pid: u32,
    /// Start of the process in clock ticks since the machine was started.
    pub started_ticks: u64,
}

/// What a process is doing, as far as another one can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// It exists and is not stopped. It may still hang.
    Running,
    /// It was stopped by a signal or a debugger and will go on only when continued.
    Stopped,
    /// It has ended, though another process may have its number now.
    Gone,
}

impl Identity {
    /// This process.
    #[must_use]
    pub fn own(host: String) -> Self {
        let started_ticks = read_stat("self").map_or(0, |stat| stat.started_ticks);
        Self {
            host,
            boot_id: boot_id(),
            pid_namespace: pid_namespace(),
            pid: std::process::id(),
            started_ticks,
        }
    }

    /// What the process is doing; `None` when it cannot be seen from here: another machine, another
    /// namespace, or a `/proc` that hides it.
    #[must_use]
    pub fn look(&self, own_host: &str) -> Option<ProcessState> {
        let here = Self { host: own_host.to_owned(), ..Self::own(String::new()) };
        if self.host != here.host || self.pid_namespace != here.pid_namespace {
            return None;
        }
        if let (Some(theirs), Some(ours)) = (&self.boot_id, &here.boot_id)
            && theirs != ours
        {
            return Some(ProcessState::Gone);
        }
        match read_stat(&self.pid.to_string()) {
            Some(stat) if stat.started_ticks != self.started_ticks => Some(ProcessState::Gone),
            Some(stat) => Some(stat.state),
            None => is_absent(self.pid).then_some(ProcessState::Gone),
        }
    }
}

/// Whether no process has this number. One that `/proc` hides answers a probe with "not permitted".
fn is_absent(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
        return true;
    };
    rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
}

struct Stat {
    state: ProcessState,
    started_ticks: u64,
}

fn read_stat(pid: &str) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields count from the end of the program's name, which may itself hold spaces and brackets.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = match fields.next()? {
        "T" | "t" => ProcessState::Stopped,
        "Z" | "X" | "x" => ProcessState::Gone,
        _ => ProcessState::Running,
    };
    // The state is field 3 of the line, the start time field 22.
    let started_ticks = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, started_ticks })
}

fn pid_namespace() -> Option<String> {
    Some(fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn stat_of_a_program_with_an_awkward_name_is_read() {
        let line = "17 (a) T (b) R) T 1 17 17 0 -1 4194304 101 0 0 0 0 0 0 0 20 0 1 0 421176 3 4";
        let stat = parse_stat(line).unwrap();
        assert_eq!(stat.state, ProcessState::Stopped);
        assert_eq!(stat.started_ticks, 421_176);
        assert!(parse_stat("17 (a) T 1 2").is_none());
    }

    #[test]
    fn own_process_is_running_and_another_start_or_boot_is_gone() {
        let own = Identity::own("vm".into());
        assert_eq!(own.look("vm"), Some(ProcessState::Running));
        let earlier = Identity { started_ticks: own.started_ticks + 1, ..own.clone() };
        assert_eq!(earlier.look("vm"), Some(ProcessState::Gone));
        let before_boot = Identity { boot_id: Some("0".repeat(32)), ..own.clone() };
        assert_eq!(before_boot.look("vm"), Some(ProcessState::Gone));
        let absent = Identity { pid: 4_194_305, ..own };
        assert_eq!(absent.look("vm"), Some(ProcessState::Gone));
    }

    #[test]
    fn process_of_another_machine_or_namespace_cannot_be_seen() {
        let own = Identity::own("vm".into());
        assert_eq!(own.look("other"), None);
        let contained = Identity { pid_namespace: Some("pid:[1]".into()), ..own };
        assert_eq!(contained.look("vm"), None);
    }
}
