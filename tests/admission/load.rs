//! A steady load of creates on the API server, by vegeta: each passes both webhooks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use daemonjob_cluster::{Cluster, Program, Tools};
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::manifest::daemon_job;
use crate::support::operator::{signal, wait_ended};
use crate::support::world::tools;

/// Creates a second: each is two reviews.
const RATE: &str = "25";

/// A load that goes on until it is stopped; dropped, it is killed.
pub(crate) struct Load {
    vegeta: PathBuf,
    results: PathBuf,
    child: Child,
}

/// How the creates went.
#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    /// How many were sent.
    pub(crate) requests: u64,
    /// How many were answered with which HTTP status.
    status_codes: BTreeMap<String, u64>,
    /// The different errors.
    errors: Vec<String>,
    latencies: Latencies,
}

#[derive(Debug, Deserialize)]
struct Latencies {
    #[serde(rename = "99th")]
    p99: u64,
    max: u64,
}

impl Report {
    /// Fails unless every create was admitted.
    pub(crate) fn assert_all_admitted(&self) {
        let admitted = self.status_codes.get("201").copied().unwrap_or_default();
        assert_eq!(admitted, self.requests, "{self:?}");
        assert!(self.errors.is_empty(), "{self:?}");
    }

    /// 99 % of the creates took no longer.
    pub(crate) fn p99(&self) -> Duration {
        Duration::from_nanos(self.latencies.p99)
    }

    /// None took longer.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_nanos(self.latencies.max)
    }
}

impl Load {
    /// Creates that are not stored.
    pub(crate) fn start(cluster: &Cluster) -> Self {
        Self::start_with(
            cluster,
            tools(),
            RATE,
            "default/daemonjobs?dryRun=All",
            daemon_job("load"),
        )
    }

    /// Creates of DaemonJobs like this one, each under a name of its own, so many a second; the path begins with the
    /// namespace.
    pub(crate) fn start_with(cluster: &Cluster, tools: &Tools, rate: &str, path: &str, mut daemon_job: Value) -> Self {
        daemon_job["metadata"] = json!({"generateName": "load-"});
        let folder = cluster.folder().join("load");
        std::fs::create_dir_all(&folder).expect("the folder can be written");
        // The cluster's reaper kills what was started by a path in the cluster's folder, however this test ends.
        let vegeta = cluster.folder().join("vegeta");
        if !vegeta.exists() {
            std::os::unix::fs::symlink(tools.path(Program::Vegeta), &vegeta).expect("the folder can be written");
        }
        let [ca, certificate, key] = credentials(cluster, &folder);
        let results = folder.join("results.bin");
        let child = cluster
            .connect(&vegeta)
            .args(["attack", "-duration=0", "-rate", rate, "-timeout=30s", "-max-body=300"])
            .arg("-root-certs")
            .arg(ca)
            .arg("-cert")
            .arg(certificate)
            .arg("-key")
            .arg(key)
            .arg("-targets")
            .arg(targets(cluster, &folder, path, &daemon_job))
            .arg("-output")
            .arg(&results)
            .stdin(Stdio::null())
            .spawn()
            .expect("vegeta runs");
        Self { vegeta, results, child }
    }

    /// Stops it and waits for the last answers.
    pub(crate) fn stop(mut self) -> Report {
        signal("INT", self.child.id());
        let ended = wait_ended(&mut self.child, Duration::from_secs(60)).expect("vegeta ends");
        assert!(ended.success(), "{ended}");
        let report = Command::new(&self.vegeta)
            .args(["report", "-type=json"])
            .arg(&self.results)
            .output()
            .expect("vegeta runs");
        serde_json::from_slice(&report.stdout).expect("vegeta prints JSON")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Nothing more can be done about a process that cannot be killed.
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

fn targets(cluster: &Cluster, folder: &Path, path: &str, daemon_job: &Value) -> PathBuf {
    let body_file = folder.join("body.json");
    std::fs::write(&body_file, daemon_job.to_string()).expect("the folder can be written");
    let server = config(cluster)["clusters"][0]["cluster"]["server"]
        .as_str()
        .expect("a kubeconfig names a server")
        .to_owned();
    let text = format!(
        "POST {server}/apis/daemon.justk8s.com/v1alpha1/namespaces/{path}\nContent-Type: application/json\n@{}\n",
        body_file.display()
    );
    let file = folder.join("targets");
    std::fs::write(&file, text).expect("the folder can be written");
    file
}

fn config(cluster: &Cluster) -> Value {
    cluster
        .json(["config", "view", "--raw", "--flatten"])
        .expect("there is a kubeconfig")
}

/// The API server's authority, and the administrator's certificate and key, as files.
fn credentials(cluster: &Cluster, folder: &Path) -> [PathBuf; 3] {
    let config = config(cluster);
    let (server, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
    let parts = [
        ("ca.pem", &server["certificate-authority-data"]),
        ("client.pem", &user["client-certificate-data"]),
        ("client-key.pem", &user["client-key-data"]),
    ];
    parts.map(|(name, data)| {
        let data = data.as_str().expect("the kubeconfig has it");
        let file = folder.join(name);
        std::fs::write(&file, BASE64.decode(data.as_bytes()).expect("it is base64"))
            .expect("the folder can be written");
        file
    })
}
