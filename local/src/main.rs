//! The local stack's program.

use clap::Parser;
use local::cli::Cli;

fn main() {
    let _ = Cli::parse();
}
