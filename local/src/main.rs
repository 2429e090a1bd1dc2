//! The program of the local stack.

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
    let result = match cli.command {
        Some(Command::Openapi) => print_openapi(),
        Some(Command::Errors) => {
            println!("{}", shared::error::markdown());
            Ok(())
        }
        Some(Command::Tier { tier, workspace, port }) => set_tier(port, &workspace, tier).await,
        Some(Command::UsageDemo { records, port }) => run_usage_demo(port, records).await,
        None => serve(cli).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type CommandResult = Result<(), Box<dyn std::error::Error>>;

/// Prints the OpenAPI document.
fn print_openapi() -> CommandResult {
    let document = stack::openapi().to_pretty_json()?;
    match writeln!(io::stdout(), "{document}") {
        // The reader closed the pipe, for example `head`. That is not a failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Changes a workspace's tier and prints the new limit.
async fn set_tier(port: u16, workspace: &str, tier: Tier) -> CommandResult {
    let workspace = operator::set_tier(url(port), workspace, tier).await?;
    let limit = workspace
        .tier
        .limit()
        .map_or("no limit".to_owned(), |units| format!("{units} units per month"));
    Ok(writeln!(
        io::stdout(),
        "The workspace {} is now on the tier {} ({limit}).",
        workspace.slug,
        workspace.tier.as_str()
    )?)
}

/// Shows a day of usage in the stack that runs on `port`, or in a temporary stack if none runs there.
async fn run_usage_demo(port: u16, records: u32) -> CommandResult {
    let temporary = if usage_demo::is_running(url(port)) {
        None
    } else {
        let config = StackConfig {
            seed: true,
            ..StackConfig::default()
        };
        Some(Stack::start(config).await?)
    };
    let url = temporary.as_ref().map_or_else(|| url(port), |stack| stack.url.clone());
    let result = tokio::task::spawn_blocking(move || usage_demo::run(url, records)).await?;
    if let Some(stack) = temporary {
        stack.stop().await;
    }
    Ok(writeln!(io::stdout(), "{}", result?.table())?)
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Runs the stack until Ctrl-C or SIGTERM.
async fn serve(cli: Cli) -> CommandResult {
    init_logs(&cli.serve.log)?;
    let in_memory = cli.serve.data.is_none();
    let stack = Stack::start(cli.serve.into()).await?;
    // The stack is useful even if standard output is closed, so a failed write is ignored.
    write!(io::stdout(), "{}", banner(&stack, in_memory)).ok();
    stop_signal().await?;
    stack.stop().await;
    Ok(())
}

fn banner(stack: &Stack, in_memory: bool) -> String {
    let Stack { url, dynamodb, .. } = stack;
    let storage = if in_memory {
        "in memory, lost when this process ends"
    } else {
        "kept in the data file"
    };
    format!(
        r#"
The local stack is running. Press Ctrl-C to stop it.

  API        {url}/api/v1
  Reference  {url}/docs
  Mailbox    {url}/_local/mailbox
  DynamoDB   {dynamodb} ({storage})

The demo workspace has the members {OWNER} and {MEMBER}, both with the password {PASSWORD}.
Example requests:

  TOKEN=$(curl -s {url}/api/v1/auth/login -H 'content-type: application/json' \
    -d '{{"email":"{OWNER}","password":"{PASSWORD}"}}' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl -s {url}/api/v1/workspaces/ -H "authorization: Bearer $TOKEN"

"#
    )
}

/// Writes log lines that pass `filter` to standard error, in a format for people.
fn init_logs(filter: &str) -> CommandResult {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| format!("--log is not a valid filter ({error}); use for example `info` or `debug`"))?;
    tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(io::stderr)
        .init();
    Ok(())
}

/// Resolves on Ctrl-C or SIGTERM.
#[cfg(unix)]
async fn stop_signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

/// Resolves on Ctrl-C.
#[cfg(not(unix))]
async fn stop_signal() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
