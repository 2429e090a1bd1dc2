//! Wrong mails, usage counts, limits and idempotency keys.

use super::*;

#[tokio::test]
async fn wrong_mails_are_reported() {
    let world = World::new().await;
    let mut simulation = initial_simulation(&world).await;
    let mails = world.mailbox.mails();
    let mail = mails
        .iter()
        .find(|mail| mail.to == "guest@example.com")
        .unwrap()
        .clone();
    let id = mail.tags["invitation"].clone();
    let read = |simulation: &mut Simulation<'_>, table: &Table, mail: &local::mailbox::Mail| {
        let mut findings = Findings::default();
        check_mails(
            &mut simulation.ledger,
            std::slice::from_ref(mail),
            (table, table),
            &mut findings,
        );
        findings.faults
    };
    let table = simulation.table.clone();
    assert_reported("I9", &read(&mut simulation, &table, &mail));
    simulation.ledger.mail_counts.clear();
    let ended = changed(&table, "invitation", |row| {
        row["end"] = json!({"status": "revoked"});
        row["id"] == id.as_str()
    });
    assert_reported("I9", &read(&mut simulation, &ended, &mail));
    let mut astray = mail.clone();
    astray.to = "other@example.com".to_owned();
    assert_reported("I5", &read(&mut simulation, &table, &astray));
    let mut gossip = mail.clone();
    gossip.text.push_str("zq00000000qz");
    assert_reported("I5", &read(&mut simulation, &table, &gossip));
    let mut other = mail;
    other.text = other.text.replace("token=", "token=x");
    other.html = other.text.clone();
    assert_reported("I9", &read(&mut simulation, &table, &other));
    // The delivery status is `sent`, but the mailbox has no mail.
    simulation.ledger.mail_counts.clear();
    let mut findings = Findings::default();
    check_mails(&mut simulation.ledger, &[], (&table, &table), &mut findings);
    assert_reported("I9", &findings.faults);
    // The delivery status goes back from `sent` to `queued`.
    let back = changed(&table, "pending", |row| {
        row["delivery"]["status"] = json!("queued");
        true
    });
    assert_reported("I9", &faults_of(&simulation, &back, &[]));
}

#[tokio::test]
async fn wrong_usage_counts_are_reported() {
    let world = World::new().await;
    let mut simulation = initial_simulation(&world).await;
    let workspace = text(items_of(&simulation.table, "workspace").next().unwrap(), "id");
    let record = |state| Record {
        id: crate::support::usage_support::new_id(),
        workspace: workspace.clone(),
        kind: "location_event",
        count: 7,
        occurred_at: world.clock.now(),
        state,
    };
    simulation.ledger.records.push(record(RecordState::NotCounted));
    simulation
        .perform_batch(vec![Operation::IngestUsage { records: vec![0] }])
        .await;
    assert_eq!(faults_of(&simulation, &simulation.table, &[]), [""; 0]);
    for wrong in [0, 14] {
        let hour = changed(&simulation.table, "usage-hour", |hour| {
            hour["location_events"] = json!(wrong);
            true
        });
        assert_reported("I8", &faults_of(&simulation, &hour, &[]));
    }
    simulation.ledger.records.push(record(RecordState::Unknown));
    let twice = changed(&simulation.table, "usage-hour", |hour| {
        hour["location_events"] = json!(14);
        true
    });
    assert_eq!(
        faults_of(&simulation, &twice, &[]),
        [""; 0],
        "a record of unknown state may have been counted"
    );
    simulation.ledger.records.push(record(RecordState::Counted));
    assert_reported("I8", &faults_of(&simulation, &simulation.table, &[]));
}

#[tokio::test]
async fn calls_above_a_limit_are_reported() {
    let world = World::new().await;
    let mut simulation = initial_simulation(&world).await;
    let performed = response_to(&simulation, Operation::RetryMails, 201, "", json!({}));
    for _ in 0..10 {
        simulation.ledger.charge(INVITE, "other", &performed, true);
    }
    assert_eq!(simulation.ledger.excess(), [""; 0]);
    let now = world.clock.now();
    assert!(
        simulation.ledger.must_be_full(INVITE, "other", now) && simulation.ledger.may_be_full(INVITE, "other", now)
    );
    world.pass(3700);
    let later = response_to(&simulation, Operation::RetryMails, 201, "", json!({}));
    simulation.ledger.charge(INVITE, "other", &later, true);
    assert_eq!(simulation.ledger.excess(), [""; 0]);
    simulation.ledger.charge(INVITE, "other", &performed, true);
    assert_eq!(simulation.ledger.excess().len(), 1);
}

#[tokio::test]
async fn repeated_effects_of_an_idempotency_key_are_reported() {
    let world = World::new().await;
    let mut simulation = initial_simulation(&world).await;
    let token = simulation.ledger.tokens.iter().position(|held| held.who == 0).unwrap();
    let ask = |email: &str| Task {
        operation: Operation::Invite {
            token,
            email: email.to_owned(),
            role: "member",
        },
        key: Some("a key".to_owned()),
        kill: None,
    };
    let early = simulation.table.clone();
    simulation.perform_tasks(vec![ask("visitor@example.com"); 3]).await;
    simulation.perform_tasks(vec![ask("visitor@example.com")]).await;
    simulation.perform_tasks(vec![ask("another@example.com")]).await;
    assert_eq!(simulation.counters.findings.faults, [""; 0]);
    assert_eq!(simulation.counters.responses.get(&422), Some(&1));
    let judged = |batch: &[PerformedOperation], before: &Table, after: &Table| {
        let mut findings = Findings::default();
        let snapshot = Snapshot {
            before,
            ..snapshot(&simulation, after, batch)
        };
        check_idempotency(&snapshot, &mut findings);
        findings.faults
    };
    let keyed = |email: &str, body: Value| {
        let mut performed = response_to(&simulation, ask(email).operation, 201, "", body);
        performed.key = Some("a key".to_owned());
        performed
    };
    let table = &simulation.table;
    assert_reported(
        "I11",
        &judged(&[keyed("visitor@example.com", json!({"id": "other"}))], table, table),
    );
    assert_reported("I11", &judged(&[keyed("another@example.com", json!({}))], table, table));
    // One more invitation exists than was requested.
    assert_reported("I11", &judged(&[], &early, table));
}
