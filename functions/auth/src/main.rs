//! Cold start of the function `auth`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> shared::lambda::Ended {
    shared::lambda::serve(shared::app::RequiredSecrets::SIGNING, auth::router).await
}
