//! The command line: what can be said, and which file does it.

use clap::{Parser, Subcommand};

mod archive;
mod check;
mod client;
mod demo;
mod exit;
mod log;
mod notice;
mod operate;
mod output;
mod sandbox;
mod serve;
mod status;
mod table;
mod task;
mod values;

pub use archive::{BackupArgs, InspectArgs, RebuildArgs, RestoreArgs};
pub use check::CheckArgs;
pub use client::Connect;
pub use demo::DemoArgs;
pub use exit::Exit;
pub use log::LogArgs;
pub use notice::NoticeArgs;
pub use operate::{
    DeadArgs, DeliveryArgs, ExplainArgs, QueueArgs, ReleaseArgs, ScheduleArgs, TenantArgs, WhyArgs,
};
pub use sandbox::SandboxArgs;
pub use serve::ServeArgs;
pub use status::StatusArgs;
pub use task::TaskArgs;

/// The configuration file when `--config` does not say.
pub const CONFIG: &str = "/etc/duebox/duebox.toml";

/// A durable outbox for WeChat template messages and a durable delay queue.
#[derive(Debug, Parser)]
#[command(name = "duebox", version, about, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// All commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Serve(ServeArgs),
    /// Check a configuration without opening anything
    Check(CheckArgs),
    /// Show the whole thing at work against a local WeChat, in a directory of its own
    Demo(DemoArgs),
    /// Run a local WeChat that knows no guests, to try things with
    Sandbox(SandboxArgs),
    /// Make a backup of a data directory
    Backup(BackupArgs),
    /// Make a data directory from a backup
    Restore(RestoreArgs),
    /// Make the store of a stopped data directory anew, which gives back space
    Rebuild(RebuildArgs),
    /// Look into a data directory
    Inspect(InspectArgs),
    /// Submit, look at and steer notices
    Notice(NoticeArgs),
    /// Add, claim, settle and look at tasks
    Task(TaskArgs),
    /// Search the send log
    Log(LogArgs),
    /// Show how a running daemon is doing; exit code 6 when it is not ready, 7 when something
    /// needs a person
    Status(StatusArgs),
    /// List what needs a person, with the calls that help
    Attention(StatusArgs),
    /// List dead letters and bring them back
    Dead(DeadArgs),
    /// Look at deliveries, find and settle those in doubt
    Delivery(DeliveryArgs),
    /// Look at queues, pause and resume them
    Queue(QueueArgs),
    /// Look at tenants, end a rest, send a test message
    Tenant(TenantArgs),
    /// Look at schedules and their runs, run one now
    Schedule(ScheduleArgs),
    /// Let a held copy work
    Release(ReleaseArgs),
    /// Say why somebody got a message of a notice, or did not
    Why(WhyArgs),
    /// Say what a code of the provider means
    Explain(ExplainArgs),
}

/// Does what the arguments say.
#[must_use]
pub fn run(cli: Cli) -> Exit {
    // Tokens, openids and payloads are nobody else's business, whatever file this program makes.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Sandbox(args) => sandbox::run(&args),
        Command::Backup(args) => archive::backup(&args),
        Command::Restore(args) => archive::restore(&args),
        Command::Rebuild(args) => archive::rebuild(&args),
        Command::Inspect(args) => archive::inspect(&args),
        Command::Notice(args) => output::finish(notice::run(&args)),
        Command::Task(args) => output::finish(task::run(&args)),
        Command::Log(args) => output::finish(log::run(&args)),
        Command::Status(args) => output::finish(status::run(&args)),
        Command::Attention(args) => output::finish(status::attention(&args)),
        Command::Dead(args) => output::finish(operate::dead(&args)),
        Command::Delivery(args) => output::finish(operate::delivery(&args)),
        Command::Queue(args) => output::finish(operate::queue(&args)),
        Command::Tenant(args) => output::finish(operate::tenant(&args)),
        Command::Schedule(args) => output::finish(operate::schedule(&args)),
        Command::Release(args) => output::finish(operate::release(&args)),
        Command::Why(args) => output::finish(operate::why(&args)),
        Command::Explain(args) => output::finish(operate::explain(&args)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn connection_options_work_after_the_verb() {
        for line in [
            "duebox notice list --json --server http://127.0.0.1:1",
            "duebox task claim 1001 --wait 20s --token-file t",
            "duebox log --tenant acme --csv",
            "duebox status --json",
            "duebox serve --config x.toml --adopt",
        ] {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "duebox notice submit",
            "duebox notice submit body.json --tenant acme",
            "duebox notice submit --tenant acme --template t --to a --followers",
            "duebox log --csv --ndjson",
            "duebox task nack 1 2 --delay 5",
            "duebox task add 1001 {} --due 2026-11-23T09:00:00Z --delay 5m",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
