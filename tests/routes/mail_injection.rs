//! Names and e-mail addresses inject no links, markup or headers into mails.

use linkify::{LinkFinder, LinkKind};
use local::mailbox::Mail;
use serde_json::json;

use crate::support::harness::{ApiResponse, PASSWORD, World};
use crate::support::usage_support::{ingest_records, new_id, record, roll_up};

/// Workspace names that contain links, markup or instructions of an attacker.
const HOSTILE_NAMES: [&str; 12] = [
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

/// The parts of a text that a mail program shows as links: URLs, sites without a scheme, and e-mail addresses. The flag
/// marks e-mail addresses.
fn links(text: &str) -> Vec<(String, bool)> {
    let mut finder = LinkFinder::new();
    finder.url_must_have_scheme(false);
    let links = finder.links(text);
    links
        .map(|link| (link.as_str().to_owned(), *link.kind() == LinkKind::Email))
        .collect()
}

/// The first word of each HTML element of a page, and the text between the elements.
fn elements_and_text(html: &str) -> (Vec<String>, String) {
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

/// The targets of the links of a page.
fn targets(html: &str) -> Vec<String> {
    let parts = html.split("href=\"").skip(1);
    parts
        .map(|part| part.split('"').next().unwrap().replace("&#38;", "&"))
        .collect()
}

#[tokio::test]
async fn a_workspace_name_adds_no_link_and_no_markup_to_an_invitation_mail() {
    let world = World::new().await;
    let mail_of = async |name: &str| -> (ApiResponse, Mail) {
        // A new owner for each name: one person may create ten invitations an hour.
        let owner = world.owner(&new_id()).await;
        owner.patch("/workspaces/", json!({"name": name})).await.expect(200);
        let email = format!("{}@example.com", new_id());
        let issued = owner.invite(&email, "member").await.expect(201);
        (issued, world.mailbox.latest_to(&email).unwrap())
    };
    let (_, plain) = mail_of("Acme & Sons Inc.").await;
    assert_eq!(plain.subject, "Invitation to Acme & Sons Inc.");
    assert!(plain.text.contains("\"Acme & Sons Inc.\""), "{}", plain.text);
    let (elements, text) = elements_and_text(&plain.html);
    assert!(text.contains("Acme & Sons Inc."), "{text}");
    for hostile in HOSTILE_NAMES {
        let (issued, mail) = mail_of(hostile).await;
        let link = issued.body["invite_link"].as_str().unwrap();
        let inviter = issued.body["invited_by_email"].as_str().unwrap();
        assert_eq!(links(&mail.subject), [], "{}", mail.subject);
        let expected = [(inviter.to_owned(), true), (link.to_owned(), false)];
        assert_eq!(links(&mail.text), expected, "{}", mail.text);
        assert_eq!(
            mail.text.matches('"').count(),
            2,
            "the name is not quoted: {}",
            mail.text
        );
        let (shown, text) = elements_and_text(&mail.html);
        assert_eq!(shown, elements, "{hostile}");
        assert_eq!(targets(&mail.html), [link, link], "{hostile}");
        // Without the elements, adjacent words of the page may join, so that the list is not exact.
        assert!(
            links(&text)
                .iter()
                .all(|(target, is_address)| target == link || *is_address && target == inviter),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_workspace_name_adds_no_link_and_no_markup_to_a_notice() {
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
    let (elements, _) = elements_and_text(&notice_of("ann", "Acme").await.html);
    for (number, hostile) in HOSTILE_NAMES.into_iter().enumerate() {
        let mail = notice_of(&format!("owner{number}"), hostile).await;
        let (shown, text) = elements_and_text(&mail.html);
        assert_eq!(shown, elements, "{hostile}");
        for part in [&mail.subject, &mail.text, &text] {
            assert_eq!(links(part), [], "{part}");
        }
    }
}

#[tokio::test]
async fn user_input_adds_no_mail_header() {
    let world = World::new().await;
    let (ann, bea) = (world.owner("ann").await, world.owner("bea").await);
    let hostile_addresses = [
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
    // Each may create ten invitations an hour: Bea tries eight addresses, Ann seven and the one below.
    let (of_bea, of_ann) = hostile_addresses.split_at(8);
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

    // The mail service encodes the subject, so that an encoded word in a name stays plain text.
    ann.patch("/workspaces/", json!({"name": "=?utf-8?q?=0d=0aBcc:_eve?="}))
        .await
        .expect(200);
    let unusual = "o'hara+=?x?=/{}|~!#$%&*^`@example.com";
    ann.invite(unusual, "member").await.expect(201);
    let mail = world.mailbox.latest_to(unusual).unwrap();
    assert_eq!(mail.from, world.app.config.mail_from.as_str());
    assert_eq!(mail.to, unusual);
    assert_eq!(mail.subject, "Invitation to =?utf-8?q?=0d=0aBcc:_eve?=");
    assert_eq!(mail.tags.len(), 1, "{:?}", mail.tags);
}
