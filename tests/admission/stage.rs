//! The stage of all tests here: a cluster with the chart, whose webhook configurations name the balancer, and the
//! replicas behind it.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use daemonjob_cluster::{Cluster, Node, Options, until};
use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::balancer::{Balancer, Endpoint};
use crate::support::DEADLINE;
use crate::support::manifest::daemon_job;
use crate::support::monitor::{AUDIT_POLICY, Monitor};
use crate::support::operator::{Operator, Start, complaints, free_port, logs};
use crate::support::trial::show;
use crate::support::world::{SYSTEM, install, kubeconfig_of, tools};

/// The two configurations.
pub(crate) const CONFIGURATIONS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];
/// The Secret of the certificate authority.
pub(crate) const SECRET: &str = "daemonjob-webhook-ca";

/// What all tests share.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) balancer: Balancer,
    kubeconfig: PathBuf,
    monitor: Monitor,
    next: Cell<u32>,
}

static STAGE: Mutex<Option<Stage>> = Mutex::new(None);

/// The stage, for as long as a test has it.
pub(crate) struct Act(MutexGuard<'static, Option<Stage>>);

/// One replica behind the balancer; dropped, it is asked to end.
pub(crate) struct Replica {
    pub(crate) operator: Operator,
    pub(crate) endpoint: Endpoint,
}

impl Act {
    /// Waits for the stage, which the first test sets.
    pub(crate) fn begin() -> Self {
        let mut stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
        stage.get_or_insert_with(Stage::set);
        Self(stage)
    }

    pub(crate) fn stage(&self) -> &Stage {
        self.0.as_ref().expect("it is set until the act ends")
    }
}

impl Drop for Act {
    fn drop(&mut self) {
        let sent = || self.stage().monitor.complaint().expect("the audit log can be read");
        let told = complaints(self.stage().cluster.folder());
        let complaint = told.into_iter().next().or_else(sent);
        if std::thread::panicking() {
            // What went wrong for one test must not go wrong for the next. The logs are kept as the cluster goes.
            show(&logs(self.stage().cluster.folder(), "certificate"));
            self.0.take();
        } else {
            assert_eq!(complaint, None);
        }
    }
}

impl Stage {
    fn set() -> Self {
        let options = Options {
            nodes: vec![Node::new("one")],
            audit_policy: Some(AUDIT_POLICY.to_owned()),
            ..Options::default()
        };
        let cluster = Cluster::start(tools(), &options).expect("a cluster starts");
        let balancer = Balancer::start();
        install(&cluster, balancer.port());
        let kubeconfig = kubeconfig_of(&cluster, "daemonjob", SYSTEM);
        Self {
            monitor: Monitor::new(&cluster),
            cluster,
            balancer,
            kubeconfig,
            next: Cell::new(1),
        }
    }

    /// Starts a replica and waits until the balancer asks it.
    pub(crate) fn replica(&self, drain_seconds: &str, flags: &[&str]) -> Replica {
        let replica = self.start(drain_seconds, flags);
        self.wait_asked(&replica);
        replica
    }

    /// Starts two replicas at once, and waits until both are asked and the API server admits.
    pub(crate) fn two_replicas(&self, flags: &[&str]) -> [Replica; 2] {
        let replicas = [self.start("2", flags), self.start("2", flags)];
        for replica in &replicas {
            self.wait_asked(replica);
        }
        self.wait_admitting();
        replicas
    }

    fn start(&self, drain_seconds: &str, flags: &[&str]) -> Replica {
        let number = self.next.replace(self.next.get() + 1);
        let port = free_port();
        let operator = Operator::start(&Start {
            folder: self.cluster.folder(),
            kubeconfig: &self.kubeconfig,
            identity: &format!("replica-{number}"),
            port,
            url_port: self.balancer.port(),
            log_level: "info",
            drain_seconds,
            flags,
        });
        let endpoint = Endpoint {
            webhook: ([127, 0, 0, 1], port).into(),
            admin: operator.admin,
        };
        self.balancer.add(endpoint);
        Replica { operator, endpoint }
    }

    fn wait_asked(&self, replica: &Replica) {
        until("the replica to be asked", DEADLINE, || {
            Ok(self.balancer.ready().contains(&replica.endpoint).then_some(()))
        })
        .expect("it becomes ready");
    }

    /// Waits until a create is admitted: a test before may have left the API server without a webhook.
    fn wait_admitting(&self) {
        let manifest = daemon_job("probe").to_string();
        until("a create to be admitted", DEADLINE, || {
            let args = ["create", "--dry-run=server", "-f", "-"];
            self.cluster.kubectl_stdin(args, &manifest)?.checked().map(Some)
        })
        .expect("the webhook is trusted");
    }

    /// Ends a replica in order, as a rolling update does.
    pub(crate) fn end(&self, replica: Replica) {
        let status = replica.operator.terminate();
        self.balancer.remove(replica.endpoint);
        assert_eq!(status.code(), Some(0));
    }

    /// Ends a replica as a crash would.
    pub(crate) fn kill(&self, replica: Replica) {
        replica.operator.kill();
        self.balancer.remove(replica.endpoint);
    }

    /// Runs kubectl.
    pub(crate) fn run(&self, line: &str) -> String {
        self.cluster.run(line.split_whitespace()).expect("kubectl succeeds")
    }

    /// The `caBundle` of each configuration.
    pub(crate) fn bundles(&self) -> [Value; 2] {
        CONFIGURATIONS.map(|kind| {
            let mut it = self
                .cluster
                .json(["get", kind, "daemonjob"])
                .expect("the chart made it");
            it["webhooks"][0]["clientConfig"]["caBundle"].take()
        })
    }

    /// Patches the Secret of the authority by a merge patch of its data.
    pub(crate) fn patch_secret(&self, data: &Value) {
        let patch = json!({"data": data}).to_string();
        let args = [
            "patch",
            "secret",
            SECRET,
            "--namespace",
            SYSTEM,
            "--type=merge",
            "-p",
            &patch,
        ];
        self.cluster.run(args).expect("the Secret is there");
    }

    /// The data of the Secret of the authority.
    pub(crate) fn secret(&self) -> Value {
        let args = ["get", "secret", SECRET, "--namespace", SYSTEM, "--ignore-not-found"];
        let mut it = self.cluster.json(args).unwrap_or_default();
        it["data"].take()
    }

    /// Whether both configurations trust the authority of this Secret.
    pub(crate) fn trusts(&self, secret: &Value) -> bool {
        let decode = |value: &Value| {
            BASE64
                .decode(value.as_str().unwrap_or_default().as_bytes())
                .unwrap_or_default()
        };
        let authority = decode(&secret["current.crt"]);
        let carries = |bundle: &Value| {
            let bundle = decode(bundle);
            !authority.is_empty() && bundle.windows(authority.len()).any(|part| part == authority)
        };
        self.bundles().iter().all(carries)
    }

    /// The notes of all Events with this reason, about the authority.
    pub(crate) fn events(&self, reason: &str) -> Vec<String> {
        let line = format!("get events --namespace {SYSTEM} --field-selector=reason={reason}");
        let list = self.cluster.json(line.split_whitespace()).expect("Events can be read");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|event| event["message"].to_string()).collect()
    }
}
