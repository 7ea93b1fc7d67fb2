//! The largest cluster that Kubernetes promises to carry, with many DaemonJobs: the memory of the process.

use std::time::{Duration, Instant};

use daemonjob_cluster::{Component, ExtraArg, Node, Options, memory_of, until};
use serde_json::{Value, json};

use crate::scene::NAMESPACE;
use crate::support::DEADLINE;
use crate::support::manifest::{daemon_job, on};
use crate::support::operator::{Operator, free_port};
use crate::support::trial::{items, show};
use crate::support::world::{Duty, IDENTITY, World};

const TEST: &str = "full";
/// In KiB.
const MOST: u64 = 256 * 1024;

/// Nodes and DaemonJobs: `F37=500x10` asks for fewer.
fn size() -> (usize, usize) {
    let asked = std::env::var_os("F37").and_then(|value| {
        let text = value.into_string().ok()?;
        let (nodes, daemon_jobs) = text.split_once('x')?;
        Some((nodes.parse().ok()?, daemon_jobs.parse().ok()?))
    });
    asked.unwrap_or((5000, 50))
}

fn memory(operator: &Operator, name: &str) -> u64 {
    memory_of(operator.pid(), name).expect("it runs")
}

fn start(world: &World) -> Operator {
    let flags = ["--webhook=false", "--writes-per-second=0"];
    let controller = world.spawn_with(&world.kubeconfig, IDENTITY, free_port(), &flags);
    controller.wait_leading(DEADLINE).expect("it leads");
    controller
}

/// Waits until so many Jobs were made. The controller tells it: to list all DaemonJobs again and again takes the API
/// server longer than to make Jobs.
fn wait_all_made(controller: &Operator, jobs: usize, deadline: Duration) {
    let made = r#"daemonjob_job_writes_total{verb="create",reason="Starting",result="success"}"#;
    until("all Jobs to be made", deadline, || {
        // A count of less than 2⁵³.
        Ok((controller.metric(made)? as usize >= jobs).then_some(()))
    })
    .expect("it goes on");
}

/// Waits until each status counts a Job on each node.
fn wait_all_active(world: &World, generation: u64, nodes: usize, daemon_jobs: usize, deadline: Duration) {
    until("all Jobs", deadline, || {
        let list = world.cluster.json(["get", "dj", "--namespace", NAMESPACE])?;
        let is_active = |it: &&Value| {
            it["status"]["active"] == nodes && it["status"]["observedGeneration"].as_u64() >= Some(generation)
        };
        Ok((items(&list).iter().filter(is_active).count() == daemon_jobs).then_some(()))
    })
    .expect("all are made");
}

/// Without the controller of Jobs: with their Pods, 250,000 Jobs would take hours. In a debug build the second opinion
/// on each plan takes most of the time.
#[test]
#[ignore = "half an hour in a release build, and 10 GB of memory; F37=5000x4 takes five minutes in any"]
fn f37_5000_nodes_and_50_daemonjobs_take_at_most_256_mib() {
    const HOUR: Duration = Duration::from_secs(3600);
    let (nodes, daemon_jobs) = size();
    let options = Options {
        nodes: Node::several(nodes)
            .into_iter()
            .map(|node| node.label("test", TEST))
            .collect(),
        extra_args: vec![ExtraArg::new(
            Component::KubeControllerManager,
            "controllers",
            "*,-job-controller",
        )],
        ..Options::default()
    };
    let world = World::with(Duty::Webhook, options);
    world
        .cluster
        .run(["create", "namespace", NAMESPACE])
        .expect("it is new");
    let controller = start(&world);
    let idle = memory(&controller, "VmRSS");
    let manifests: Vec<Value> = (0..daemon_jobs)
        .map(|n| on(daemon_job(&format!("it-{n}")), TEST))
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests});
    let begun = Instant::now();
    let applied = world
        .cluster
        .kubectl_stdin(["apply", "--namespace", NAMESPACE, "-f", "-"], &list.to_string());
    applied.and_then(|output| output.checked()).expect("all are accepted");
    wait_all_made(&controller, nodes * daemon_jobs, HOUR);
    let made_in = begun.elapsed();
    wait_all_active(&world, 1, nodes, daemon_jobs, HOUR);
    let (now, peak) = (memory(&controller, "VmRSS"), memory(&controller, "VmHWM"));
    controller.kill();

    // A new leader lists them all.
    let begun = Instant::now();
    let controller = start(&world);
    let patch = [
        "patch",
        "dj",
        "it-0",
        "--namespace",
        NAMESPACE,
        "--type=merge",
        "-p",
        r#"{"spec":{"replace":true}}"#,
    ];
    world.cluster.run(patch).expect("it is there");
    until("the new leader to plan", HOUR, || {
        let it = world.cluster.json(["get", "dj", "it-0", "--namespace", NAMESPACE])?;
        Ok((it["status"]["observedGeneration"] == 2).then_some(()))
    })
    .expect("it reads all of them");
    let (again, peak_again) = (memory(&controller, "VmRSS"), memory(&controller, "VmHWM"));
    show(&format!(
        "{nodes} nodes and {daemon_jobs} DaemonJobs: all Jobs made in {made_in:?}, {idle} KiB before, {now} after, {peak} at \
         most; a new leader read them in {:?}, {again} KiB, {peak_again} at most",
        begun.elapsed()
    ));
    assert!(peak.max(peak_again) <= MOST, "{peak} and {peak_again} KiB");
}
