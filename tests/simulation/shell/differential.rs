//! O3: the same edits with crashes and in bad weather, each of them once the last one is through: the same Jobs are made
//! and deleted as often as in fair weather without a crash.

use std::collections::BTreeMap;
use std::time::Duration;

use daemonjob_core::names::RETRY;
use daemonjob_simulation::{Key, Kind};
use fastrand::Rng;
use serde_json::json;
use tokio::time::timeout;

use crate::network::Weather;
use crate::objects::{all, daemonjob_label, hash};
use crate::replica::Replica;
use crate::run::disturb;
use crate::scene::{Scene, play_with, template};
use crate::world::{Actor, NAMESPACE};

/// Stories in bad weather.
const STORIES: u64 = 200;
/// After an edit it storms for as long at most.
const STORM: u64 = 60;
/// Once all is calm, the longest back-off is 300 s.
const PATIENCE: Duration = Duration::from_mins(20);
const LEASES: [&str; 2] = ["daemonjob"; 2];

/// What a story comes to.
#[derive(Debug, Default, PartialEq)]
struct Account {
    /// How often each Job was made, and how often it went.
    made_and_gone: BTreeMap<String, (u32, u32)>,
    /// The Jobs in the end, by name, with their hashes.
    left: BTreeMap<String, String>,
    /// By DaemonJob: how many nodes it desires, and how many of them have finished.
    finished: BTreeMap<String, (u64, u64)>,
}

impl Account {
    fn of(scene: &Scene) -> Self {
        let state = scene.world.lock();
        let mut account = Self::default();
        for change in state.server.log() {
            if change.key.kind == Kind::Job {
                let counts = account.made_and_gone.entry(change.key.name.clone()).or_default();
                counts.0 += u32::from(change.before.is_none());
                counts.1 += u32::from(change.after.is_none());
            }
        }
        for (key, job) in all(&state.server, Kind::Job) {
            account.left.insert(
                format!("{} of {}", key.name, daemonjob_label(&job)),
                hash(&job).to_owned(),
            );
        }
        for (key, daemon_job) in all(&state.server, Kind::DaemonJob) {
            let count = |field: &str| daemon_job["status"][field].as_u64().unwrap_or_default();
            let finished = count("succeeded") + count("failed");
            account.finished.insert(key.name, (count("desired"), finished));
        }
        account
    }
}

/// What is done, in this order.
const EDITS: [fn(&Scene); 6] = [
    |scene| scene.add("one", true, "a"),
    |scene| scene.edit("one", "b"),
    |scene| {
        let key = Key::new(Kind::DaemonJob, NAMESPACE, "one");
        let retry = json!({"metadata": {"annotations": {RETRY: "again n0,n2"}}});
        drop(scene.world.patch(Actor::User, &key, retry));
    },
    |scene| scene.add("two", false, "a"),
    // This one replaces nothing.
    |scene| scene.edit("two", "b"),
    |scene| {
        let mut expiring = template("c");
        expiring["spec"]["ttlSecondsAfterFinished"] = json!(5);
        scene.put("one", &expiring);
    },
];

/// Plays the edits; with a chance, each of them meets a storm.
async fn tell(scene: &mut Scene, mut chance: Option<Rng>) -> Account {
    let mut replicas = [Some(Replica::start(&scene.world, 0, LEASES[0])), None];
    for edit in EDITS {
        edit(scene);
        if let Some(chance) = &mut chance {
            scene.world.lock().weather = Weather::bad(chance);
            let storm = Duration::from_secs(chance.u64(..STORM));
            let storming = disturb(&scene.world, chance, &mut replicas, LEASES);
            assert!(timeout(storm, storming).await.is_err(), "it goes on until it is ended");
            scene.world.lock().weather = Weather::default();
            if replicas.iter().all(Option::is_none) {
                replicas[1] = Some(Replica::start(&scene.world, 1, LEASES[1]));
            }
        }
        scene.settles(PATIENCE).await;
    }
    scene
        .until("the Jobs of one to expire", PATIENCE, || scene.jobs() == 3)
        .await;
    scene.settles(PATIENCE).await;
    Account::of(scene)
}

/// Also how often a replica was killed, and how often a Job was there already that was to be made.
fn account(seed: u64, chance: Option<Rng>) -> (Account, [usize; 2]) {
    let (mut account, mut met) = (Account::default(), [0; 2]);
    play_with(seed, async |scene| {
        account = tell(scene, chance).await;
        let log = scene.world.lock().log.text();
        let is_collision = |line: &&str| line.contains("create jobs/") && line.ends_with("-> 409");
        met = [
            log.matches("is killed").count(),
            log.lines().filter(is_collision).count(),
        ];
    });
    (account, met)
}

#[test]
fn o3_crashes_and_bad_weather_change_neither_the_end_nor_what_is_made_and_deleted() {
    let (undisturbed, met) = account(0, None);
    assert_eq!(met, [0, 0]);
    let made: u32 = undisturbed.made_and_gone.values().map(|(made, _)| made).sum();
    // Three of two, two replacements, and a retry of two nodes.
    assert_eq!(made, 3 + 3 + 2 + 3 + 3, "{undisturbed:#?}");
    let (mut killed, mut collided) = (0, 0);
    for seed in 0..STORIES {
        let (disturbed, met) = account(seed, Some(Rng::with_seed(seed)));
        assert_eq!(disturbed, undisturbed, "seed {seed}");
        killed += met[0];
        collided += met[1];
    }
    // Else nothing was disturbed.
    assert!(killed > 200 && collided > 20, "{killed} killed, {collided} collided");
}
