//! Wrong mails, usage counts, limits and idempotency keys.

use super::*;

#[tokio::test]
async fn mails_that_must_not_be_are_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    let mails = world.mailbox.mails();
    let mail = mails
        .iter()
        .find(|mail| mail.to == "guest@example.com")
        .unwrap()
        .clone();
    let id = mail.tags["invitation"].clone();
    let read = |at: &mut Simulation<'_>, table: &Table, mail: &local::mailbox::Mail| {
        let mut findings = Findings::default();
        read_mails(
            &mut at.ledger,
            std::slice::from_ref(mail),
            (table, table),
            &mut findings,
        );
        findings.faults
    };
    let table = at.table.clone();
    breaks("I9", &read(&mut at, &table, &mail));
    at.ledger.copies.clear();
    let ended = changed(&table, "invitation", |row| {
        row["end"] = json!({"status": "revoked"});
        row["id"] == id.as_str()
    });
    breaks("I9", &read(&mut at, &ended, &mail));
    let mut astray = mail.clone();
    astray.to = "somebody@example.com".to_owned();
    breaks("I5", &read(&mut at, &table, &astray));
    let mut gossip = mail.clone();
    gossip.text.push_str("zq00000000qz");
    breaks("I5", &read(&mut at, &table, &gossip));
    let mut other = mail;
    other.text = other.text.replace("token=", "token=x");
    other.html = other.text.clone();
    breaks("I9", &read(&mut at, &table, &other));
    // Said to be sent, and never left.
    at.ledger.copies.clear();
    let mut findings = Findings::default();
    read_mails(&mut at.ledger, &[], (&table, &table), &mut findings);
    breaks("I9", &findings.faults);
    // Back from sent to queued.
    let back = changed(&table, "pending", |row| {
        row["delivery"]["status"] = json!("queued");
        true
    });
    breaks("I9", &found(&at, &back, &[]));
}

#[tokio::test]
async fn usage_that_is_counted_twice_or_not_is_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    let workspace = text(all(&at.table, "workspace").next().unwrap(), "id");
    let record = |taken| Record {
        id: crate::support::usage_support::new_id(),
        workspace: workspace.clone(),
        kind: "location_event",
        count: 7,
        occurred_at: world.clock.now(),
        taken,
    };
    at.ledger.records.push(record(Taken::Never));
    at.batch(vec![Op::Deliver { records: vec![0] }]).await;
    assert_eq!(found(&at, &at.table, &[]), [""; 0]);
    for wrong in [0, 14] {
        let hour = changed(&at.table, "usage-hour", |hour| {
            hour["location_events"] = json!(wrong);
            true
        });
        breaks("I8", &found(&at, &hour, &[]));
    }
    at.ledger.records.push(record(Taken::Maybe));
    let twice = changed(&at.table, "usage-hour", |hour| {
        hour["location_events"] = json!(14);
        true
    });
    assert_eq!(found(&at, &twice, &[]), [""; 0], "it may have been counted");
    at.ledger.records.push(record(Taken::Surely));
    breaks("I8", &found(&at, &at.table, &[]));
}

#[tokio::test]
async fn a_limit_that_admits_one_too_many_is_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    let deed = said(&at, Op::RetryMails, 201, "", json!({}));
    for _ in 0..10 {
        at.ledger.charge(INVITE, "somebody", &deed, true);
    }
    assert_eq!(at.ledger.excess(), [""; 0]);
    let now = world.clock.now();
    assert!(at.ledger.must_be_full(INVITE, "somebody", now) && at.ledger.may_be_full(INVITE, "somebody", now));
    world.pass(3700);
    let later = said(&at, Op::RetryMails, 201, "", json!({}));
    at.ledger.charge(INVITE, "somebody", &later, true);
    assert_eq!(at.ledger.excess(), [""; 0]);
    at.ledger.charge(INVITE, "somebody", &deed, true);
    assert_eq!(at.ledger.excess().len(), 1);
}

#[tokio::test]
async fn a_key_under_which_more_is_done_than_once_is_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    let token = at.ledger.tokens.iter().position(|held| held.who == 0).unwrap();
    let ask = |email: &str| Task {
        op: Op::Invite {
            token,
            email: email.to_owned(),
            role: "member",
        },
        key: Some("a key".to_owned()),
        kill: None,
    };
    let early = at.table.clone();
    at.done(vec![ask("visitor@example.com"); 3]).await;
    at.done(vec![ask("visitor@example.com")]).await;
    at.done(vec![ask("another@example.com")]).await;
    assert_eq!(at.tally.findings.faults, [""; 0]);
    assert_eq!(at.tally.answers.get(&422), Some(&1));
    let judged = |deeds: &[Deed], before: &Table, after: &Table| {
        let mut findings = Findings::default();
        let scene = Scene {
            before,
            ..scene(&at, after, deeds)
        };
        is_done_once(&scene, &mut findings);
        findings.faults
    };
    let keyed = |email: &str, body: Value| {
        let mut deed = said(&at, ask(email).op, 201, "", body);
        deed.key = Some("a key".to_owned());
        deed
    };
    let table = &at.table;
    breaks(
        "I11",
        &judged(&[keyed("visitor@example.com", json!({"id": "other"}))], table, table),
    );
    breaks("I11", &judged(&[keyed("another@example.com", json!({}))], table, table));
    // Nobody asked for one more.
    breaks("I11", &judged(&[], &early, table));
}
