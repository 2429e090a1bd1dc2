//! The local stack's program.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use local::{
    cli::{Cli, Command},
    demo::{MEMBER, OWNER, PASSWORD},
    stack::{self, Stack},
};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.command {
        Some(Command::Openapi) => describe(),
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
