//! A replacement, on a real node, of containers that do not end when they are asked to.

use anyhow::{Context as _, Result};
use daemonjob_cluster::is_soak;
use serde_json::{Value, json};

use crate::stage::Act;
use crate::support::manifest::{daemon_job, replacing};
use crate::support::trial::show;
use crate::support::watch::{assert_one_at_a_time, has_ended};

const LETTERS: [&str; 3] = ["a", "b", "c"];

/// Ignores SIGTERM, and tells by itself whether it is alone: a port of the node is free once whoever listened has ended,
/// by the kernel's hand, and each line says who lives at that moment.
const SCRIPT: &str = r#"
trap "" TERM
: >>/proof/clashes
(nc -l -p 7777 </dev/null; echo "$LETTER is not alone" >>/proof/clashes) &
while :; do
  read -r now rest </proc/uptime
  echo "$LETTER $now" >>/proof/lives
  sleep 0.1
done
"#;

/// A DaemonJob whose container writes this letter.
fn letter(letter: &str, grace: u8) -> Value {
    let mut it = replacing(daemon_job("stubborn"));
    let pod = &mut it["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    pod["terminationGracePeriodSeconds"] = json!(grace);
    pod["hostNetwork"] = json!(true);
    pod["containers"] = json!([{
        "name": "main", "image": "busybox:stable", "command": ["/bin/sh", "-c", SCRIPT],
        "env": [{"name": "LETTER", "value": letter}],
        "volumeMounts": [{"name": "proof", "mountPath": "/proof"}],
    }]);
    pod["volumes"] = json!([{"name": "proof", "hostPath": {"path": "/var/lib/proof", "type": "DirectoryOrCreate"}}]);
    it
}

/// The Pod whose container runs.
fn running(act: &Act) -> Result<String> {
    let pods = act.try_run("get pods --field-selector=status.phase=Running -o name")?;
    let pod = pods.lines().next().context("no Pod runs")?;
    Ok(pod.to_owned())
}

/// A file that the containers have written.
fn read(act: &Act, file: &str) -> Result<String> {
    let pod = running(act)?;
    act.try_run(&format!("exec {pod} -- cat /proof/{file}"))
}

/// Seconds since this machine started, which its containers see as well.
fn uptime() -> f64 {
    let text = std::fs::read_to_string("/proc/uptime").expect("it is there");
    number(text.split(' ').next().unwrap_or_default())
}

fn number(text: &str) -> f64 {
    text.parse().expect("it is a number")
}

/// The letters in the order in which they were written, without repetitions; and when each was written last.
fn lives(text: &str) -> Vec<(&str, f64)> {
    let mut lives: Vec<(&str, f64)> = Vec::new();
    for (letter, now) in text.lines().filter_map(|line| line.split_once(' ')) {
        match lives.last_mut() {
            Some((last, until)) if *last == letter => *until = number(now),
            _ => lives.push((letter, number(now))),
        }
    }
    lives
}

#[test]
fn e27_no_two_pods_live_at_once_though_a_container_ignores_its_end() {
    let Some(act) = Act::installed() else { return };
    let grace: u8 = if is_soak() { 30 } else { 8 };
    let (jobs, pods) = (act.watch("jobs"), act.watch("pods"));
    let mut applied = Vec::new();
    for one in LETTERS {
        applied.push(uptime());
        act.apply(&letter(one, grace));
        act.eventually("the letter", || {
            let text = read(&act, "lives")?;
            Ok(lives(&text).last().is_some_and(|(last, _)| *last == one).then_some(()))
        });
    }
    let text = read(&act, "lives").expect("the last one lives");
    let lives = lives(&text);
    let letters: Vec<&str> = lives.iter().map(|(letter, _)| *letter).collect();
    assert_eq!(letters, LETTERS, "one after another");
    for (life, replaced) in lives.iter().zip(&applied[1..]) {
        let longer = life.1 - replaced;
        show(&format!(
            "{} lived for {longer:.1} s after it was to be replaced",
            life.0
        ));
        // The clock of the kubelet's grace has whole seconds.
        assert!(longer > f64::from(grace) - 1.0, "it did not ignore its end");
    }
    assert_eq!(read(&act, "clashes").expect("the last one lives"), "");
    let all = LETTERS.len();
    assert_one_at_a_time(&act.seen(&jobs, "ADDED", all), |_| false);
    assert_one_at_a_time(&act.seen(&pods, "ADDED", all), has_ended);
}
