//! Cold start of the function `invitations`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    shared::lambda::serve(shared::app::RequiredSecrets::INVITATION, invitations::router).await
}
