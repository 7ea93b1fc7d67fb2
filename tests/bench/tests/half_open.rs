//! F34: connections that are opened and go nowhere keep no review waiting.
//!
//! The webhook is a process of its own, with a limit of open files of its own; the attacker is this one.
//! What a genuine review takes is printed and bounded loosely: the gate is in `make bench`, on a quiet machine.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "clippy.toml allows the first in tests, which does not reach their helper functions; the figures are for the notes"
)]

use std::path::Path;
use std::time::Duration;

use daemonjob_bench::{
    Arm, Flood, Genuine, KINDS, Kind, Persistence, Sample, Served, Took, allow_files, percentile, request,
};
use daemonjob_webhook::Endpoint;
use tokio::time::{Instant, sleep, timeout};

/// The attackers.
const NUMBER: usize = 10_000;
/// Files of this process beside them.
const OTHER_FILES: u64 = 200;
/// More than the connections that the webhook keeps open, so that all of them are the attackers'.
const IDLERS: usize = 1_100;
/// What an API server keeps open, and a few.
const KEPT: usize = 8;
/// As long as a handshake may take: one that waits for another one's end takes longer.
const PROMPT: Duration = Duration::from_secs(3);
/// Long enough for a loaded machine; nothing waits for it to pass.
const DEADLINE: Duration = Duration::from_secs(60);

fn webhook(files: Option<u64>) -> Served {
    Served::start(Path::new(env!("CARGO_BIN_EXE_daemonjob-bench")), Arm::Webhook, files).unwrap()
}

fn review() -> Vec<u8> {
    request(Sample::Small, Endpoint::Validate)
}

/// As many attackers as wanted, or as this process may open.
fn attackers(wanted: usize) -> usize {
    let files = allow_files(wanted as u64 + OTHER_FILES).unwrap();
    wanted.min(usize::try_from(files - OTHER_FILES).unwrap())
}

fn assert_prompt(took: &Took, flood: &Flood) {
    for (name, took) in [("new", &took.new), ("kept", &took.kept)] {
        let (p99, longest) = (percentile(took, 0.99).unwrap(), took.last().unwrap());
        println!(
            "{flood:?}, {} at most: {} reviews on {name} connections, p99 {p99:?}, longest {longest:?}",
            flood.most_held(),
            took.len()
        );
        assert!(*longest < PROMPT, "{name}: {longest:?}");
    }
}

/// A review on a connection of its own, in the time that a handshake may take.
async fn is_answered(webhook: &Served) -> bool {
    let asked = async { webhook.client().connect().await?.ask(&review()).await.map(|_| ()) };
    matches!(timeout(PROMPT, asked).await, Ok(Ok(())))
}

#[tokio::test]
async fn f34_10000_half_open_connections_keep_no_review_waiting() {
    let number = attackers(NUMBER);
    let webhook = webhook(None);
    let mut genuine = Genuine::begin(webhook.client(), KEPT, review()).await.unwrap();
    let flood = Flood::begin(webhook.client(), number, &KINDS, Persistence::Once).unwrap();
    let took = genuine.run(100, || flood.tried() == number).await.unwrap();
    assert_prompt(&took, &flood);
    let took = genuine.run(100, || true).await.unwrap();
    assert_prompt(&took, &flood);
}

/// Of the strangers that idle, as many stay as there is room for; each new one costs an older one its place.
#[tokio::test]
async fn f34_strangers_that_shake_hands_and_idle_lock_nobody_out() {
    let number = attackers(IDLERS);
    let webhook = webhook(None);
    let mut genuine = Genuine::begin(webhook.client(), KEPT, review()).await.unwrap();
    let flood = Flood::begin(webhook.client(), number, &[Kind::Idle], Persistence::Once).unwrap();
    let took = genuine.run(100, || flood.tried() == number).await.unwrap();
    assert_prompt(&took, &flood);
    let took = genuine.run(100, || true).await.unwrap();
    assert_prompt(&took, &flood);
    assert!(flood.held() > number / 2, "they still idle: {flood:?}");
}

/// As containers get it from some runtimes, but less: all descriptors would be gone before a table of 1,024 is full.
#[tokio::test]
async fn f34_a_process_that_may_open_few_files_keeps_fewer_connections() {
    let webhook = webhook(Some(400));
    let mut genuine = Genuine::begin(webhook.client(), KEPT, review()).await.unwrap();
    let flood = Flood::begin(webhook.client(), 450, &[Kind::Idle], Persistence::Once).unwrap();
    let begin = Instant::now();
    // In a table this small, one that is new would not have the time for its review while they are opened.
    while flood.tried() < 450 || flood.held() > 80 {
        assert!(begin.elapsed() < DEADLINE, "all are tried, and few stay: {flood:?}");
        sleep(Duration::from_millis(10)).await;
    }
    let took = genuine.run(100, || true).await.unwrap();
    assert_prompt(&took, &flood);
    assert!(flood.held() > 30, "they still idle: {flood:?}");
}

#[tokio::test]
async fn f34_the_accept_loop_survives_running_out_of_file_descriptors() {
    let webhook = webhook(None);
    let mut kept = webhook.client().connect().await.unwrap();
    kept.ask(&review()).await.unwrap();
    webhook.limit_files(100).unwrap();
    let flood = Flood::begin(webhook.client(), 200, &[Kind::Idle], Persistence::Once).unwrap();
    let begin = Instant::now();
    // No handshake, since there is no descriptor for its socket.
    while is_answered(&webhook).await {
        assert!(begin.elapsed() < DEADLINE, "its descriptors do not run out: {flood:?}");
    }
    assert!(kept.ask(&review()).await.is_ok(), "who is in is served");

    drop(flood);
    while !is_answered(&webhook).await {
        assert!(begin.elapsed() < DEADLINE, "it answers again");
        sleep(Duration::from_millis(10)).await;
    }
}
