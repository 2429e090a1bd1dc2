//! The local stack's program.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use local::{
    cli::{Cli, Command},
    demo::{MEMBER, OWNER, PASSWORD},
    operator,
    stack::{self, Stack, StackConfig},
    usage_demo,
};
use shared::models::usage::Tier;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.command {
        Some(Command::Openapi) => describe(),
        Some(Command::Errors) => {
            println!("{}", shared::error::markdown());
            Ok(())
        }
        Some(Command::Tier { tier, workspace, port }) => set_tier(port, &workspace, tier).await,
        Some(Command::UsageDemo { records, port }) => demonstrate(port, records).await,
        None => serve(cli).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Ended = Result<(), Box<dyn std::error::Error>>;

/// Prints the API's description.
fn describe() -> Ended {
    let document = stack::openapi().to_pretty_json()?;
    match writeln!(io::stdout(), "{document}") {
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Changes a workspace's tier.
async fn set_tier(port: u16, workspace: &str, tier: Tier) -> Ended {
    let changed = operator::set_tier(url(port), workspace, tier).await?;
    let limit = changed
        .tier
        .limit()
        .map_or("unlimited".to_owned(), |units| format!("{units} units a month"));
    Ok(writeln!(
        io::stdout(),
        "{}: {}, {limit}",
        changed.slug,
        changed.tier.as_str()
    )?)
}

/// Shows a day of usage: in the stack that runs on `port`, else in one of its own.
async fn demonstrate(port: u16, records: u32) -> Ended {
    let own = if usage_demo::is_there(url(port)) {
        None
    } else {
        let config = StackConfig {
            seed: true,
            ..StackConfig::default()
        };
        Some(Stack::start(config).await?)
    };
    let at = own.as_ref().map_or_else(|| url(port), |stack| stack.url.clone());
    let shown = tokio::task::spawn_blocking(move || usage_demo::run(at, records)).await?;
    if let Some(stack) = own {
        stack.stop().await;
    }
    Ok(writeln!(io::stdout(), "{}", shown?.table())?)
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Serves until Ctrl-C or SIGTERM.
async fn serve(cli: Cli) -> Ended {
    init_logs(&cli.serve.log)?;
    let in_memory = cli.serve.data.is_none();
    let stack = Stack::start(cli.serve.into()).await?;
    // A closed standard output is no reason not to serve.
    write!(io::stdout(), "{}", banner(&stack, in_memory)).ok();
    told_to_stop().await?;
    stack.stop().await;
    Ok(())
}

fn banner(stack: &Stack, in_memory: bool) -> String {
    let Stack { url, dynamodb, .. } = stack;
    let kept = if in_memory {
        "in memory, ends with this process"
    } else {
        "kept"
    };
    format!(
        r#"
Workspaces is serving. Ctrl-C stops it.

  API        {url}/api/v1
  Reference  {url}/docs
  Mailbox    {url}/_local/mailbox
  DynamoDB   {dynamodb} ({kept})

The demo workspace has {OWNER} and {MEMBER}, password {PASSWORD}. To begin:

  TOKEN=$(curl -s {url}/api/v1/auth/login -H 'content-type: application/json' \
    -d '{{"email":"{OWNER}","password":"{PASSWORD}"}}' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl -s {url}/api/v1/workspaces/ -H "authorization: Bearer $TOKEN"

"#
    )
}

/// Logs for people, to standard error: only what went wrong, unless told otherwise.
fn init_logs(filter: &str) -> Ended {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("--log: {error}"))?;
    tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(io::stderr)
        .init();
    Ok(())
}

#[cfg(unix)]
async fn told_to_stop() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn told_to_stop() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
