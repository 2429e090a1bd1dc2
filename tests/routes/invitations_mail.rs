//! The mail of a new invitation: its text, its link, and its delivery status in the response.

use axum::body::Body;
use local::mailbox::Fault;
use serde_json::json;

use crate::routes::invitations_create::listed;
use crate::support::harness::{PASSWORD, World};

#[tokio::test]
async fn the_mail_contains_the_link_of_the_response() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    owner
        .patch("/workspaces/", json!({"name": "Acme & Söhne <b>"}))
        .await
        .expect(200);
    let issued = owner.invite("bob@example.com", "field_worker").await.expect(201);
    let mail = world.mailbox.latest_to("bob@example.com").unwrap();
    let link = issued.body["invite_link"].as_str().unwrap();
    assert!(mail.text.contains(link), "{}", mail.text);
    let from_html = mail.html.replace("&#38;", "&").replace("&amp;", "&");
    assert!(from_html.contains(link), "{}", mail.html);
    assert!(
        mail.text.contains("ann@example.com") && mail.text.contains("Acme & Söhne <b>"),
        "{}",
        mail.text
    );
    assert!(!mail.html.contains("Söhne <b>"), "{}", mail.html);
    assert!(mail.subject.contains("Acme"), "{}", mail.subject);
    assert_eq!(mail.from, "invitations@workspaces.example");
    assert_eq!(world.mailbox.mails().len(), 1);
}

#[tokio::test]
async fn the_origin_of_the_link_is_the_setting_or_the_gateways_and_never_a_header() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let request = owner
        .request("POST", "/workspaces/invitations")
        .header("host", "evil.example");
    let request = request
        .header("x-forwarded-host", "evil.example")
        .header("forwarded", "host=evil.example");
    let body = Body::from(json!({"email": "bob@example.com"}).to_string());
    let issued = world.send(request.body(body).unwrap(), owner.address).await.expect(201);
    assert!(
        issued.body["invite_link"]
            .as_str()
            .unwrap()
            .starts_with("https://api.example.com/invite#")
    );

    let world = World::with(|config| config.public_url = "https://work.example".parse().ok()).await;
    let issued = world
        .owner("ann")
        .await
        .invite("bob@example.com", "member")
        .await
        .expect(201);
    assert!(
        issued.body["invite_link"]
            .as_str()
            .unwrap()
            .starts_with("https://work.example/invite#invite_id=")
    );

    let world = World::with(|config| config.invite_url = "https://app.example/join".parse().ok()).await;
    let issued = world
        .owner("ann")
        .await
        .invite("bob@example.com", "member")
        .await
        .expect(201);
    assert!(
        issued.body["invite_link"]
            .as_str()
            .unwrap()
            .starts_with("https://app.example/join#invite_id=")
    );
}

#[tokio::test]
async fn a_mail_that_the_service_refuses_is_failed_and_its_invitation_stays_valid() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    world.mailbox.set_fault(Fault::message_rejected());
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    assert_eq!(issued.body["delivery"]["status"], "failed");
    let reason = issued.body["delivery"]["reason"].as_str().unwrap();
    assert!(
        !reason.is_empty() && !reason.contains("MessageRejected") && !reason.contains("verified"),
        "{reason}"
    );
    assert_eq!(owner.invitations().await.body["invitations"], json!([listed(&issued)]));
    let resent = owner.resend(&issued.id()).await.expect(200);
    assert_eq!(resent.body["delivery"]["status"], "failed");
    assert_eq!(world.mailbox.mails().len(), 0);
    world
        .stranger("bob")
        .accept(&resent, json!({"password": PASSWORD}))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_mail_is_queued_while_the_mail_service_fails() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    for (fault, email) in [
        (Fault::internal_failure(), "bob@example.com"),
        (Fault::too_many_requests(), "cid@example.com"),
    ] {
        world.mailbox.set_fault(fault);
        let issued = owner.invite(email, "member").await.expect(201);
        assert_eq!(issued.body["delivery"]["status"], "queued");
        assert_eq!(owner.invitations().await.body["invitations"][0], listed(&issued));
        assert_eq!(
            world.rows(&[&issued.id(), r#""gsi1pk": S("DUE")"#]).await.len(),
            1,
            "the mail is due"
        );
        world.mailbox.set_fault(None);
        assert!(world.mailbox.latest_to(email).is_none());
        let name = email.split('@').next().unwrap();
        world
            .stranger(name)
            .accept(&issued, json!({"password": PASSWORD}))
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn the_delivery_status_is_sent_exactly_if_the_mail_was_sent() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    world.mailbox.fault_next(1, Fault::internal_failure());
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let arrived = world.mailbox.latest_to("bob@example.com").is_some();
    assert_eq!(
        issued.body["delivery"]["status"],
        if arrived { "sent" } else { "queued" }
    );
    let due = world.rows(&[&issued.id(), r#""gsi1pk": S("DUE")"#]).await.len();
    assert_eq!(due, usize::from(!arrived));
}
