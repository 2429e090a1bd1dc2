//! Cold start of the function `invitations`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> shared::lambda::Ended {
    shared::lambda::serve(shared::app::Needs::INVITATION, invitations::router).await
}
