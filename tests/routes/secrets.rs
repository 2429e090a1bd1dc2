//! What must not be shown is nowhere shown: not in a log, a list, an error, a mail to somebody else, nor in the table.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use local::mailbox::Fault;
use serde_json::{Value, json};
use shared::config::SecretSource;

use crate::support::harness::{ApiResponse, PASSWORD, Person, World, proof};
use crate::support::invariants;
use crate::support::logs::Logs;

/// Secrets by name, and who may see them.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn keep(&mut self, name: &str, secret: &str) {
        assert!(secret.len() >= 8, "{name} is no secret: {secret:?}");
        self.0.push((name.to_owned(), secret.to_owned()));
    }

    fn keep_tokens(&mut self, answer: &ApiResponse) {
        for name in ["access_token", "refresh_token"] {
            self.keep(name, answer.body[name].as_str().unwrap());
        }
    }

    fn keep_link(&mut self, issued: &ApiResponse) {
        self.keep("invitation token", proof(issued, json!({}))["token"].as_str().unwrap());
    }

    /// Fails when `text` holds one, plain or as bytes written otherwise.
    #[track_caller]
    fn are_not_in(&self, place: &str, text: &str) {
        for (name, secret) in &self.0 {
            let forms = [
                secret.clone(),
                STANDARD.encode(secret),
                URL_SAFE_NO_PAD.encode(secret),
                hex(secret.as_bytes()),
            ];
            for form in forms {
                assert!(!text.contains(&form), "{place} shows a {name}");
            }
            // The last part of a token is what proves it; no part of it may stand alone either.
            if let Some((_, signature)) = secret.rsplit_once('.') {
                assert!(!text.contains(signature), "{place} shows the signature of a {name}");
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A life in which all that is secret comes up, and much goes wrong: the secrets, and every answer that must hold none.
async fn life(world: &World, secrets: &mut Secrets) -> Vec<ApiResponse> {
    let mut answers = Vec::new();
    for source in [&world.app.config.signing_secret, &world.app.config.invitation_secret] {
        let Some(SecretSource::Value(seed)) = source else {
            panic!("a world has its own seeds")
        };
        secrets.keep("seed", seed.expose());
    }
    let (password, another) = ("a very secret passphrase", "the wrong passphrase");
    secrets.keep("password", password);
    secrets.keep("password", another);
    secrets.keep("password", PASSWORD);
    let mut ann = world.stranger("ann");
    let register = json!({"email": ann.email, "password": password, "name": "Ann", "company": "Acme"});
    answers.push(ann.post("/auth/register", register.clone()).await.expect(201));
    answers.push(ann.post("/auth/register", register).await.expect(400));
    answers.push(
        ann.post("/auth/login", json!({"email": ann.email, "password": another}))
            .await
            .expect(401),
    );
    answers.push(
        ann.post(
            "/auth/login",
            json!({"email": "nobody@example.com", "password": another}),
        )
        .await
        .expect(401),
    );
    answers.push(
        ann.post("/auth/login", json!({"email": [ann.email], "password": [another]}))
            .await
            .expect(422),
    );
    answers.push(
        ann.raw("POST", "/auth/login", format!("{{\"password\":\"{another}\""))
            .await
            .expect(422),
    );
    answers.push(ann.raw("POST", "/auth/login", format!("{another}{{")).await.expect(422));
    answers.push(ann.post("/auth/login", json!({another: another})).await.expect(422));
    let session = ann
        .post("/auth/login", json!({"email": ann.email, "password": password}))
        .await
        .expect(200);
    secrets.keep_tokens(&session);
    ann.take_tokens(&session);
    let refreshed = ann.refresh().await.expect(200);
    secrets.keep_tokens(&refreshed);
    ann.take_tokens(&refreshed);
    answers.extend([
        ann.get("/auth/me").await,
        ann.workspace().await,
        ann.members().await,
        ann.get("/workspaces/usage").await,
    ]);

    invitations(world, &ann, password, secrets, &mut answers).await;

    let stale = Person {
        refresh: session.body["refresh_token"].as_str().unwrap().to_owned(),
        ..ann.clone()
    };
    world.pass(31);
    answers.push(stale.refresh().await.expect(401));
    answers.push(ann.get("/auth/me").await.expect(401));
    answers.push(ann.signed_out().refresh().await.expect(401));
    let garbled = Person {
        access: Some(format!("{}x", ann.access.clone().unwrap())),
        ..ann.clone()
    };
    answers.push(garbled.workspace().await.expect(401));
    answers.push(
        garbled
            .get(&format!("/workspaces/members?cursor={}", ann.refresh))
            .await
            .expect(401),
    );
    answers
}

async fn invitations(
    world: &World,
    ann: &Person<'_>,
    password: &str,
    secrets: &mut Secrets,
    answers: &mut Vec<ApiResponse>,
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
    answers.push(ann.invitations().await.expect(200));

    let ben = world.stranger("ben");
    let wrong = |token: &str| json!({"invite_id": issued.id(), "token": token, "password": password});
    let token = proof(&issued, json!({}))["token"].as_str().unwrap().to_owned();
    answers.push(ben.preview(&issued).await.expect(200));
    answers.push(
        ben.post("/auth/accept-invite", wrong(&format!("{token}x")))
            .await
            .expect(404),
    );
    answers.push(
        ben.post("/auth/invitation", json!({"invite_id": issued.id(), "token": [token]}))
            .await
            .expect(422),
    );
    answers.push(
        ben.post("/auth/accept-invite", json!({"invite_id": token, "token": token}))
            .await
            .expect(404),
    );
    answers.push(ben.accept(&issued, json!({})).await.expect(400));
    answers.push(ann.accept(&issued, json!({"password": password})).await.expect(409));
    let accepted = ben
        .accept(&issued, json!({"password": password, "name": "Ben"}))
        .await
        .expect(200);
    secrets.keep_tokens(&accepted);
    answers.push(
        ben.accept(&issued, json!({"password": "the wrong passphrase"}))
            .await
            .expect(400),
    );
    answers.push(ben.preview(&issued).await);
    answers.push(ben.decline(&issued).await.expect(400));
    answers.push(ann.members().await.expect(200));
    answers.push(ben.decline(&undelivered).await.expect(200));
}

#[tokio::test]
async fn a_life_leaves_no_secret_behind() {
    let logs = Logs::default();
    let _kept = logs.keep();
    let world = World::new().await;
    let mut secrets = Secrets::default();
    let answers = life(&world, &mut secrets).await;

    for answer in &answers {
        secrets.are_not_in(&format!("an answer of {}", answer.status), &answer.text);
        secrets.are_not_in("a header", &format!("{:?}", answer.headers));
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
                !answer.text.contains(hidden),
                "an answer shows {hidden}: {}",
                answer.text
            );
        }
    }

    let table = invariants::read(&world).await;
    invariants::assert_hold(&table);
    let text = table.values().cloned().collect::<Value>().to_string();
    secrets.are_not_in("the table", &text);

    // Hashes may stand in the table; in a log they are secrets too.
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
        assert!(logged.contains(expected), "nothing logged of {expected}:\n{logged}");
    }
    secrets.are_not_in("the log", &logged);
    secrets.are_not_in("the app in words", &format!("{:?}", world.app));
    let addresses = ["ben@example.com", "cleo@example.com", "dan@example.com"];
    for address in addresses {
        assert!(!logged.contains(address), "the log names {address}");
    }
}

#[tokio::test]
async fn a_link_goes_to_whom_it_is_for_and_to_nobody_else() {
    let world = World::new().await;
    let mut secrets = Secrets::default();
    life(&world, &mut secrets).await;
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
