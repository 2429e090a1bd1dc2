//! Cold start of the function `usage`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    shared::lambda::serve(shared::app::RequiredSecrets::NONE, usage::router).await
}
