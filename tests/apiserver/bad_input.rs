//! Starting in a place where it cannot work: one clear sentence, and an exit code that is not 0.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use daemonjob_cluster::{Cluster, Options};

use crate::support::Trial;
use crate::support::operator::{BINARY, free_port, wait_ended};
use crate::support::world::{kubeconfig_of, tools};

/// It waits half a minute for a cluster to become usable.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(kubeconfig: &Path, webhook: u16, admin: u16) -> Child {
    Command::new(BINARY)
        .env_clear()
        .args(["run", "--drain-seconds", "0"])
        .args(["--webhook-address", &format!("127.0.0.1:{webhook}")])
        .args(["--admin-address", &format!("127.0.0.1:{admin}")])
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

/// Its last sentence, after it has ended with an exit code that is not 0.
fn last_words(mut child: Child) -> String {
    let ended = wait_ended(&mut child, PATIENCE);
    if ended.is_err() {
        child.kill().expect("it is ours");
    }
    let mut said = String::new();
    let output = child.stderr.as_mut().expect("it is piped");
    output.read_to_string(&mut said).expect("it prints UTF-8");
    let code = ended.ok().and_then(|status| status.code());
    assert_eq!(code, Some(1), "{said}");
    said.lines()
        .rfind(|line| line.starts_with("daemonjob: "))
        .unwrap_or(&said)
        .to_owned()
}

#[test]
fn a_cluster_without_the_crd_and_one_that_does_not_answer_are_told_after_half_a_minute() {
    let cluster = Cluster::start(tools(), &Options::default()).unwrap();
    let config = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let unreachable = cluster.folder().join("unreachable.kubeconfig");
    let server = config.lines().find(|line| line.contains("server: ")).unwrap();
    let nobody = format!("    server: https://127.0.0.1:{}", free_port());
    std::fs::write(&unreachable, config.replace(server, &nobody)).unwrap();

    // Side by side: each takes half a minute.
    let without_crd = start(&cluster.kubeconfig(), free_port(), free_port());
    let without_server = start(&unreachable, free_port(), free_port());
    let said = last_words(without_crd);
    assert!(
        said.contains("this cluster does not know DaemonJobs: install the chart"),
        "{said}"
    );
    let said = last_words(without_server);
    assert!(
        said.contains("cannot be reached") && said.contains(nobody.trim_start_matches("    server: ")),
        "{said}"
    );
}

#[test]
fn without_permission_it_ends_at_once_and_says_what_is_missing() {
    let trial = Trial::begin();
    trial.run("create serviceaccount nobody");
    let kubeconfig = kubeconfig_of(&trial.cluster, "nobody", &trial.namespace);
    let said = last_words(start(&kubeconfig, free_port(), free_port()));
    assert!(said.contains("no permission to read DaemonJobs"), "{said}");
    assert!(
        said.contains("cannot list resource \"daemonjobs\""),
        "the server's words: {said}"
    );
}

#[test]
fn a_port_in_use_is_named() {
    let trial = Trial::begin();
    let taken = free_port();
    let _listener = TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let said = last_words(start(&trial.cluster.kubeconfig(), taken, free_port()));
    assert!(said.contains(&format!("127.0.0.1:{taken}")), "{said}");
    let said = last_words(start(&trial.cluster.kubeconfig(), free_port(), taken));
    assert!(
        said.contains(&format!("127.0.0.1:{taken} for health and metrics")),
        "{said}"
    );
}

#[test]
fn a_kubeconfig_that_is_not_there_is_named() {
    let said = last_words(start(Path::new("/nonexistent/kubeconfig"), free_port(), free_port()));
    assert!(
        said.contains("cannot read the kubeconfig /nonexistent/kubeconfig"),
        "{said}"
    );
}
