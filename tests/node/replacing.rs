//! A replacement, on a real node, of containers that do not end when they are asked to.

use serde_json::{Value, json};

use crate::stage::{Act, is_soak};
use crate::support::manifest::{daemon_job, replacing};
use crate::support::trial::items;
use crate::support::watch::{assert_one_at_a_time, has_ended};

/// Ignores SIGTERM, and tells by itself whether it is alone: a lock ends with whoever holds it, by the kernel's hand,
/// and each line says who lives at that moment.
const SCRIPT: &str = r#"
trap "" TERM
exec 9>/proof/lock
flock -n 9 || echo "$HOSTNAME is not alone" >>/proof/clashes
while :; do
  read -r now rest </proc/uptime
  echo "$LETTER $now" >>/proof/lives
  sleep 0.1
done
"#;

/// A DaemonJob whose container writes this letter.
fn letter(letter: &str, grace: u32) -> Value {
    let mut it = replacing(daemon_job("stubborn"));
    let pod = &mut it["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    pod["terminationGracePeriodSeconds"] = json!(grace);
    pod["containers"] = json!([{
        "name": "main", "image": "busybox:stable", "command": ["/bin/sh", "-c", SCRIPT],
        "env": [{"name": "LETTER", "value": letter}],
        "volumeMounts": [{"name": "proof", "mountPath": "/proof"}],
    }]);
    pod["volumes"] = json!([{"name": "proof", "hostPath": {"path": "/var/lib/proof", "type": "DirectoryOrCreate"}}]);
    it
}

/// What stands in a file of the node.
fn read(act: &Act, file: &str) -> String {
    let pods = act.json("get pods -l daemon.justk8s.com/daemonjob=stubborn");
    let name = items(&pods)[0]["metadata"]["name"].as_str().expect("a Pod has a name");
    act.run(&format!("exec {name} -- cat /proof/{file}"))
}

/// Waits until the container that lives writes this letter.
fn wait_for_letter(act: &Act, letter: &str) {
    act.eventually("the letter", || {
        let pods = act.try_run("get pods --field-selector=status.phase=Running -o name")?;
        let pod = pods.lines().next().unwrap_or("pod/none");
        let last = act.try_run(&format!("exec {pod} -- tail -n 1 /proof/lives"))?;
        Ok(last.starts_with(letter).then_some(()))
    });
}

#[test]
fn e27_no_two_pods_live_at_once_though_a_container_ignores_its_end() {
    let Some(act) = Act::installed() else { return };
    let grace = if is_soak() { 30 } else { 8 };
    let (jobs, pods) = (act.watch("jobs"), act.watch("pods"));
    let letters = ["a", "b", "c"];
    for one in letters {
        act.apply(&letter(one, grace));
        wait_for_letter(&act, one);
    }
    assert_eq!(read(&act, "clashes"), "");
}
