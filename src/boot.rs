//! Which start of the machine this is, and how long ago that was.

use std::sync::LazyLock;

/// The kernel's boot id: 32 hexadecimal digits, another one after each start of the machine; `None`
/// where it cannot be read.
///
/// A unit with `ProcSubset=pid` cannot read it and passes it in the environment (the specifier
/// `%b`).
#[must_use]
pub fn boot_id() -> Option<String> {
    static ID: LazyLock<Option<String>> = LazyLock::new(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        parse(&text.or_else(|| std::env::var("DUEBOX_BOOT_ID").ok())?)
    });
    ID.clone()
}

/// A boot id in one writing, whoever wrote it.
pub(crate) fn parse(text: &str) -> Option<String> {
    let id: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    (id.len() == 32).then_some(id)
}

/// Milliseconds since the machine was started, time asleep included (`CLOCK_BOOTTIME`).
///
/// `std::time::Instant` is `CLOCK_MONOTONIC` on Linux and stands still during suspend.
#[must_use]
pub fn boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_and_line_ends_do_not_count_and_anything_else_is_no_boot_id() {
        let plain = "0123456789abcdef0123456789abcdef";
        assert_eq!(parse("01234567-89ab-cdef-0123-456789abcdef\n").as_deref(), Some(plain));
        assert_eq!(parse(plain).as_deref(), Some(plain));
        assert_eq!(parse(""), None);
    }
}
