//! Notices to the owners of a workspace when its usage reaches a threshold of its limit.

use std::time::{Duration, Instant};

use local::mailbox::Fault;
use serde_json::json;
use shared::event::Deadline;
use shared::models::usage::Tier;
use shared::outbox::SEND_MAX;

use crate::support::harness::World;
use crate::support::invariants;
use crate::support::usage_support::{advance_to, ingest_records, record, roll_up, usage_of};

const NOON: &str = "2096-03-15T12:00:00Z";

/// The notices that were mailed, each as recipient and percentage, sorted.
fn notices(world: &World) -> Vec<(String, String)> {
    let mut notices: Vec<_> = world
        .mailbox
        .mails()
        .into_iter()
        .filter_map(|mail| {
            let (_, share) = mail.subject.split_once(" has used ")?;
            Some((mail.to, share.replace(" of its month", "")))
        })
        .collect();
    notices.sort();
    notices
}

fn notice(recipient: &str, share: &str) -> (String, String) {
    (format!("{recipient}@example.com"), share.to_owned())
}

#[tokio::test]
async fn every_owner_gets_one_notice_per_threshold() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let olga = world.joins(&ann, "olga", "owner").await;
    world.joins(&ann, "max", "manager").await;
    let workspace = ann.workspace().await.id();
    let name = ann.workspace().await.body["name"].as_str().unwrap().to_owned();
    let ingest = async |count, moment: &str| {
        ingest_records(&world, &[record(&workspace, "location_event", count, moment)]).await;
        futures::join!(roll_up(&world, &workspace), roll_up(&world, &workspace));
        roll_up(&world, &workspace).await;
    };
    ingest(399_999, "2096-03-15T11:00:00Z").await;
    assert_eq!(notices(&world), []);
    ingest(1, "2096-03-15T11:00:00Z").await;
    let at_80 = [notice("ann", "80 %"), notice("olga", "80 %")];
    assert_eq!(notices(&world), at_80);
    let mail = world.mailbox.latest_to(&olga.email).unwrap();
    for text in [&mail.text, &mail.html] {
        for part in [name.as_str(), "80 %", "500000", "developer", "2096-03"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
    ingest(50_000, "2096-03-14T11:00:00Z").await;
    assert_eq!(notices(&world), at_80, "no threshold was reached");
    ingest(500_000, "2096-03-13T11:00:00Z").await;
    let at_100 = [
        notice("ann", "100 %"),
        notice("ann", "80 %"),
        notice("olga", "100 %"),
        notice("olga", "80 %"),
    ];
    assert_eq!(notices(&world), at_100);
    ingest(9_000_000, "2096-03-12T11:00:00Z").await;
    assert_eq!(notices(&world), at_100);
    assert_eq!(world.rows(&[r#""entity": S("notice")"#, "DUE"]).await, [""; 0]);

    advance_to(&world, "2096-04-02T00:00:00Z");
    ingest(400_000, "2096-04-01T11:00:00Z").await;
    assert_eq!(notices(&world).len(), 6, "a new month has new notices");
    invariants::check(&world).await;
}

#[tokio::test]
async fn reaching_both_thresholds_in_one_run_sends_two_notices() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    ingest_records(
        &world,
        &[record(&workspace, "action_delivery", 1_000_000, "2096-03-15T11:00:00Z")],
    )
    .await;
    roll_up(&world, &workspace).await;
    assert_eq!(notices(&world), [notice("ann", "100 %"), notice("ann", "80 %")]);
}

#[tokio::test]
async fn thresholds_depend_on_the_tier_and_enterprise_has_none() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let set_tier = async |tier| {
        let updated = world
            .app
            .store
            .unproven()
            .workspace_set_tier(workspace.parse().unwrap(), tier)
            .await;
        updated.unwrap();
    };
    let ingest = async |count| {
        ingest_records(
            &world,
            &[record(&workspace, "location_event", count, "2096-03-15T11:00:00Z")],
        )
        .await;
        roll_up(&world, &workspace).await;
    };
    set_tier(Tier::Pro).await;
    ingest(3_999_999).await;
    assert_eq!(notices(&world), []);
    set_tier(Tier::Enterprise).await;
    ingest(10_000_000).await;
    assert_eq!(notices(&world), []);
    set_tier(Tier::Pro).await;
    ingest(1).await;
    assert_eq!(notices(&world), [notice("ann", "100 %"), notice("ann", "80 %")]);
    set_tier(Tier::Developer).await;
    ingest(1).await;
    assert_eq!(
        notices(&world).len(),
        4,
        "the smaller limit of the tier has its own notices"
    );
    set_tier(Tier::Pro).await;
    ingest(1).await;
    assert_eq!(notices(&world).len(), 4);
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_notice_that_was_not_sent_stays_due_and_is_sent_once() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    world.joins(&ann, "olga", "owner").await;
    let workspace = ann.workspace().await.id();
    // The first mail, to Ann, fails. The mail to Olga is sent.
    world.mailbox.fault_next(1, Fault::too_many_requests());
    ingest_records(
        &world,
        &[record(&workspace, "location_event", 400_000, "2096-03-15T11:00:00Z")],
    )
    .await;
    roll_up(&world, &workspace).await;
    assert_eq!(notices(&world), [notice("olga", "80 %")]);
    assert_eq!(
        usage_of(&ann).await["location_events"],
        400_000,
        "the roll-up does not depend on mails"
    );
    invariants::check(&world).await;

    let retry = async || {
        let deadline = Deadline::after(Duration::from_secs(60));
        let report = mail_retry::handle(world.app.clone(), serde_json::Map::new(), deadline)
            .await
            .unwrap();
        serde_json::to_value(report).unwrap()["sent"].as_u64().unwrap()
    };
    assert_eq!(retry().await, 0, "the lease of the first attempt has not ended");
    assert_eq!(notices(&world).len(), 1);
    world.pass(61);
    let (one, other) = futures::join!(retry(), retry());
    assert_eq!(one + other, 1, "exactly one run sends the notice");
    let both = [notice("ann", "80 %"), notice("olga", "80 %")];
    assert_eq!(notices(&world), both);
    world.pass(3_600);
    assert_eq!(retry().await, 0);
    roll_up(&world, &workspace).await;
    assert_eq!(notices(&world), both);
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_mail_service_that_does_not_respond_ends_a_run_and_later_runs_continue() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    for number in 0..6 {
        world.joins(&ann, &format!("olga{number}"), "owner").await;
    }
    let workspace = ann.workspace().await.id();
    let retry = async || {
        let deadline = Deadline::after(Duration::from_secs(60));
        let report = mail_retry::handle(world.app.clone(), serde_json::Map::new(), deadline).await;
        serde_json::to_value(report.unwrap()).unwrap()
    };
    let records = [record(&workspace, "location_event", 400_000, "2096-03-15T11:00:00Z")];
    ingest_records(&world, &records).await;
    world.mailbox.set_fault(Some(Fault::Silence { accepted: false }));
    for run in 1..=2 {
        let (before, started) = (world.mailbox.attempts(), Instant::now());
        if run == 1 {
            roll_up(&world, &workspace).await;
        } else {
            assert_eq!(retry().await, json!({"sent": 0, "queued": 1, "failed": 0}));
        }
        assert!(started.elapsed() < SEND_MAX, "run {run}: {:?}", started.elapsed());
        let attempts = world.mailbox.attempts() - before;
        assert!(
            (1..7).contains(&attempts),
            "run {run}: {attempts} attempts for 7 owners"
        );
        assert_eq!(
            retry().await,
            json!({"sent": 0, "queued": 0, "failed": 0}),
            "the notice is claimed"
        );
        world.pass(61);
    }
    assert_eq!(notices(&world), []);
    world.mailbox.set_fault(None);
    assert_eq!(retry().await, json!({"sent": 1, "queued": 0, "failed": 0}));
    let mut expected: Vec<_> = (0..6).map(|number| notice(&format!("olga{number}"), "80 %")).collect();
    expected.insert(0, notice("ann", "80 %"));
    assert_eq!(notices(&world), expected);
    world.pass(3_600);
    assert_eq!(retry().await, json!({"sent": 0, "queued": 0, "failed": 0}));
    invariants::check(&world).await;
}
