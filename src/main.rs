//! The program: reads the arguments, does what they say, and ends with a code that means something.

use std::process::ExitCode;

use clap::Parser;

/// The writer's rows are freed by the applier and the other way round, which the system allocator
/// does slowly and with memory that stays resident.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // One provider for every TLS client of the process. An error means that one is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    duebox::cli::run(duebox::cli::Cli::parse()).into()
}
