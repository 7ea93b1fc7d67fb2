//! What is shown, in which order, and what to notice.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::screen::Screen;
use crate::stage::Stage;

/// Objects in one table per kind.
const TABLE: &str = "kubectl get dj,jobs";

/// Before anything is built or started.
pub(crate) fn opening(screen: &Screen) -> Result<()> {
    screen.title("DaemonJob: one Job on every node")?;
    screen.say(
        "A real Kubernetes control plane on this machine, on loopback and without containers. \
         Its nodes are played: a Pod runs nothing and succeeds at once, so `kubectl logs` has nothing to show. \
         Ctrl-C at any time ends and removes everything.",
    )
}

/// All scenes.
pub(crate) fn play(stage: &Stage<'_>) -> Result<()> {
    sample(stage)?;
    uncordoned(stage)?;
    stamped(stage)?;
    changed(stage)?;
    replaced(stage)?;
    selected(stage)?;
    ignored(stage)?;
    refused(stage)?;
    deleted(stage)
}

fn sample(stage: &Stage<'_>) -> Result<()> {
    stage.screen.title("01  One Job on every node")?;
    stage.show("kubectl apply -f examples/01-sample.yaml")?;
    stage.show("kubectl wait dj/daemonjob-sample --for=jsonpath={.status.succeeded}=4 --timeout=60s")?;
    stage.show(TABLE)?;
    stage
        .show(r#"kubectl get dj daemonjob-sample -o jsonpath='{.status.waitingNodes}{"\n"}{.status.skippedNodes}'"#)?;
    stage.screen.notice(
        "Four nodes ran it. resting waits because it is cordoned; gpu is skipped and not counted, because the \
         template does not tolerate its taint.",
    )
}

fn uncordoned(stage: &Stage<'_>) -> Result<()> {
    stage.screen.title("01  A waiting node starts by itself")?;
    stage.show("kubectl uncordon resting")?;
    stage.show("kubectl wait dj/daemonjob-sample --for=condition=Complete --timeout=60s")?;
    stage.show(TABLE)?;
    stage.show(r#"kubectl get dj -o jsonpath='{range .items[*].status.conditions[*]}{.type}={.status} {end}'"#)?;
    stage.screen.notice(
        "Nobody touched the DaemonJob: the node came back, its Job ran, and now the condition Complete is True.",
    )
}

fn stamped(stage: &Stage<'_>) -> Result<()> {
    stage.screen.title("01  The template hash")?;
    stage.show(
        r"kubectl get dj,jobs -o 'custom-columns=NAME:.metadata.name,HASH:.metadata.annotations.daemon\.justk8s\.com/template-hash'",
    )?;
    stage.screen.notice(
        "The webhook stamped the hash of the template on the DaemonJob, and each Job carries the hash that it was \
         made from; `daemonjob hash examples/01-sample.yaml` prints the same.",
    )
}

fn changed(stage: &Stage<'_>) -> Result<()> {
    stage.screen.title("02a  A changed template, `replace` absent")?;
    let before = job_uids(stage)?;
    stage.show("kubectl apply -f examples/02a-changed.yaml")?;
    stage.show("kubectl wait dj/daemonjob-sample --for=jsonpath={.status.outdated}=5 --timeout=60s")?;
    stage.show(TABLE)?;
    ensure!(
        job_uids(stage)? == before,
        "a Job was made anew although `replace` is absent"
    );
    stage.screen.notice(
        "The Jobs are the same as before (compared by uid): finished work is not run again. The status counts the \
         five nodes that ran the old template as outdated.",
    )
}

fn replaced(stage: &Stage<'_>) -> Result<()> {
    stage.screen.title("02b  The same template, `replace: true`")?;
    let before = job_uids(stage)?;
    stage.show("kubectl apply -f examples/02b-replace.yaml")?;
    stage.show("kubectl wait dj/daemonjob-sample --for=jsonpath={.status.outdated}=0 --timeout=60s")?;
    stage.show("kubectl wait dj/daemonjob-sample --for=condition=Complete --timeout=60s")?;
    stage.show(TABLE)?;
    let after = job_uids(stage)?;
    ensure!(after.len() == 5, "there are {} Jobs instead of 5", after.len());
    ensure!(
        after.is_disjoint(&before),
        "a Job was not made anew although `replace` is true"
    );
    stage.screen.notice(
        "Every Job is another one (compared by uid) under the name of the old: the name of a node's Job never \
         changes, so the old one and its Pod are gone before the new one starts.",
    )
}

fn selected(stage: &Stage<'_>) -> Result<()> {
    stage.screen.title("03  Only the nodes with a label")?;
    stage.show("kubectl apply -f examples/03-selector.yaml")?;
    stage.show("kubectl wait dj/daemonjob-selector --for=condition=Complete --timeout=60s")?;
    stage.show(TABLE)?;
    stage
        .screen
        .notice("`selector: {os: linux}` runs on linux-a, linux-b and edge, and nowhere else.")
}

fn ignored(stage: &Stage<'_>) -> Result<()> {
    stage.screen.title("04  All nodes but those with a label")?;
    stage.show("kubectl apply -f examples/04-ignore.yaml")?;
    stage.show("kubectl wait dj/daemonjob-ignore --for=condition=Complete --timeout=60s")?;
    stage.show(TABLE)?;
    stage.screen.notice(
        "`ingoreSelector: {ingress: true}` leaves out edge. The boolean is not quoted, as people write it: it is \
         accepted, with a warning.",
    )
}

fn refused(stage: &Stage<'_>) -> Result<()> {
    stage.screen.title("05  Both selectors are refused")?;
    stage.show_refusal(
        "kubectl apply -f examples/05-both.yaml",
        "`spec.selector` and `spec.ingoreSelector` are mutually exclusive",
    )?;
    stage
        .screen
        .notice("The webhook names both fields and what to do; nothing was stored.")
}

fn deleted(stage: &Stage<'_>) -> Result<()> {
    stage.screen.title("Deletion cleans up")?;
    stage.show("kubectl delete dj daemonjob-sample")?;
    stage.screen.say(
        "The garbage collector of Kubernetes looks for new kinds every 30 s: on a cluster as young as this it may \
         still have to.",
    )?;
    stage.show("kubectl wait jobs -l daemon.justk8s.com/daemonjob=daemonjob-sample --for=delete --timeout=90s")?;
    stage.show(TABLE)?;
    stage
        .screen
        .notice("The Jobs belong to the DaemonJob: Kubernetes itself collects them, and those of others stay.")
}

/// The Jobs that are there, whatever their names.
fn job_uids(stage: &Stage<'_>) -> Result<BTreeSet<String>> {
    let list = stage.cluster.json(["get", "jobs"])?;
    let items = list.get("items").and_then(Value::as_array);
    let uids = items
        .into_iter()
        .flatten()
        .filter_map(|job| job.pointer("/metadata/uid")?.as_str());
    Ok(uids.map(str::to_owned).collect())
}

/// How to go on once everything is gone.
pub(crate) fn closing(screen: &Screen, begin: Instant) -> Result<()> {
    screen.title(&format!(
        "That was it, in {} s; everything is removed again",
        begin.elapsed().as_secs()
    ))?;
    screen.say("To go on by hand, keep the next one and point kubectl at it:")?;
    screen.command("KEEP=1 make demo")?;
    screen.command("export KUBECONFIG=$PWD/target/demo/kubeconfig PATH=$PWD/target/demo/bin:$PATH")?;
    screen.command("make demo-down")
}
