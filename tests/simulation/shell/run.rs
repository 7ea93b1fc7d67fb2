//! One seed, from beginning to end.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Once};
use std::time::Duration;

use daemonjob_simulation::Kind;
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::clock;
use crate::cluster::Cluster;
use crate::network::Weather;
use crate::objects::{all, takes_work};
use crate::replica::Replica;
use crate::settled::unsettled;
use crate::user::User;
use crate::world::{Broken, World};

/// How a seed ended.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) seed: u64,
    /// What was wrong; nothing if all was well.
    pub(crate) breaches: Vec<String>,
    /// A sum over all that was said: equal for equal stories.
    pub(crate) sum: u64,
    pub(crate) requests: u64,
    pub(crate) created: u64,
    pub(crate) deleted: BTreeMap<&'static str, u64>,
    /// How long it took in the simulation.
    pub(crate) passed: Duration,
    /// The end of the log, or all of it if that was asked for.
    pub(crate) log: String,
}

thread_local! {
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Panics are caught by the controller; they are counted here all the same (O6).
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
}

/// Plays one seed on this thread.
pub(crate) fn play(seed: u64, broken: Broken, is_whole: bool) -> Story {
    let (mut story, panics) = in_paused_time(tell(seed, broken, is_whole));
    if panics > 0 {
        story.breaches.push(format!("O6: {panics} panics"));
    }
    story
}

/// Hours pass at once where nobody has anything to do. Also tells how often something panicked.
pub(crate) fn in_paused_time<T>(story: impl Future<Output = T>) -> (T, u32) {
    count_panics();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread needs nothing");
    PANICS.set(0);
    let told = runtime.block_on(story);
    (told, PANICS.get())
}

/// After the last edit and the last fault, so long may pass until all is settled: the longest back-off is 300 s.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
/// So long nothing is written once all is settled (O2).
const QUIET: Duration = Duration::from_secs(6 * 60);
/// That only unavailable nodes are left is told after ten minutes.
const UNAVAILABLE: Duration = Duration::from_secs(11 * 60);

async fn tell(seed: u64, broken: Broken, is_whole: bool) -> Story {
    clock::begin(seed);
    let started = Instant::now();
    let mut chance = Rng::with_seed(seed);
    let weather = if chance.u8(..8) == 0 {
        Weather::default()
    } else {
        Weather::bad(&mut chance)
    };
    let world = World::new(seed, broken, weather.without(broken));
    world.lock().log.is_whole = is_whole;
    world.tell(&format!("seed {seed}: {weather:?}"));
    let mut user = User::new(Arc::clone(&world), seed);
    user.begin();
    let mut background = JoinSet::new();
    background.spawn(Cluster::new(Arc::clone(&world), seed).run());

    let times = chance.u32(2..25);
    let (survivor, two_lead) = (chance.u8(..4) == 0, chance.u8(..5) == 0);
    let two_lead = two_lead || broken == Broken::StatusVersion;
    world.lock().judge.two_lead = two_lead;
    let leases = if two_lead {
        ["daemonjob", "rival"]
    } else {
        ["daemonjob"; 2]
    };
    let mut replicas = [Some(Replica::start(&world, 0, leases[0])), None];
    if two_lead || chance.bool() {
        replicas[1] = Some(Replica::start(&world, 1, leases[1]));
    }
    let crashes = disturb(&world, &mut chance, &mut replicas, leases);
    tokio::select! {
        biased;
        () = user.act(times) => {}
        () = crashes => {}
    }
    world.tell("-- calm");
    world.lock().weather = Weather::default();
    // Who goes on: the one that has seen everything, or a new one.
    if two_lead && let Some(rival) = replicas[1].take() {
        rival.end().await;
    }
    if !survivor || replicas.iter().all(Option::is_none) {
        replicas = [None, None];
        replicas[0] = Some(Replica::start(&world, 2, "daemonjob"));
    }
    let late = settle(&world, &mut user).await;
    finish(&world, seed, started, late)
}

/// Kills replicas and starts them again, at any moment.
pub(crate) async fn disturb(
    world: &Arc<World>,
    chance: &mut Rng,
    replicas: &mut [Option<Replica>; 2],
    leases: [&str; 2],
) {
    let pause = [5, 20, 60, 600][chance.usize(..4)];
    loop {
        sleep(Duration::from_millis(chance.u64(..pause * 1000))).await;
        let number = chance.usize(..2);
        let Some(replica) = replicas[number].take() else {
            continue;
        };
        if chance.bool() {
            world.tell(&format!("-- replica {number} is killed"));
            drop(replica);
        } else {
            world.tell(&format!("-- replica {number} is told to end"));
            replica.end().await;
        }
        sleep(Duration::from_millis(chance.u64(..20_000))).await;
        world.tell(&format!("-- replica {number} starts"));
        replicas[number] = Some(Replica::start(world, number, leases[number]));
    }
}

/// Waits until all is settled (O1) and sees that it stays so without a write (O2).
async fn settle(world: &Arc<World>, user: &mut User) -> Vec<String> {
    let is_left_unavailable = user.chance.u8(..5) == 0;
    let deadline = Instant::now() + PATIENCE;
    loop {
        user.make_missing();
        user.calm_down(is_left_unavailable);
        sleep(Duration::from_secs(15)).await;
        let open = unsettled(&world.lock().server);
        if open.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            return open.into_iter().map(|open| format!("O1: {open}")).collect();
        }
    }
    let is_waiting = all(&world.lock().server, Kind::Node)
        .iter()
        .any(|(_, node)| !takes_work(node));
    // Statuses are coalesced, and the last Event is on its way.
    sleep(if is_waiting {
        UNAVAILABLE
    } else {
        Duration::from_secs(60)
    })
    .await;
    let before = world.lock().judge.writes;
    world.tell("-- settled");
    sleep(QUIET).await;
    let state = world.lock();
    let mut late: Vec<String> = unsettled(&state.server)
        .iter()
        .map(|open| format!("O1: not any more: {open}"))
        .collect();
    late.extend(state.judge.untrue(&state.server));
    if state.judge.writes != before {
        late.push(format!(
            "O2: {} writes after all was settled",
            state.judge.writes - before
        ));
    }
    late
}

fn finish(world: &Arc<World>, seed: u64, started: Instant, late: Vec<String>) -> Story {
    let state = world.lock();
    let mut breaches = state.judge.breaches().to_vec();
    breaches.extend(late);
    Story {
        seed,
        breaches,
        sum: state.log.sum(),
        requests: state.log.requests,
        created: state.judge.created,
        deleted: state.judge.deleted.clone(),
        passed: started.elapsed(),
        log: state.log.text(),
    }
}
