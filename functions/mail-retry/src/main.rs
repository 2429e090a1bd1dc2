//! Cold start of the function `mail-retry`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    shared::lambda::serve_events(shared::app::RequiredSecrets::INVITATION, mail_retry::handle).await
}
