//! What somebody hostile may try with mails: smuggling links, markup and headers into them, and finding out who has an
//! account.

use std::time::{Duration, Instant};

use linkify::{LinkFinder, LinkKind};
use local::mailbox::Mail;
use serde_json::{Value, json};

use crate::support::harness::{ApiResponse, PASSWORD, World};
use crate::support::usage_support::{ingest_records, new_id, record, roll_up};

/// Names by which somebody would lead a reader elsewhere.
const LURES: [&str; 12] = [
    "Win a prize at https://evil.example/win?a=1&b=2",
    "www.evil.example",
    "evil.example/prize",
    "HTTP://EVIL.EXAMPLE",
    "http://203.0.113.7/",
    "mailto:eve@evil.example",
    "eve@evil.example",
    "<a href=\"https://evil.example\">Acme</a>",
    "\"><img src=https://evil.example/x.png onerror=alert(1)>",
    "</strong></p><script src=//evil.example></script>",
    "Acme\" as an owner. Your account is locked: call 0900 123. \u{201c}Acme\u{201d}",
    "{{ mail.link }} {% include \"/etc/passwd\" %} &lt;b&gt; &#60;i&#62;",
];

/// What a mail program makes links of in a text, addresses and sites without a scheme included.
fn links(text: &str) -> Vec<(String, bool)> {
    let mut finder = LinkFinder::new();
    finder.url_must_have_scheme(false);
    let links = finder.links(text);
    links
        .map(|link| (link.as_str().to_owned(), *link.kind() == LinkKind::Email))
        .collect()
}

/// An HTML page's elements, by their first word, and its text.
fn taken_apart(html: &str) -> (Vec<String>, String) {
    let (mut elements, mut text) = (Vec::new(), String::new());
    for part in html.split('<').skip(1) {
        let (element, after) = part.split_once('>').unwrap();
        elements.push(element.split_whitespace().next().unwrap().to_owned());
        text.push_str(after);
    }
    for (escaped, character) in [
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#38;", "&"),
    ] {
        text = text.replace(escaped, character);
    }
    (elements, text)
}

/// The targets of a page's links.
fn targets(html: &str) -> Vec<String> {
    let parts = html.split("href=\"").skip(1);
    parts
        .map(|part| part.split('"').next().unwrap().replace("&#38;", "&"))
        .collect()
}

