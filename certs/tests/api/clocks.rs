//! F28: one replica's wall clock jumps, in each stage of a rotation; the other one's is right.

use std::time::Duration;

use daemonjob_certs::{Authority, SelfSigned, TickReport};
use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde_json::json;

use crate::fake::{Fake, SECRET};
use crate::replica;

const DAY: i64 = 24 * 3600;

/// The days after an authority is made on which its successor is due.
const DUE: i64 = 244;

fn start() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().expect("a time")
}

/// A cluster with two replicas, and the time of those whose clock is right.
struct World {
    fake: Fake,
    right: SelfSigned,
    wrong: SelfSigned,
    now: Timestamp,
}

impl World {
    async fn settled() -> Self {
        let fake = Fake::installed();
        let (right, wrong) = (replica(&fake).0, replica(&fake).0);
        let mut world = Self {
            fake,
            right,
            wrong,
            now: start(),
        };
        for _ in 0..3 {
            world.round(SignedDuration::ZERO).await;
        }
        world
    }

    /// A look of each; the clock of one is off.
    async fn round(&mut self, off: SignedDuration) -> [TickReport; 2] {
        self.now += Duration::from_secs(60);
        let wrong = self.wrong.tick(self.now + off).await;
        let right = self.right.tick(self.now).await;
        [right, wrong]
    }

    /// Both clocks are right for some rounds.
    async fn rounds(&mut self, count: u32) {
        for _ in 0..count {
            let reports = self.round(SignedDuration::ZERO).await;
            assert!(
                reports.iter().all(TickReport::is_verified),
                "at {}: {reports:?}",
                self.now
            );
        }
    }

    /// The clock is right again: soon nothing is written any more, and both are accepted.
    async fn settles(&mut self) {
        for _ in 0..5 {
            self.round(SignedDuration::ZERO).await;
        }
        self.rounds(40).await;
        self.writes_of_the_secret();
        self.rounds(5).await;
        assert_eq!(self.writes_of_the_secret(), 0);
    }

    fn writes_of_the_secret(&self) -> usize {
        let writes = self.fake.take_writes();
        writes.iter().filter(|write| write.contains(SECRET)).count()
    }
}

/// A stage of a rotation.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Settled,
    Published,
    Promoted,
    Retired,
}

impl Stage {
    async fn reached(self) -> World {
        let mut world = World::settled().await;
        if matches!(self, Self::Settled) {
            return world;
        }
        world.now = start() + SignedDuration::from_secs(DUE * DAY);
        world.rounds(5).await;
        if matches!(self, Self::Published) {
            return world;
        }
        while world.fake.object(SECRET)["data"].get("next.crt").is_some() {
            world.rounds(1).await;
        }
        if matches!(self, Self::Retired) {
            world.now += SignedDuration::from_secs(3 * DAY);
            world.rounds(2).await;
        }
        world
    }
}

/// Somebody restores an old Secret: no clock is wrong, but that cannot be told.
#[tokio::test]
async fn f29_an_expired_authority_in_the_secret_is_replaced_after_the_soak_and_harms_no_handshake() {
    let mut world = World::settled().await;
    let expired = Authority::generate(start() - SignedDuration::from_secs(400 * DAY)).expect("an authority");
    let encode = |text: &str| BASE64.encode(text.as_bytes());
    let data = json!({
        "current.crt": encode(&expired.anchor().pem()),
        "current.key": encode(&expired.key_pem()),
    });
    world.fake.edit(SECRET, |secret| secret["data"] = data.clone());
    world.writes_of_the_secret();
    world.rounds(29).await;
    assert_eq!(world.writes_of_the_secret(), 0);
    world.rounds(5).await;
    assert_eq!(
        world.writes_of_the_secret(),
        1,
        "the other replica uses what the first made"
    );
    world.rounds(40).await;
    assert_eq!(world.writes_of_the_secret(), 0);

    world.fake.edit(SECRET, |secret| secret["data"] = data.clone());
    world.writes_of_the_secret();
    world.wrong = replica(&world.fake).0;
    world.round(SignedDuration::ZERO).await;
    assert_eq!(
        world.writes_of_the_secret(),
        1,
        "a replica that starts repairs it at once"
    );
    world.rounds(5).await;
}

#[rstest]
#[tokio::test]
async fn f28_a_clock_that_jumps_harms_no_handshake_and_makes_no_storm(
    #[values(Stage::Settled, Stage::Published, Stage::Promoted, Stage::Retired)] stage: Stage,
    #[values(1, -1, 30, -30, 366, -366, -20_000)] days: i64,
) {
    let mut world = stage.reached().await;
    world.writes_of_the_secret();
    for _ in 0..60 {
        let [right, _] = world.round(SignedDuration::from_secs(days * DAY)).await;
        assert!(right.is_verified(), "at {}: {right:?}", world.now);
    }
    let written = world.writes_of_the_secret();
    assert!(written <= 3, "{written} writes in an hour");
    world.settles().await;
}
