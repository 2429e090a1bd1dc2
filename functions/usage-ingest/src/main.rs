//! Cold start of the function `usage-ingest`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    shared::lambda::serve_events(shared::app::RequiredSecrets::NONE, usage_ingest::handle).await
}