#[tokio::test]
async fn a_name_makes_no_link_and_no_markup_of_an_invitation() {
    let world = World::new().await;
    let mail_of = async |name: &str| -> (ApiResponse, Mail) {
        // An owner each: one person creates ten an hour.
        let owner = world.owner(&new_id()).await;
        owner.patch("/workspaces/", json!({"name": name})).await.expect(200);
        let email = format!("{}@example.com", new_id());
        let issued = owner.invite(&email, "member").await.expect(201);
        (issued, world.mailbox.latest_to(&email).unwrap())
    };
    let (_, plain) = mail_of("Acme & Sons Inc.").await;
    assert_eq!(plain.subject, "Invitation to Acme & Sons Inc.");
    assert!(plain.text.contains("\"Acme & Sons Inc.\""), "{}", plain.text);
    let (elements, text) = taken_apart(&plain.html);
    assert!(text.contains("Acme & Sons Inc."), "{text}");
    for lure in LURES {
        let (issued, mail) = mail_of(lure).await;
        let link = issued.body["invite_link"].as_str().unwrap();
        let inviter = issued.body["invited_by_email"].as_str().unwrap();
        assert_eq!(links(&mail.subject), [], "{}", mail.subject);
        let expected = [(inviter.to_owned(), true), (link.to_owned(), false)];
        assert_eq!(links(&mail.text), expected, "{}", mail.text);
        assert_eq!(
            mail.text.matches('"').count(),
            2,
            "the name leaves its quotes: {}",
            mail.text
        );
        let (shown, text) = taken_apart(&mail.html);
        assert_eq!(shown, elements, "{lure}");
        assert_eq!(targets(&mail.html), [link, link], "{lure}");
        // Elements part the words that stand beside each other here.
        assert!(
            links(&text)
                .iter()
                .all(|(at, is_address)| at == link || *is_address && at == inviter),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_name_makes_no_link_and_no_markup_of_a_notice() {
    let world = World::new().await;
    let notice_of = async |person: &str, name: &str| -> Mail {
        let owner = world.owner(person).await;
        owner.patch("/workspaces/", json!({"name": name})).await.expect(200);
        let workspace = owner.workspace().await.id();
        let now = world.clock.now().to_string();
        ingest_records(&world, &[record(&workspace, "location_event", 400_000, &now)]).await;
        roll_up(&world, &workspace).await;
        world.mailbox.latest_to(&owner.email).unwrap()
    };
    let (elements, _) = taken_apart(&notice_of("ann", "Acme").await.html);
    for (number, lure) in LURES.into_iter().enumerate() {
        let mail = notice_of(&format!("owner{number}"), lure).await;
        let (shown, text) = taken_apart(&mail.html);
        assert_eq!(shown, elements, "{lure}");
        for part in [&mail.subject, &mail.text, &text] {
            assert_eq!(links(part), [], "{part}");
        }
    }
}

#[tokio::test]
async fn nothing_that_a_person_writes_becomes_a_header() {
    let world = World::new().await;
    let (ann, bea) = (world.owner("ann").await, world.owner("bea").await);
    let hostile = [
        "guest@example.com\r\nBcc: eve@evil.example",
        "guest@example.com\nSubject: hello",
        "guest@example.com%0d%0aBcc:eve@evil.example",
        "guest@example.com,eve@evil.example",
        "guest@example.com;eve@evil.example",
        "guest@example.com eve@evil.example",
        "Eve <eve@evil.example>",
        "\"guest\" <guest@example.com>",
        "\u{ff02}guest\u{ff02}@example.com",
        "\u{201c}guest\u{201d}@example.com",
        "guest@example.com\0",
        "<guest@example.com>",
        "guest@example.com(eve)",
        "@evil.example:guest@example.com",
        "=?utf-8?q?eve=40evil.example?=",
    ];
    // Ten an hour for each: eight of Bea's, seven of Ann's and what follows.
    let (of_bea, of_ann) = hostile.split_at(8);
    for (person, emails) in [(&ann, of_ann), (&bea, of_bea)] {
        for email in emails {
            person.invite(email, "member").await.refused(400, "INVALID_EMAIL");
        }
    }
    for name in [
        "Acme\r\nBcc: eve@evil.example",
        "Acme\nAcme",
        "Acme\u{2028}Acme",
        "Acme\u{0}",
        "\u{202e}emcA",
    ] {
        ann.patch("/workspaces/", json!({"name": name})).await.expect(422);
        let account = json!({"email": "eve@example.com", "password": PASSWORD, "name": name});
        ann.signed_out().post("/auth/register", account).await.expect(422);
    }
    assert_eq!(world.mailbox.attempts(), 0);

    // An encoded word is decoded in headers that were written by hand. Here the service encodes: it stays a text.
    ann.patch("/workspaces/", json!({"name": "=?utf-8?q?=0d=0aBcc:_eve?="}))
        .await
        .expect(200);
    let odd = "o'hara+=?x?=/{}|~!#$%&*^`@example.com";
    ann.invite(odd, "member").await.expect(201);
    let mail = world.mailbox.latest_to(odd).unwrap();
    assert_eq!(mail.from, world.app.config.mail_from.as_str());
    assert_eq!(mail.to, odd);
    assert_eq!(mail.subject, "Invitation to =?utf-8?q?=0d=0aBcc:_eve?=");
    assert_eq!(mail.tags.len(), 1, "{:?}", mail.tags);
}

#[tokio::test]
async fn inviting_tells_nobody_who_has_an_account() {
    let world = World::new().await;
    let (ann, known) = (world.owner("ann").await, world.owner("known").await);
    known.delete("/workspaces/").await.expect(200);
    let mut answers = Vec::new();
    for email in ["known@example.com", "unheard@example.com"] {
        let issued = ann.invite(email, "member").await.expect(201);
        let resent = ann.resend(&issued.id()).await.expect(200);
        let listed = ann.invitations().await.expect(200);
        let cancelled = ann.cancel(&resent.id()).await.expect(200);
        let mut told: Vec<Value> = [issued, resent, listed, cancelled]
            .into_iter()
            .map(|answer| answer.body)
            .collect();
        told.iter_mut().for_each(blank);
        answers.push((told, world.mailbox.latest_to(email).unwrap().subject));
    }
    assert_eq!(answers[0], answers[1]);
}

/// Takes out what differs between any two invitations.
fn blank(told: &mut Value) {
    match told {
        Value::Array(values) => values.iter_mut().for_each(blank),
        Value::Object(fields) => {
            let differs = ["id", "email", "created_at", "expires_at", "updated_at", "invite_link"];
            fields.retain(|name, _| !differs.contains(&name.as_str()));
            fields.values_mut().for_each(blank);
        }
        _ => {}
    }
}

#[tokio::test]
async fn an_unknown_email_costs_a_login_a_hash_too() {
    let world = World::new().await;
    let ann = world.owner("ann").await.signed_out();
    let mut shortest = [Duration::MAX; 3];
    for _ in 0..6 {
        for (email, shortest) in ["ann@example.com", "nobody@example.com", "no e-mail"]
            .iter()
            .zip(&mut shortest)
        {
            let started = Instant::now();
            let body = json!({"email": email, "password": "the wrong passphrase"});
            ann.post("/auth/login", body).await.refused(401, "INVALID_CREDENTIALS");
            *shortest = started.elapsed().min(*shortest);
        }
    }
    // What else runs on the machine makes a try longer, never shorter; a login without a hash is ten times as fast.
    let [known, nobody, none] = shortest;
    assert!(nobody > known / 3 && none > known / 3, "{shortest:?}");
}
