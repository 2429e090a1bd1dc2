//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use shared::models::usage::Tier;
use url::Url;

use crate::{engine::Storage, stack::StackConfig};

/// The whole API on this machine, with a database and a mailbox inside.
///
/// Serves every function on 127.0.0.1, port 3000, together with an embedded DynamoDB engine and a mailbox that keeps
/// what SES would have sent. Nothing else has to be installed, nothing listens beyond this machine, and no mail leaves it.
#[derive(Debug, Parser)]
#[command(name = "local", bin_name = "cargo run --", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to serve, when no command is given.
    #[command(flatten)]
    pub serve: Serve,
    /// Something else than serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// How to serve.
#[derive(Clone, Debug, clap::Args)]
pub struct Serve {
    /// The port on 127.0.0.1; 0 takes any free one
    #[arg(long, env = "PORT", default_value_t = 3000, value_name = "PORT")]
    pub port: u16,
    /// Keep the data in this file; without it everything is in memory and ends with the process
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Origins whose pages a browser lets call the API, separated by commas
    #[arg(long, env = "ALLOWED_ORIGINS", value_delimiter = ',', value_name = "URL")]
    pub allowed_origins: Vec<Url>,
    /// A front end's own page that invitation links point to, instead of /invite
    #[arg(long, env = "INVITE_URL", value_name = "URL")]
    pub invite_url: Option<Url>,
    /// What is logged to standard error, such as `info` for a line a request
    #[arg(long, env = "RUST_LOG", default_value = "warn,dynoxide=error", value_name = "FILTER")]
    pub log: String,
}

impl From<Serve> for StackConfig {
    fn from(serve: Serve) -> Self {
        Self {
            storage: serve.data.map_or(Storage::Memory, Storage::File),
            port: serve.port,
            seed: true,
            allowed_origins: serve.allowed_origins,
            invite_url: serve.invite_url,
        }
    }
}

/// What the program does besides serving.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Print the OpenAPI document and end
    Openapi,
    /// Prints the table of error codes for docs/api.md
    Errors,
    /// Change the tier of a workspace of the stack that runs
    Tier {
        /// The tier: developer, pro or enterprise
        #[arg(value_parser = tier)]
        tier: Tier,
        /// The workspace, by its slug or its id
        #[arg(long, default_value = "demo", value_name = "SLUG|ID")]
        workspace: String,
        /// The stack's port
        #[arg(long, env = "PORT", default_value_t = 3000, value_name = "PORT")]
        port: u16,
    },
    /// Send a day of usage records to the demo workspace, run the hour, and show what became of them
    UsageDemo {
        /// How many records
        #[arg(long, default_value_t = 2_400, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        records: u32,
        /// The port of the stack; when none runs there, one is started for this and ends with it
        #[arg(long, env = "PORT", default_value_t = 3000, value_name = "PORT")]
        port: u16,
    },
}

fn tier(name: &str) -> Result<Tier, String> {
    let tiers = [Tier::Developer, Tier::Pro, Tier::Enterprise];
    let known = tiers.into_iter().find(|tier| tier.as_str() == name);
    known.ok_or_else(|| "must be developer, pro or enterprise".to_owned())
}

const EXAMPLES: &str = "\
Examples:
  cargo run                            serve on http://127.0.0.1:3000, everything in memory
  cargo run -- --port 3001             another port
  cargo run -- --data local.db         keep the data between runs
  cargo run -- openapi > openapi.json  write the API's description
  cargo run -- usage-demo              a day of usage, to look at
  cargo run -- tier pro                the demo workspace on another tier";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn it_serves_unless_told_otherwise() {
        let cli = Cli::parse_from(["local", "--port", "3001", "--data", "local.db"]);
        assert_eq!(cli.serve.port, 3001);
        assert_eq!(cli.command, None);
        let config = StackConfig::from(cli.serve);
        assert_eq!(config.storage, Storage::File("local.db".into()));
        assert!(config.seed);
        assert_eq!(Cli::parse_from(["local", "openapi"]).command, Some(Command::Openapi));
        assert!(Cli::try_parse_from(["local", "--port", "70000"]).is_err());
        assert!(Cli::try_parse_from(["local", "tier", "gold"]).is_err());
    }
}
