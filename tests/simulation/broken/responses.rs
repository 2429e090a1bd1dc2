//! Wrong responses, sessions that outlive their end, and secrets in the log.

use super::*;

#[tokio::test]
async fn what_people_are_wrongly_told_is_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    let table = at.table.clone();
    let rank = |at: &Simulation<'_>, role: &str| {
        let user = all(&at.table, "user").find(|user| user["membership"]["role"] == role);
        user.map(|user| (text(user, "id"), text(user, "email")))
    };
    let token_of = |at: &Simulation<'_>, email: &str| {
        let who = at.emails.iter().position(|known| known == email).unwrap();
        at.ledger.tokens.iter().position(|held| held.who == who).unwrap()
    };
    let (owner, owner_email) = rank(&at, "owner").unwrap();
    let (low, low_email) = ["member", "field_worker"]
        .iter()
        .find_map(|role| rank(&at, role))
        .unwrap();
    let (by_owner, by_low) = (token_of(&at, &owner_email), token_of(&at, &low_email));
    let open = all(&table, "invitation").find(|row| row["end"].is_null()).unwrap();
    let open = text(open, "id");
    let cancel = |token| Op::Cancel {
        token,
        invitation: open.clone(),
    };
    // Acknowledged, and not so; by somebody who may not.
    breaks(
        "I3",
        &found(&at, &table, &[said(&at, cancel(by_owner), 200, "", json!({}))]),
    );
    breaks(
        "I7",
        &found(&at, &table, &[said(&at, cancel(by_low), 200, "", json!({}))]),
    );
    let rise = Op::ChangeRole {
        token: by_low,
        target: low.clone(),
        role: "owner",
    };
    breaks("I7", &found(&at, &table, &[said(&at, rise, 200, "", json!({}))]));
    let remove = Op::Remove {
        token: by_owner,
        target: owner,
    };
    breaks("I6", &found(&at, &table, &[said(&at, remove, 200, "", json!({}))]));
    // Refused, and done all the same.
    let renamed = changed(&table, "workspace", |row| {
        row["description"] = json!("changed");
        true
    });
    let rename = Op::Rename {
        token: by_owner,
        name: "x".to_owned(),
    };
    breaks("I12", &found(&at, &renamed, &[said(&at, rename, 400, "X", json!({}))]));
    // What is another's, and what is secret.
    let look = |path| Op::Look { token: by_owner, path };
    let stranger = json!({"name": "Company zq00000000qz"});
    breaks(
        "I5",
        &found(&at, &table, &[said(&at, look("/workspaces/"), 200, "", stranger)]),
    );
    let secret = json!({"name": at.ledger.secrets[0]});
    breaks(
        "I15",
        &found(&at, &table, &[said(&at, look("/workspaces/"), 200, "", secret)]),
    );
    // Lists that leave something out.
    let nobody = json!({"members": []});
    breaks(
        "I2",
        &found(&at, &table, &[said(&at, look("/workspaces/members"), 200, "", nobody)]),
    );
    let deed = said(&at, look("/workspaces/members"), 404, "WORKSPACE_NOT_FOUND", json!({}));
    let deeds = [deed];
    assert_eq!(expected(&scene(&at, &table, &deeds), &deeds[0]), Some(vec![(200, "")]));

    // A link that had ended, and one that had expired.
    let link = at.ledger.links[&open].clone();
    let accept = Op::Accept {
        who: 0,
        invitation: open.clone(),
        secret: link.secret,
        bearer: None,
        password: None,
    };
    at.ledger.end_link(&open, "a test says so");
    breaks(
        "I3",
        &found(&at, &table, &[said(&at, accept.clone(), 200, "", json!({}))]),
    );
    world.pass(8 * 24 * 3600);
    breaks("I13", &found(&at, &table, &[said(&at, accept, 200, "", json!({}))]));
}

#[tokio::test]
async fn rights_that_outlive_their_end_are_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    at.ledger
        .tokens
        .iter_mut()
        .for_each(|held| assert_eq!(held.life, Life::Alive));
    at.ledger.tokens[0].end("a test says so");
    at.probe().await;
    breaks("I6", &at.tally.findings.faults);
}

#[tokio::test]
async fn an_answer_that_the_contract_does_not_have_is_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    // The ledger believes in a password that is none.
    let email = at.emails[0].clone();
    at.ledger
        .passwords
        .insert(email, ["not the password".to_owned()].into());
    let password = "not the password".to_owned();
    at.batch(vec![Op::LogIn { who: 0, password }]).await;
    breaks("contract", &at.tally.findings.faults);
}

#[tokio::test]
async fn a_log_that_shows_a_secret_is_found() {
    use std::io::Write;
    let world = World::new().await;
    let mut at = begun(&world).await;
    let secret = at.people[1].password.clone();
    at.logs.write_all(secret.as_bytes()).unwrap();
    at.batch(vec![Op::RetryMails]).await;
    breaks("I15", &at.tally.findings.faults);
}
