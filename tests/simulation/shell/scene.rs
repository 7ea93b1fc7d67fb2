//! A small cluster with a controller, for faults that are made on purpose.

use std::sync::Arc;
use std::time::Duration;

use daemonjob_simulation::{Key, Kind, Request};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::clock;
use crate::cluster::Cluster;
use crate::network::{Rule, Weather};
use crate::objects::all;
use crate::replica::Replica;
use crate::run::in_paused_time;
use crate::settled::unsettled;
use crate::user::admit;
use crate::world::{Actor, Broken, NAMESPACE, World};

/// Three nodes and a controller in fair weather.
pub(crate) struct Scene {
    pub(crate) world: Arc<World>,
    pub(crate) replica: Option<Replica>,
    background: JoinSet<()>,
}

/// Nodes of a scene.
pub(crate) const NODES: u64 = 3;

/// Plays a scene; what the judge complains of fails it.
pub(crate) fn play(scene: impl AsyncFnOnce(&mut Scene)) {
    play_with(1, scene);
}

/// The same with the chances of a seed.
pub(crate) fn play_with(seed: u64, scene: impl AsyncFnOnce(&mut Scene)) {
    let (world, panics) = in_paused_time(async {
        clock::begin(seed);
        let mut stage = Scene::begin(seed);
        stage.world.lock().log.is_whole = true;
        scene(&mut stage).await;
        Arc::clone(&stage.world)
    });
    let state = world.lock();
    assert_eq!(panics, 0);
    assert!(
        state.judge.breaches().is_empty(),
        "{}\n{:#?}",
        state.log.text(),
        state.judge.breaches()
    );
}

impl Scene {
    fn begin(seed: u64) -> Self {
        let world = World::new(seed, Broken::Nothing, Weather::default());
        let create = |kind, object| world.create(Actor::User, kind, object).expect("the name is free");
        for namespace in [NAMESPACE, "daemonjob-system"] {
            create(Kind::Namespace, json!({"metadata": {"name": namespace}}));
        }
        for number in 0..NODES {
            create(
                Kind::Node,
                json!({"metadata": {"name": format!("n{number}")}, "spec": {}}),
            );
        }
        let mut background = JoinSet::new();
        background.spawn(Cluster::new(Arc::clone(&world), seed).run());
        Self {
            world,
            replica: None,
            background,
        }
    }

    /// Starts the controller.
    pub(crate) fn start(&mut self) {
        assert!(!self.background.is_empty());
        self.replica = Some(Replica::start(&self.world, 0, "daemonjob"));
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.replica = None;
    }

    /// Makes a DaemonJob.
    pub(crate) fn add(&self, name: &str, replace: bool, image: &str) {
        let mut daemon_job = json!({
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"replace": replace, "jobTemplate": template(image)},
        });
        admit(&mut daemon_job);
        self.world
            .create(Actor::User, Kind::DaemonJob, daemon_job)
            .expect("the name is free");
    }

    /// Gives it another template.
    pub(crate) fn edit(&self, name: &str, image: &str) {
        self.put(name, &template(image));
    }

    /// Gives it this one.
    pub(crate) fn put(&self, name: &str, template: &Value) {
        let mut daemon_job = json!({"metadata": {}, "spec": {"jobTemplate": template}});
        admit(&mut daemon_job);
        let key = Key::new(Kind::DaemonJob, NAMESPACE, name);
        self.world.patch(Actor::User, &key, daemon_job).expect("it is there");
    }

    pub(crate) fn daemon_job(&self, name: &str) -> Value {
        let state = self.world.lock();
        let found = state.server.get(&Key::new(Kind::DaemonJob, NAMESPACE, name));
        Value::clone(found.expect("it is there"))
    }

    /// How many Jobs there are.
    pub(crate) fn jobs(&self) -> usize {
        all(&self.world.lock().server, Kind::Job).len()
    }

    /// How many Jobs the controller has made and told to go.
    pub(crate) fn made_and_deleted(&self) -> (u64, u64) {
        let state = self.world.lock();
        (state.judge.created, state.judge.deleted.values().sum())
    }

    /// From now on this is done to requests.
    pub(crate) fn rule(&self, rule: impl Fn(&Request) -> Option<Rule> + Send + 'static) {
        self.world.lock().rule = Some(Box::new(rule));
    }

    pub(crate) fn lift_rule(&self) {
        self.world.lock().rule = None;
    }

    /// Waits until something is so, and tells how long that took.
    pub(crate) async fn until(&self, what: &str, longest: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
        let begun = Instant::now();
        let waiting = async {
            while !is_so() {
                self.world.changed.notified().await;
            }
        };
        let waited = timeout(longest, waiting).await;
        assert!(
            waited.is_ok(),
            "{}\n{what}: not within {longest:?}",
            self.world.lock().log.text()
        );
        begun.elapsed()
    }

    /// Waits until all is as it should be.
    pub(crate) async fn settles(&self, longest: Duration) -> Duration {
        self.until("to settle", longest, || unsettled(&self.world.lock().server).is_empty())
            .await
    }

    /// Lets a fault last.
    pub(crate) async fn lasts(&self, time: Duration) {
        sleep(time).await;
    }
}

/// One that runs this image.
pub(crate) fn template(image: &str) -> Value {
    json!({"spec": {
        "backoffLimit": 1,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}},
    }})
}
