//! The program: reads the arguments, does what they say, and ends with a code that means something.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // One provider for every TLS client of the process. An error means that one is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    duebox::cli::run(duebox::cli::Cli::parse()).into()
}
