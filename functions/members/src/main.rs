//! Cold start of the function `members`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    shared::lambda::serve(shared::app::RequiredSecrets::NONE, members::router).await
}
