//! Cold start of the function `members`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> shared::lambda::Ended {
    shared::lambda::serve(shared::app::RequiredSecrets::NONE, members::router).await
}
