//! Cold start of the function `usage-aggregator`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    shared::lambda::serve_events(shared::app::RequiredSecrets::NONE, usage_aggregator::handle).await
}
