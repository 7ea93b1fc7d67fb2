//! O3: a controller that is killed with any of its writes leaves what an undisturbed one leaves, by the same creates and
//! deletes.

use std::collections::BTreeMap;

use daemonjob_cluster::{Call, is_soak, until};
use serde_json::{Value, json};

use crate::proxy::{Moment, is_write, kind};
use crate::scene::Scene;
use crate::support::DEADLINE;
use crate::support::manifest::{changed, daemon_job, expiring, failing, on, replacing};
use crate::support::trial::show;

const TEST: &str = "kills";
const NODES: usize = 3;

/// Something that is done to a DaemonJob, and what it comes to.
struct Play {
    /// What is there before.
    setting: Option<Value>,
    /// The counters of that.
    before: &'static str,
    /// What happens while the controller dies.
    act: fn(&Scene, &str),
    /// Whether the status tells that it has been taken up, where the counters are those of before.
    is_taken_up: fn(&Value) -> bool,
    /// The counters of that.
    after: &'static str,
    /// Jobs that are there in the end.
    jobs: usize,
}

/// What a run of a play leaves, without what no two runs share.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// The hash of the Job of each node.
    jobs: BTreeMap<String, String>,
    /// Creates and deletes that the API server has done, by Job.
    creates: BTreeMap<String, usize>,
    deletes: BTreeMap<String, usize>,
    /// Everything that the status says but when.
    status: Value,
}

fn named(mut it: Value, name: &str) -> Value {
    it["metadata"]["name"] = json!(name);
    it
}

/// The calls of a kind that succeeded, by the Job without the name of its DaemonJob.
fn counts(calls: &[Call], name: &str, of: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let done = |call: &&Call| kind(call) == of && (200..300).contains(&call.code);
    for call in calls.iter().filter(done) {
        let (job, _) = call.name.rsplit_once('-').expect("a name ends with its hash");
        let node = job.trim_start_matches(name).trim_start_matches('-');
        *counts.entry(node.to_owned()).or_default() += 1;
    }
    counts
}

/// A status without its times, and without the names of Jobs.
fn timeless(mut status: Value) -> Value {
    for field in ["startTime", "completionTime"] {
        if !status[field].is_null() {
            status[field] = json!("set");
        }
    }
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = json!("set");
    }
    for failure in status["failures"].as_array_mut().into_iter().flatten() {
        failure["job"] = json!("set");
    }
    status
}

impl Play {
    /// Plays it once; the controller is killed with its k-th write, or not at all.
    /// Returns what it leaves, and how many writes the controller got done.
    fn run(&self, scene: &mut Scene, name: &str, killing: Option<(usize, Moment)>) -> (Outcome, usize) {
        let mark = scene.proxy.mark();
        if let Some(setting) = &self.setting {
            scene.accepts(&named(setting.clone(), name));
            scene.shows(name, self.before);
            scene.assert_quiet();
        }
        let begun = scene.proxy.mark();
        if let Some((k, moment)) = killing {
            let pid = scene.controller().pid();
            scene.proxy.kill_with_write(k, moment, pid);
        }
        (self.act)(scene, name);
        if let Some((k, _)) = killing {
            Self::wait_killed(scene, name, k);
        }
        scene.eventually("it to be taken up", || {
            Ok((self.is_taken_up)(&scene.daemon_job(name)["status"]).then_some(()))
        });
        let it = scene.shows(name, self.after);
        scene.eventually("the Jobs that stay", || {
            Ok((scene.jobs(name).len() == self.jobs).then_some(()))
        });
        scene.assert_quiet();
        let jobs = scene
            .jobs(name)
            .into_iter()
            .map(|(node, job)| (node, job.hash))
            .collect();
        let calls = scene.proxy.since(mark);
        let outcome = Outcome {
            jobs,
            creates: counts(&calls, name, "create jobs"),
            deletes: counts(&calls, name, "delete jobs"),
            status: timeless(it["status"].clone()),
        };
        let writes = scene.proxy.since(begun).iter().filter(|call| is_write(call)).count();
        (outcome, writes)
    }

    /// Waits until the controller is dead, or has done with fewer writes than it was to die with; then it is killed
    /// all the same. Starts another one.
    fn wait_killed(scene: &mut Scene, name: &str, k: usize) {
        until(&format!("the end with write {k} of {name}"), DEADLINE, || {
            let is_done = scene.renewals_since_the_last_write() >= 3;
            Ok((is_done || !scene.controller().is_running()).then_some(()))
        })
        .expect("it dies, or has nothing more to write");
        scene.take().kill();
        scene.proxy.spare();
        scene.start();
    }
}

/// Plays undisturbed, and then with each k.
fn assert_the_same_however_it_is_killed(play: &Play) {
    let mut scene = Scene::begin();
    scene.nodes(TEST, NODES);
    let (undisturbed, writes) = play.run(&mut scene, "undisturbed", None);
    show(&format!("undisturbed, {writes} writes: {undisturbed:#?}"));
    for k in 1..=writes {
        let moments = [Moment::BeforeTheAnswer, Moment::AfterTheAnswer];
        // Each k always; both moments of it only on request.
        let moments = if is_soak() {
            &moments[..]
        } else {
            &moments[k % 2..=k % 2]
        };
        for moment in moments {
            let name = format!("k{k}-{}", *moment as u8);
            let (outcome, _) = play.run(&mut scene, &name, Some((k, *moment)));
            assert_eq!(outcome, undisturbed, "killed with write {k}, {moment:?}");
        }
    }
}

#[test]
fn f1_killed_with_any_write_of_a_fan_out_it_ends_as_undisturbed() {
    assert_the_same_however_it_is_killed(&Play {
        setting: None,
        before: "",
        act: |scene, name| drop(scene.accepts(&named(on(daemon_job("it"), TEST), name))),
        is_taken_up: |_| true,
        after: "3 desired, 3 succeeded",
        jobs: NODES,
    });
}

#[test]
fn f1_f2_killed_with_any_write_of_a_replacement_it_ends_as_undisturbed() {
    assert_the_same_however_it_is_killed(&Play {
        setting: Some(on(daemon_job("it"), TEST)),
        before: "3 desired, 3 succeeded",
        act: |scene, name| drop(scene.accepts(&named(replacing(changed(on(daemon_job("it"), TEST))), name))),
        is_taken_up: |_| true,
        after: "3 desired, 3 succeeded",
        jobs: NODES,
    });
}

#[test]
fn f1_e21_killed_with_any_write_of_a_clean_up_it_ends_as_undisturbed() {
    assert_the_same_however_it_is_killed(&Play {
        setting: None,
        before: "",
        act: |scene, name| drop(scene.accepts(&named(expiring(on(daemon_job("it"), TEST), 0), name))),
        is_taken_up: |_| true,
        after: "3 desired, 3 succeeded",
        jobs: 0,
    });
}

#[test]
fn f1_e45_killed_with_any_write_of_a_retry_it_ends_as_undisturbed() {
    assert_the_same_however_it_is_killed(&Play {
        setting: Some(on(failing("it"), TEST)),
        before: "3 desired, 3 failed",
        act: |scene, name| {
            scene.run(&format!("annotate dj {name} daemon.justk8s.com/retry=again"));
        },
        is_taken_up: |status| status["retry"] == json!({"token": "again"}),
        after: "3 desired, 3 failed",
        jobs: NODES,
    });
}
