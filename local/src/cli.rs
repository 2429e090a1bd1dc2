//! The command line of the local stack.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use shared::models::usage::Tier;
use url::Url;

use crate::{engine::Storage, stack::StackConfig};

/// Runs the whole API on this machine, with its own database and mailbox.
///
/// Serves every function on 127.0.0.1, port 3000, together with an embedded DynamoDB engine and a mailbox that keeps
/// the mails instead of sending them. Nothing else has to be installed. Only this machine can connect, and no mail
/// leaves it.
#[derive(Debug, Parser)]
#[command(name = "local", bin_name = "cargo run --", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Cli {
    /// The options of the local stack, which runs when no command is given.
    #[command(flatten)]
    pub serve: Serve,
    /// A command to run instead of the local stack.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The options of the local stack.
#[derive(Clone, Debug, clap::Args)]
pub struct Serve {
    /// The port on 127.0.0.1; 0 chooses a free port
    #[arg(long, env = "PORT", default_value_t = 3000, value_name = "PORT")]
    pub port: u16,
    /// Keep the data in this file; without this option the data is in memory and is lost when the process ends
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Origins of web pages that may call the API (CORS), separated by commas
    #[arg(long, env = "ALLOWED_ORIGINS", value_delimiter = ',', value_name = "URL")]
    pub allowed_origins: Vec<Url>,
    /// The front end's page that invitation links open, instead of this stack's /invite
    #[arg(long, env = "INVITE_URL", value_name = "URL")]
    pub invite_url: Option<Url>,
    /// What to log to standard error; `info` logs one line per request
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

/// The commands that the program runs instead of the local stack.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Print the OpenAPI document
    Openapi,
    /// Print the table of error codes for docs/api.md
    Errors,
    /// Change the tier of a workspace in the running stack
    Tier {
        /// The new tier: developer, pro or enterprise
        #[arg(value_parser = tier)]
        tier: Tier,
        /// The slug or the id of the workspace
        #[arg(long, default_value = "demo", value_name = "SLUG|ID")]
        workspace: String,
        /// The port of the running stack
        #[arg(long, env = "PORT", default_value_t = 3000, value_name = "PORT")]
        port: u16,
    },
    /// Send a day of usage records to the demo workspace, aggregate them, and show the resulting usage
    UsageDemo {
        /// The number of records to send
        #[arg(long, default_value_t = 2_400, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        records: u32,
        /// The port of the running stack; if no stack runs there, a temporary one is started
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
  cargo run                            serve on http://127.0.0.1:3000 and keep the data in memory
  cargo run -- --port 3001             serve on another port
  cargo run -- --data local.db         keep the data between runs
  cargo run -- openapi > openapi.json  write the OpenAPI document to a file
  cargo run -- usage-demo              show the usage of a simulated day
  cargo run -- tier pro                move the demo workspace to another tier";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_stack_is_served_unless_a_command_is_given() {
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
