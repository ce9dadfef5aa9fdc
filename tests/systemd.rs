//! The files in `systemd/` against the code they are for: numbers that stand in both must agree.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use duebox::config::Config;
use duebox::lease::EXIT_LOST;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

/// The values of a key of a unit file, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.collect()
}

fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    let found = values(unit, key);
    assert_eq!(found.len(), 1, "{key}= stands once: {found:?}");
    found[0]
}

fn duration(unit: &str, key: &str) -> Duration {
    let text = value(unit, key).replace("min", "m");
    Duration::from_millis(duebox::time::parse_duration_ms(&text).unwrap())
}

/// The example with every switched-off line switched on, and the files that it then names.
fn everything_on() -> Config {
    let dir = tempfile::tempdir().unwrap();
    for name in ["admin.token", "acme.secret", "words.txt"] {
        std::fs::write(dir.path().join(name), "x").unwrap();
    }
    let switched_on: String = text("duebox.toml")
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let path = dir.path().join("duebox.toml");
    std::fs::write(&path, switched_on).unwrap();
    Config::load_with(&path, None).unwrap()
}

#[test]
fn example_configuration_works_as_it_stands() {
    let config = Config::load_with(&file("duebox.toml"), None).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert!(config.tenants.is_empty());
}

#[test]
fn example_configuration_works_with_everything_switched_on() {
    let config = everything_on();
    assert!(config.tenants.contains_key("acme"));
    assert!(config.webhooks.contains_key("1001"));
    assert_eq!(config.pulls.len(), 1);
}

#[test]
fn unit_lets_the_ports_of_the_example_be_bound() {
    let unit = text("duebox.service");
    let config = everything_on();
    let port = format!("tcp:{}", config.admin.listen.port());
    assert_eq!(values(&unit, "SocketBindAllow"), [port]);
}

#[test]
fn stop_timeout_exceeds_drain_and_settling() {
    let unit = text("duebox.service");
    let config = Config::load_with(&file("duebox.toml"), None).unwrap();
    let needed = Duration::from_millis(config.drain_ms) + Duration::from_secs(30);
    assert!(duration(&unit, "TimeoutStopSec") >= needed);
}

#[test]
fn codes_that_need_a_person_are_not_restarted_and_a_lost_lease_is() {
    let unit = text("duebox.service");
    assert_eq!(value(&unit, "RestartPreventExitStatus"), "2 4");
    assert_eq!(value(&unit, "Restart"), "on-failure");
    assert_eq!(EXIT_LOST, 75);
}

#[test]
fn faults_that_pass_never_become_permanent() {
    assert_eq!(value(&text("duebox.service"), "StartLimitIntervalSec"), "0");
}

#[test]
fn units_and_example_mean_the_same_directories_and_user() {
    let unit = text("duebox.service");
    let backup = text("duebox-backup.service");
    let config = Config::load_with(&file("duebox.toml"), None).unwrap();
    let state = Path::new("/var/lib").join(value(&unit, "StateDirectory"));
    assert_eq!(config.data_dir, state);
    assert!(value(&backup, "ExecStart").contains("duebox backup %S/duebox "));
    let user = value(&unit, "User");
    assert_eq!(value(&backup, "User"), user);
    assert!(text("duebox.sysusers.conf").contains(&format!("u {user} ")));
    // Its own place, and the data directory for the note that a backup was made.
    let (kept, noted) = value(&backup, "ReadWritePaths").split_once(' ').unwrap();
    assert_eq!(noted, "%S/duebox");
    assert!(text("duebox.tmpfiles.conf").contains(&format!("d {kept} 0700 {user} {user}")));
    assert!(value(&unit, "ExecStart").ends_with("serve --config %E/duebox/duebox.toml"));
}
