//! Cold start of the function `workspaces`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    shared::lambda::serve(shared::app::RequiredSecrets::NONE, workspaces::router).await
}
