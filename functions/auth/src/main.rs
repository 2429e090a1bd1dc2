//! Cold start of the function `auth`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    shared::lambda::serve(shared::app::RequiredSecrets::SIGNING, auth::router).await
}
