//! The sample in a real container.

use crate::stage::{Act, NODE};
use crate::support::manifest::example;

#[test]
fn the_sample_runs_in_a_container_its_line_is_logged_and_a_watch_counts_up() {
    let Some(act) = Act::installed() else { return };
    let watch = act.watch("dj");
    act.apply(&example("01-sample.yaml"));
    act.wait_for("daemonjob-sample", "Complete");
    let logs = act.run("logs -l daemon.justk8s.com/daemonjob=daemonjob-sample");
    let lines: Vec<&str> = logs.lines().collect();
    assert_eq!(lines[1..], ["Hello from the Kubernetes cluster v2"], "after the date");
    let job = act.json("get jobs -l daemon.justk8s.com/daemonjob=daemonjob-sample");
    assert_eq!(job["items"][0]["metadata"]["labels"]["daemon.justk8s.com/node"], NODE);
    let status = act.json("get dj daemonjob-sample")["status"].take();
    assert_eq!(
        (&status["succeeded"], &status["summary"]),
        (&1.into(), &"1/1 done".into())
    );

    let counted = act.eventually("the watch to see the end", || {
        let seen = watch.seen();
        let counted = seen
            .iter()
            .filter_map(|event| event.object["status"]["succeeded"].as_u64());
        let mut counted: Vec<u64> = counted.collect();
        counted.dedup();
        Ok((counted.last() == Some(&1)).then_some(counted))
    });
    assert_eq!(counted, [0, 1]);
}
