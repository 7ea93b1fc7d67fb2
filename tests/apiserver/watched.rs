//! A release that looks after two namespaces: with their rights alone it does all of its work there, and none elsewhere.

use std::path::{Path, PathBuf};

use daemonjob_cluster::Output;
use serde_json::{Value, json};

use crate::support::manifest::{changed, daemon_job, on, replacing};
use crate::support::operator::{Operator, Start, free_port};
use crate::support::trial::{HASH, text};
use crate::support::world::kubeconfig_of;
use crate::support::{DEADLINE, Trial};

/// The release, and the first part of the names of its objects.
const RELEASE: &str = "watching";
const NAME: &str = "watching-daemonjob";

/// A second release in the cluster of a trial, whose own process and webhook are away.
struct Release<'a> {
    trial: &'a Trial,
    port: u16,
    kubeconfig: PathBuf,
}

impl<'a> Release<'a> {
    fn install(trial: &'a Trial) -> Self {
        drop(trial.take_operator());
        trial.remove_webhook();
        let mut release = Self {
            trial,
            port: free_port(),
            kubeconfig: PathBuf::new(),
        };
        for namespace in [release.system(), release.ours(), release.theirs()] {
            trial.run(&format!("create namespace {namespace}"));
        }
        let watched = format!("watchNamespaces={{{},{}}}", release.ours(), release.theirs());
        let url = format!("webhook.url=https://127.0.0.1:{}", release.port);
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/daemonjob");
        release.helm(&[
            "install",
            RELEASE,
            chart,
            "--set",
            &url,
            "--set",
            &watched,
            "--set=crds.enabled=false",
        ]);
        release.kubeconfig = kubeconfig_of(&trial.cluster, NAME, &release.system());
        release
    }

    fn system(&self) -> String {
        format!("{}-s", self.trial.namespace)
    }

    fn ours(&self) -> String {
        format!("{}-a", self.trial.namespace)
    }

    fn theirs(&self) -> String {
        format!("{}-b", self.trial.namespace)
    }

    fn helm(&self, arguments: &[&str]) {
        let system = self.system();
        let arguments = arguments.iter().copied().chain(["--namespace", &system]);
        let output = self.trial.cluster.helm(arguments);
        output.and_then(Output::checked).expect("helm succeeds");
    }

    /// Starts its process and waits until it leads; its log is in this folder.
    fn start(&self, folder: &Path) -> Operator {
        let system = self.system();
        let watched = format!("--watch-namespaces={},{}", self.ours(), self.theirs());
        let authority = format!("--certs-secret={NAME}-webhook-ca");
        let [namespace, lease, configuration] = [
            ("namespace", &*system),
            ("lease-name", NAME),
            ("webhook-configuration", NAME),
        ]
        .map(|(flag, value)| format!("--{flag}={value}"));
        let mut operator = Operator::start(&Start {
            folder,
            kubeconfig: &self.kubeconfig,
            identity: RELEASE,
            port: self.port,
            url_port: self.port,
            log_level: "info,daemonjob=debug",
            drain_seconds: "1",
            flags: &[&watched, &namespace, &lease, &configuration, &authority],
        });
        operator.wait_ready().expect("it is ready");
        operator.wait_leading(DEADLINE).expect("it leads");
        operator
    }

    fn apply(&self, namespace: &str, manifest: &Value) -> Output {
        let args = ["apply", "-f", "-", "--namespace", namespace];
        let applied = self.trial.cluster.kubectl_stdin(args, &manifest.to_string());
        applied.expect("kubectl runs")
    }

    fn accepts(&self, namespace: &str, manifest: &Value) {
        self.apply(namespace, manifest).checked().expect("it is accepted");
    }

    fn run(&self, namespace: &str, line: &str) -> String {
        let args = line.split_whitespace().chain(["--namespace", namespace]);
        self.trial.cluster.run(args).expect("kubectl succeeds")
    }

    fn wait_for(&self, namespace: &str, condition: &str, name: &str) {
        self.run(
            namespace,
            &format!("wait --for=condition={condition} dj/{name} --timeout=60s"),
        );
    }

