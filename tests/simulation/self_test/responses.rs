//! Wrong responses, sessions that outlive their end, and secrets in the log.

use super::*;

/// Asserts that a response of `status`, `code` and `body` to an operation is reported when the table became `after`.
#[track_caller]
fn assert_reported_response(
    rule: &str,
    simulation: &Simulation<'_>,
    after: &Table,
    (operation, status, code, body): (Operation, u16, &str, Value),
) {
    let batch = [response_to(simulation, operation, status, code, body)];
    assert_reported(rule, &faults_of(simulation, after, &batch));
}

#[tokio::test]
async fn wrong_responses_are_reported() {
    let world = World::new().await;
    let mut simulation = initial_simulation(&world).await;
    let table = simulation.table.clone();
    let rank = |simulation: &Simulation<'_>, role: &str| {
        let user = items_of(&simulation.table, "user").find(|user| user["membership"]["role"] == role);
        user.map(|user| (text(user, "id"), text(user, "email")))
    };
    let token_of = |simulation: &Simulation<'_>, email: &str| {
        let who = simulation.emails.iter().position(|known| known == email).unwrap();
        simulation
            .ledger
            .tokens
            .iter()
            .position(|held| held.who == who)
            .unwrap()
    };
    let (owner, owner_email) = rank(&simulation, "owner").unwrap();
    let (low, low_email) = ["member", "field_worker"]
        .iter()
        .find_map(|role| rank(&simulation, role))
        .unwrap();
    let (by_owner, by_low) = (token_of(&simulation, &owner_email), token_of(&simulation, &low_email));
    let open = items_of(&table, "invitation").find(|row| row["end"].is_null()).unwrap();
    let open = text(open, "id");
    let cancel = |token| Operation::Cancel {
        token,
        invitation: open.clone(),
    };
    // Acknowledged without an effect, and acknowledged without the right.
    assert_reported_response("I3", &simulation, &table, (cancel(by_owner), 200, "", json!({})));
    assert_reported_response("I7", &simulation, &table, (cancel(by_low), 200, "", json!({})));
    let promote = Operation::ChangeRole {
        token: by_low,
        target: low.clone(),
        role: "owner",
    };
    assert_reported_response("I7", &simulation, &table, (promote, 200, "", json!({})));
    let remove = Operation::Remove {
        token: by_owner,
        target: owner,
    };
    assert_reported_response("I6", &simulation, &table, (remove, 200, "", json!({})));
    // Refused, but applied.
    let renamed = changed(&table, "workspace", |row| {
        row["description"] = json!("changed");
        true
    });
    let rename = Operation::UpdateWorkspace {
        token: by_owner,
        name: "x".to_owned(),
    };
    assert_reported_response("I12", &simulation, &renamed, (rename, 400, "X", json!({})));
    // Data of another workspace, and a secret.
    let read = |path| Operation::Read { token: by_owner, path };
    let other_workspace = json!({"name": "Company zq00000000qz"});
    assert_reported_response(
        "I5",
        &simulation,
        &table,
        (read("/workspaces/"), 200, "", other_workspace),
    );
    let secret = json!({"name": simulation.ledger.secrets[0]});
    assert_reported_response("I15", &simulation, &table, (read("/workspaces/"), 200, "", secret));
    // Lists with a missing row.
    let no_members = json!({"members": []});
    assert_reported_response(
        "I2",
        &simulation,
        &table,
        (read("/workspaces/members"), 200, "", no_members),
    );
    let performed = response_to(
        &simulation,
        read("/workspaces/members"),
        404,
        "WORKSPACE_NOT_FOUND",
        json!({}),
    );
    let batch = [performed];
    assert_eq!(
        expected(&snapshot(&simulation, &table, &batch), &batch[0]),
        Some(vec![(200, "")])
    );

    // A link that had ended, and a link that had expired.
    let link = simulation.ledger.links[&open].clone();
    let accept = Operation::Accept {
        who: 0,
        invitation: open.clone(),
        secret: link.secret,
        bearer: None,
        password: None,
    };
    simulation.ledger.end_link(&open, "ended by the test");
    assert_reported_response("I3", &simulation, &table, (accept.clone(), 200, "", json!({})));
    world.pass(8 * 24 * 3600);
    assert_reported_response("I13", &simulation, &table, (accept, 200, "", json!({})));
}

#[tokio::test]
async fn ended_tokens_that_still_work_are_reported() {
    let world = World::new().await;
    let mut simulation = initial_simulation(&world).await;
    simulation
        .ledger
        .tokens
        .iter_mut()
        .for_each(|held| assert_eq!(held.state, TokenState::Valid));
    simulation.ledger.tokens[0].end("ended by the test");
    simulation.probe().await;
    assert_reported("I6", &simulation.counters.findings.faults);
}

#[tokio::test]
async fn responses_outside_the_contract_are_reported() {
    let world = World::new().await;
    let mut simulation = initial_simulation(&world).await;
    // The ledger holds a wrong password.
    let email = simulation.emails[0].clone();
    simulation
        .ledger
        .passwords
        .insert(email, ["not the password".to_owned()].into());
    let password = "not the password".to_owned();
    simulation
        .perform_batch(vec![Operation::LogIn { who: 0, password }])
        .await;
    assert_reported("contract", &simulation.counters.findings.faults);
}

#[tokio::test]
async fn secrets_in_the_log_are_reported() {
    use std::io::Write;
    let world = World::new().await;
    let mut simulation = initial_simulation(&world).await;
    let secret = simulation.people[1].password.clone();
    simulation.logs.write_all(secret.as_bytes()).unwrap();
    simulation.perform_batch(vec![Operation::RetryMails]).await;
    assert_reported("I15", &simulation.counters.findings.faults);
}
