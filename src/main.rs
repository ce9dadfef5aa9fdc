//! The program: reads the arguments, does what they say, and ends with a code that means something.

use std::process::ExitCode;

use clap::Parser;

/// The writer's rows are freed by the applier and the other way round, which the system allocator
/// does slowly and with memory that stays resident.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Few arenas, and what is free goes back to the system within a second: a third less resident
/// memory with a million deliveries under way. The allocator takes its options from this symbol.
#[allow(unsafe_code)]
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_OPTIONS: &[u8; 47] = b"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    // One provider for every TLS client of the process. An error means that one is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    duebox::cli::run(duebox::cli::Cli::parse()).into()
}