    fn uninstall(&self) {
        self.helm(&["uninstall", RELEASE]);
        for namespace in [self.system(), self.ours(), self.theirs()] {
            let args = ["delete", "namespace", &namespace, "--wait=false", "--ignore-not-found"];
            self.trial.cluster.run(args).expect("it can be deleted");
        }
    }
}

/// Both selectors, which the webhook refuses and the schema cannot.
fn contradictory(name: &str) -> Value {
    let mut it = daemon_job(name);
    it["spec"]["selector"] = json!({"os": "linux"});
    it["spec"]["ingoreSelector"] = json!({"ingress": "true"});
    it
}

/// Uses every right that a watched namespace gives. A right that were lacking would be a line in the log of the
/// process, and with it a failure of the trial.
fn work(release: &Release<'_>, namespace: &str) {
    release.accepts(namespace, &on(daemon_job("it"), "watched"));
    release.wait_for(namespace, "Complete", "it");
    release.accepts(namespace, &replacing(on(changed(daemon_job("it")), "watched")));
    let hash = release.run(namespace, "get dj it -o jsonpath={.metadata.annotations}");
    release.trial.eventually("the other template to run", || {
        let jobs = release.run(namespace, "get jobs -o jsonpath={.items[*].metadata.annotations}");
        let hash: Value = serde_json::from_str(&hash)?;
        Ok(jobs.contains(&text(&hash[HASH])).then_some(()))
    });
    release.wait_for(namespace, "Complete", "it");
    release.run(namespace, "create quota no-pods --hard=pods=0");
    release.accepts(namespace, &on(daemon_job("refused"), "watched"));
    release.wait_for(namespace, "Stalled", "refused");
    let events = release.run(namespace, "get events.events.k8s.io -o jsonpath={.items[*].reason}");
    assert!(events.contains("PodsRefused"), "{events}");
}

/// Its status is as the schema makes it, nobody stamped it and nothing was made for it.
fn assert_left_alone(trial: &Trial, name: &str) {
    let it = trial.daemon_job(name);
    assert_eq!(it["status"], json!({"observedGeneration": -1}));
    assert!(it["metadata"]["annotations"].get(HASH).is_none(), "{it}");
    assert!(trial.jobs(name).is_empty());
}

#[test]
fn two_watched_namespaces_are_served_with_their_rights_alone_and_a_third_is_left_alone() {
    let trial = Trial::begin();
    let release = Release::install(&trial);
    trial.add_node("watched-node", "watched");
    let process = release.start(trial.cluster.folder());
    let (ours, theirs) = (release.ours(), release.theirs());

    trial.accepts(&on(daemon_job("elsewhere"), "watched"));
    trial.accepts(&contradictory("unchecked"));
    let refused = release.apply(&ours, &contradictory("checked"));
    assert!(refused.stderr.contains("mutually exclusive"), "{}", refused.stderr);
    release.helm(&["test", RELEASE]);
    assert_eq!(release.run(&ours, "get dj -o name"), "", "the test leaves nothing");

    work(&release, &ours);
    work(&release, &theirs);
    assert_left_alone(&trial, "elsewhere");
    assert_left_alone(&trial, "unchecked");
    process.terminate();

    // With a namespace its rights go: no reason to leave the other one waiting.
    trial.run(&format!("delete namespace {theirs} --timeout=60s"));
    let apart = trial.cluster.folder().join("without-a-namespace");
    std::fs::create_dir(&apart).expect("the folder can be written");
    let process = release.start(&apart);
    release.run(&ours, "delete quota no-pods");
    release.wait_for(&ours, "Complete", "refused");
    process.terminate();
    release.uninstall();
}

#[test]
fn a_process_that_may_read_none_of_its_namespaces_says_so_and_ends() {
    let trial = Trial::begin();
    let release = Release::install(&trial);
    release.run(&release.ours(), &format!("delete rolebinding {NAME}-watched"));
    release.run(&release.theirs(), &format!("delete rolebinding {NAME}-watched"));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_daemonjob"))
        .env_clear()
        .args(["run", "--webhook=false", "--admin-address=127.0.0.1:0", "--kubeconfig"])
        .arg(&release.kubeconfig)
        .arg(format!("--watch-namespaces={},{}", release.ours(), release.theirs()))
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no permission to read DaemonJobs"), "{said}");
    release.uninstall();
}
