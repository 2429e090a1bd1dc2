//! Secrets do not appear in logs, responses, the table, or mails to other people.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use local::mailbox::Fault;
use serde_json::{Value, json};
use shared::config::SecretSource;

use crate::support::harness::{ApiResponse, PASSWORD, Person, World, proof};
use crate::support::invariants;
use crate::support::logs::Logs;

/// Secrets, each with the name of its kind.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn keep(&mut self, name: &str, secret: &str) {
        assert!(secret.len() >= 8, "{name} is too short for a secret: {secret:?}");
        self.0.push((name.to_owned(), secret.to_owned()));
    }

    fn keep_tokens(&mut self, response: &ApiResponse) {
        for name in ["access_token", "refresh_token"] {
            self.keep(name, response.body[name].as_str().unwrap());
        }
    }

    fn keep_link(&mut self, issued: &ApiResponse) {
        self.keep("invitation token", proof(issued, json!({}))["token"].as_str().unwrap());
    }

    /// Asserts that `text` contains no secret, as text, Base64 or hexadecimal. `source` names the text.
    #[track_caller]
    fn assert_absent(&self, source: &str, text: &str) {
        for (name, secret) in &self.0 {
            let forms = [
                secret.clone(),
                STANDARD.encode(secret),
                URL_SAFE_NO_PAD.encode(secret),
                hex(secret.as_bytes()),
            ];
            for form in forms {
                assert!(!text.contains(&form), "{source} shows a {name}");
            }
            // The signature of a token is secret by itself.
            if let Some((_, signature)) = secret.rsplit_once('.') {
                assert!(!text.contains(signature), "{source} shows the signature of a {name}");
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Requests that use every kind of secret, many of which fail. Collects the secrets, and returns every response that
/// must contain none.
async fn use_every_secret(world: &World, secrets: &mut Secrets) -> Vec<ApiResponse> {
    let mut responses = Vec::new();
    for source in [&world.app.config.signing_secret, &world.app.config.invitation_secret] {
        let Some(SecretSource::Value(seed)) = source else {
            panic!("the secret has no value")
        };
        secrets.keep("seed", seed.expose());
    }
    let (password, another) = ("a very secret passphrase", "the wrong passphrase");
    secrets.keep("password", password);
    secrets.keep("password", another);
    secrets.keep("password", PASSWORD);
    let mut ann = world.stranger("ann");
    let register = json!({"email": ann.email, "password": password, "name": "Ann", "company": "Acme"});
    responses.push(ann.post("/auth/register", register.clone()).await.expect(201));
    responses.push(ann.post("/auth/register", register).await.expect(400));
    responses.push(
        ann.post("/auth/login", json!({"email": ann.email, "password": another}))
            .await
            .expect(401),
    );
    responses.push(
        ann.post(
            "/auth/login",
            json!({"email": "nobody@example.com", "password": another}),
        )
        .await
        .expect(401),
    );
    responses.push(
        ann.post("/auth/login", json!({"email": [ann.email], "password": [another]}))
            .await
            .expect(422),
    );
    responses.push(
        ann.raw("POST", "/auth/login", format!("{{\"password\":\"{another}\""))
            .await
            .expect(422),
    );
    responses.push(ann.raw("POST", "/auth/login", format!("{another}{{")).await.expect(422));
    responses.push(ann.post("/auth/login", json!({another: another})).await.expect(422));
    let session = ann
        .post("/auth/login", json!({"email": ann.email, "password": password}))
        .await
        .expect(200);
    secrets.keep_tokens(&session);
    ann.take_tokens(&session);
    let refreshed = ann.refresh().await.expect(200);
    secrets.keep_tokens(&refreshed);
    ann.take_tokens(&refreshed);
    responses.extend([
        ann.get("/auth/me").await,
        ann.workspace().await,
        ann.members().await,
        ann.get("/workspaces/usage").await,
    ]);

    invitations(world, &ann, password, secrets, &mut responses).await;

    let stale = Person {
        refresh: session.body["refresh_token"].as_str().unwrap().to_owned(),
        ..ann.clone()
    };
    world.pass(31);
    responses.push(stale.refresh().await.expect(401));
    responses.push(ann.get("/auth/me").await.expect(401));
    responses.push(ann.signed_out().refresh().await.expect(401));
    let garbled = Person {
        access: Some(format!("{}x", ann.access.clone().unwrap())),
        ..ann.clone()
    };
    responses.push(garbled.workspace().await.expect(401));
    responses.push(
        garbled
            .get(&format!("/workspaces/members?cursor={}", ann.refresh))
            .await
            .expect(401),
    );
    responses
}

async fn invitations(
    world: &World,
    ann: &Person<'_>,
    password: &str,
    secrets: &mut Secrets,
    responses: &mut Vec<ApiResponse>,
) {
    let issued = ann.invite("ben@example.com", "manager").await.expect(201);
    secrets.keep_link(&issued);
    let issued = ann.resend(&issued.id()).await.expect(200);
    secrets.keep_link(&issued);
    world.mailbox.fault_next(2, Fault::message_rejected());
    let undelivered = ann.invite("cleo@example.com", "member").await.expect(201);
    secrets.keep_link(&undelivered);
    world.mailbox.set_fault(Fault::internal_failure());
    let failed = ann.invite("dan@example.com", "member").await.expect(201);
    secrets.keep_link(&failed);
    world.mailbox.set_fault(None);
    responses.push(ann.invitations().await.expect(200));

    let ben = world.stranger("ben");
    let wrong = |token: &str| json!({"invite_id": issued.id(), "token": token, "password": password});
    let token = proof(&issued, json!({}))["token"].as_str().unwrap().to_owned();
    responses.push(ben.preview(&issued).await.expect(200));
    responses.push(
        ben.post("/auth/accept-invite", wrong(&format!("{token}x")))
            .await
            .expect(404),
    );
    responses.push(
        ben.post("/auth/invitation", json!({"invite_id": issued.id(), "token": [token]}))
            .await
            .expect(422),
    );
    responses.push(
        ben.post("/auth/accept-invite", json!({"invite_id": token, "token": token}))
            .await
            .expect(404),
    );
    responses.push(ben.accept(&issued, json!({})).await.expect(400));
    responses.push(ann.accept(&issued, json!({"password": password})).await.expect(409));
    let accepted = ben
        .accept(&issued, json!({"password": password, "name": "Ben"}))
        .await
        .expect(200);
    secrets.keep_tokens(&accepted);
    responses.push(
        ben.accept(&issued, json!({"password": "the wrong passphrase"}))
            .await
            .expect(400),
    );
    responses.push(ben.preview(&issued).await);
    responses.push(ben.decline(&issued).await.expect(400));
    responses.push(ann.members().await.expect(200));
    responses.push(ben.decline(&undelivered).await.expect(200));
}

#[tokio::test]
async fn responses_logs_and_the_table_contain_no_secrets() {
    let logs = Logs::default();
    let _kept = logs.keep();
    let world = World::new().await;
    let mut secrets = Secrets::default();
    let responses = use_every_secret(&world, &mut secrets).await;

    for response in &responses {
        secrets.assert_absent(&format!("a response of {}", response.status), &response.text);
        secrets.assert_absent("a header", &format!("{:?}", response.headers));
        for hidden in [
            "password_hash",
            "token_hash",
            "argon2",
            "cursor_key",
            "invite_link",
            "sessions",
            "epoch",
        ] {
            assert!(
                !response.text.contains(hidden),
                "a response shows {hidden}: {}",
                response.text
            );
        }
    }

    let table = invariants::read(&world).await;
    invariants::assert_hold(&table);
    let text = table.values().cloned().collect::<Value>().to_string();
    secrets.assert_absent("the table", &text);

    // Hashes are stored in the table. In a log they are secrets too.
    let mut hashes = 0;
    for item in table.values() {
        for name in ["password_hash", "token_hash", "cursor_key"] {
            if let Some(hash) = item[name].as_str() {
                secrets.keep(name, hash);
                hashes += 1;
            }
        }
    }
    assert!(hashes >= 7, "{hashes}");
    let logged = logs.text();
    for expected in [
        "/api/v1/auth/register",
        "/api/v1/auth/accept-invite",
        "INVALID_CREDENTIALS",
        "a mail was not sent",
    ] {
        assert!(logged.contains(expected), "the log lacks {expected}:\n{logged}");
    }
    secrets.assert_absent("the log", &logged);
    secrets.assert_absent("the debug text of the app", &format!("{:?}", world.app));
    let addresses = ["ben@example.com", "cleo@example.com", "dan@example.com"];
    for address in addresses {
        assert!(!logged.contains(address), "the log names {address}");
    }
}

#[tokio::test]
async fn each_mail_contains_the_link_of_its_recipient_and_no_other_secret() {
    let world = World::new().await;
    let mut secrets = Secrets::default();
    use_every_secret(&world, &mut secrets).await;
    let mails = world.mailbox.mails();
    assert!(mails.len() >= 2, "{mails:?}");
    let links: Vec<&String> = secrets
        .0
        .iter()
        .filter(|(name, _)| name == "invitation token")
        .map(|(_, secret)| secret)
        .collect();
    for mail in mails {
        let all = format!("{} {} {}", mail.subject, mail.text, mail.html);
        assert_eq!(
            links.iter().filter(|link| all.contains(**link)).count(),
            1,
            "{}",
            mail.to
        );
        for (name, secret) in secrets.0.iter().filter(|(name, _)| name != "invitation token") {
            assert!(!all.contains(secret), "a mail shows a {name}");
        }
        assert!(!mail.subject.contains('#'));
        assert_eq!(mail.to.matches('@').count(), 1);
    }
}
