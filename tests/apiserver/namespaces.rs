//! Namespaces that are deleted while work is under way in them.

use daemonjob_cluster::{Component, Node, Output};
use serde_json::json;

use crate::support::Trial;
use crate::support::manifest::{daemon_job, hanging, on};

/// A namespace beside that of the test, to be deleted.
struct Doomed<'a> {
    trial: &'a Trial,
    namespace: String,
}

impl<'a> Doomed<'a> {
    fn make(trial: &'a Trial) -> Self {
        let namespace = format!("{}-doomed", trial.namespace);
        trial
            .cluster
            .run(["create", "namespace", &namespace])
            .expect("it is new");
        Self { trial, namespace }
    }

    fn accepts(&self, manifest: &impl ToString) {
        let args = ["apply", "-f", "-", "--namespace", &self.namespace];
        let applied = self.trial.cluster.kubectl_stdin(args, &manifest.to_string());
        applied.and_then(Output::checked).expect("the API server accepts it");
    }

    fn delete(&self) {
        let args = ["delete", "namespace", &self.namespace, "--wait=false"];
        self.trial.cluster.run(args).expect("it is there");
    }

    fn wait_gone(&self) {
        let name = format!("namespace/{}", self.namespace);
        let args = ["wait", "--for=delete", &name, "--timeout=60s"];
        self.trial.cluster.run(args).expect("it goes in time");
    }
}

/// The controllers of Kubernetes, while they stand still.
struct Paused<'a>(&'a Trial);

impl<'a> Paused<'a> {
    fn begin(trial: &'a Trial) -> Self {
        trial
            .cluster
            .pause_component(Component::KubeControllerManager)
            .expect("it runs");
        Self(trial)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        // If it fails, the next test in this world fails for want of it.
        drop(self.0.cluster.resume_component(Component::KubeControllerManager));
    }
}

const MANY: usize = 60;
/// Writes that are on their way at once.
const ON_THEIR_WAY: f64 = 32.0;

fn creates(trial: &Trial, of: &str) -> f64 {
    trial.metric(&format!("daemonjob_job_writes_total{{verb=\"create\"{of}"))
}

fn many_nodes(test: &str) -> Vec<Node> {
    let node = |n| Node::new(&format!("{test}-{n}")).label("test", test);
    (0..MANY).map(node).collect()
}

/// Asserts that the process writes what this asks for, and nothing else.
fn assert_quiet(trial: &Trial) {
    let before = creates(trial, "");
    let mut it = daemon_job("next");
    it["spec"]["selector"] = json!({"os": "linux"});
    trial.accepts(&it);
    trial.wait_for("Complete", "next");
    let nodes = trial.jobs("next").len();
    let nodes = f64::from(u32::try_from(nodes).expect("they are few"));
    assert_eq!(
        creates(trial, "") - before,
        nodes,
        "one Job a node, and nothing for the namespace"
    );
}

#[test]
fn f16_a_namespace_deleted_in_the_middle_of_a_fan_out_goes_and_nothing_is_asked_for_any_more() {
    let trial = Trial::begin();
    trial.add_nodes(&many_nodes("f16"));
    let doomed = Doomed::make(&trial);
    let before = creates(&trial, "");
    doomed.accepts(&on(hanging("it"), "f16"));
    trial.eventually("the first creates", || Ok((creates(&trial, "") > before).then_some(())));
    doomed.delete();
    doomed.wait_gone();
    assert_quiet(&trial);
}

#[test]
fn e33_a_terminating_namespace_is_told_and_not_asked_again() {
    let trial = Trial::begin();
    trial.add_nodes(&many_nodes("e33"));
    let doomed = Doomed::make(&trial);
    doomed.accepts(&on(hanging("it"), "nobody"));
    let refused = || creates(&trial, r#",reason="NamespaceTerminating""#);
    let earlier = refused();
    // Nobody empties the namespace: it stays as it is for a moment when somebody deletes it.
    let paused = Paused::begin(&trial);
    doomed.delete();
    doomed.accepts(&on(hanging("it"), "e33"));
    let told = r#"jsonpath={.status.conditions[?(@.type=="Stalled")].reason}"#;
    let get = ["get", "dj", "it", "--namespace", &doomed.namespace, "-o", told];
    trial.eventually("it to be told", || {
        Ok((trial.cluster.run(get)? == "NamespaceTerminating").then_some(()))
    });
    drop(paused);
    doomed.wait_gone();
    let refused = refused() - earlier;
    assert!((1.0..=ON_THEIR_WAY).contains(&refused), "{refused} for {MANY} nodes");
    assert_quiet(&trial);
}
