//! Cold start of the function `mail-events`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    shared::lambda::serve_events(shared::app::RequiredSecrets::NONE, mail_events::handle).await
}
