//! Cold start of the function `sessions`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> shared::lambda::Ended {
    shared::lambda::serve(shared::app::RequiredSecrets::NONE, sessions::router).await
}
