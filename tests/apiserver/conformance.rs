//! The API server of the simulation is held against the real one: the same requests, the same answers.

use std::collections::BTreeMap;

use daemonjob_cluster::{Cluster, Component, Options, until};
use daemonjob_core::names::DAEMONJOB_LABEL;
use daemonjob_simulation::{Answer, ApiServer, Kind, Request};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::DEADLINE;
use crate::support::world::tools;

const CRD: &str = include_str!("../../charts/daemonjob/files/crd.yaml");
/// The metadata of lists, as the controller asks for it.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const DAEMONJOBS: &str = "/apis/daemon.justk8s.com/v1alpha1/namespaces/default/daemonjobs";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

/// One of the two.
trait Server {
    /// Sends a request; the answer is its code and its lines.
    fn send(&mut self, method: &str, path: &str, accept: &str, body: &str) -> (u16, Vec<Value>);
    /// Lets the garbage collector do all that it has to do.
    fn collect(&mut self);
}

/// The one in memory.
#[derive(Default)]
struct InMemory(ApiServer);

impl Server for InMemory {
    fn send(&mut self, method: &str, path: &str, accept: &str, body: &str) -> (u16, Vec<Value>) {
        let request = Request::read(method, path, accept, body.as_bytes());
        let now = Timestamp::UNIX_EPOCH;
        match request.and_then(|request| self.0.call(&request, now)) {
            Ok(Answer::Body(code, body)) => (code, vec![body]),
            Ok(Answer::Watch(mut watch)) => (200, self.0.news(&mut watch, u64::MAX)),
            Err(status) => (status.code, vec![status.body()]),
        }
    }

    fn collect(&mut self) {
        while let Some(request) = self.0.garbage().into_iter().next() {
            self.0
                .call(&request, Timestamp::UNIX_EPOCH)
                .expect("nobody else changes anything");
        }
    }
}

/// The real one.
struct Real {
    cluster: Cluster,
    runtime: Runtime,
    client: Client,
}

impl Real {
    fn start() -> Self {
        let cluster = Cluster::start(tools(), &Options::default()).expect("a cluster starts");
        cluster.apply(CRD).expect("the CRD is accepted");
        let established = "wait --for=condition=Established crd/daemonjobs.daemon.justk8s.com --timeout=30s";
        until("the CRD", DEADLINE, || cluster.run(established.split(' ')).map(Some)).expect("the CRD is established");
        let runtime = Runtime::new().expect("a runtime starts");
        let read = Kubeconfig::read_from(cluster.kubeconfig()).expect("there is a kubeconfig");
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(read, &options);
        let mut config = runtime.block_on(config).expect("it names the cluster");
        config.default_retry = false;
        let client = runtime
            .block_on(async { Client::try_from(config) })
            .expect("it can be used");
        Self {
            cluster,
            runtime,
            client,
        }
    }
}

impl Server for Real {
    fn send(&mut self, method: &str, path: &str, accept: &str, body: &str) -> (u16, Vec<Value>) {
        let content = if method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::ACCEPT, accept)
            .header(http::header::ACCEPT_ENCODING, "identity")
            .header(http::header::CONTENT_TYPE, content)
            .body(Body::from(body.as_bytes().to_vec()))
            .expect("it is a request");
        let (code, text) = self.runtime.block_on(async {
            let response = self.client.send(request).await.expect("the server answers");
            let code = response.status().as_u16();
            (code, response.into_body().collect().await.expect("whole").to_bytes())
        });
        let lines = serde_json::Deserializer::from_slice(&text).into_iter::<Value>();
        (code, lines.map(|line| line.expect("an answer is JSON")).collect())
    }

    fn collect(&mut self) {
        let jobs = || self.cluster.json(["get", "jobs,pods", "--output=json"]);
        let is_waiting = |job: &Value| {
            let metadata = &job["metadata"];
            let by_the_collector = |held: &Value| held == "foregroundDeletion" || held == "orphan";
            let held = metadata["finalizers"].as_array().map(Vec::as_slice).unwrap_or_default();
            metadata["deletionTimestamp"].is_string() && held.iter().any(by_the_collector)
        };
        let mut before = None;
        // Nothing waits for the collector, and nothing has changed for a second look.
        until("the garbage to be collected", DEADLINE, || {
            let now = jobs()?;
            let items = now["items"].as_array().cloned().unwrap_or_default();
            let uids: Vec<&Value> = items.iter().map(|job| &job["metadata"]["uid"]).collect();
            let mut owners = items
                .iter()
                .filter_map(|job| job["metadata"]["ownerReferences"].as_array())
                .flatten();
            let has_lost = owners.any(|owner| owner["kind"] == "Job" && !uids.contains(&&owner["uid"]));
            let is_done = !items.iter().any(is_waiting) && !has_lost && before.as_ref() == Some(&now);
            before = Some(now);
            Ok(is_done.then_some(()))
        })
        .expect("the garbage collector works");
    }
}

/// A script as it is played, and what it remembers of the answers.
struct Play<'a> {
    server: &'a mut dyn Server,
    known: BTreeMap<String, String>,
    told: Vec<String>,
    /// Somebody else writes as well: whether a version has moved says nothing.
    in_company: bool,
}

impl Play<'_> {
    /// Sends a request, in which `{name.uid}` and `{name.version}` stand for what the server said of an object last.
    fn send(&mut self, method: &str, path: &str, body: &Value) {
        self.send_for(method, path, "application/json", body);
    }

    fn send_for(&mut self, method: &str, path: &str, accept: &str, body: &Value) {
        let fill = |text: &str| {
            let fill = |text: String, (name, value): (&String, &String)| text.replace(&format!("{{{name}}}"), value);
            self.known.iter().fold(text.to_owned(), fill)
        };
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let (code, lines) = self.server.send(method, &fill(path), accept, &fill(&text));
        self.told.push(format!("{method} {path} {text}\n  {code}"));
        for line in lines {
            if line["type"] == "BOOKMARK" {
                continue;
            }
            let said = self.seen(&line);
            self.told.push(format!("  {said}"));
        }
    }

    fn collect(&mut self) {
        self.server.collect();
        self.told.push("the garbage is collected".to_owned());
        self.send("GET", &format!("{JOBS}?limit=500"), &Value::Null);
    }

    /// What matters in an answer. Versions and UIDs differ; whether they moved does not.
    fn seen(&mut self, line: &Value) -> Value {
        if line["type"].is_string() {
            return json!({"type": line["type"], "object": self.seen(&line["object"])});
        }
        if line["kind"] == "Status" {
            let details = &line["details"];
            return json!({
                "status": line["status"], "reason": line["reason"], "code": line["code"],
                "name": details["name"], "kind": details["kind"], "group": details["group"],
                "uid": details["uid"].is_string(),
            });
        }
        if let Some(items) = line["items"].as_array() {
            let version = line["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            self.known.insert("list.version".into(), version.to_owned());
            let more = line["metadata"]["continue"].as_str().unwrap_or_default();
            self.known.insert("list.continue".into(), more.replace('+', "%2B"));
            let items: Vec<Value> = items.iter().map(|item| self.seen(item)).collect();
            return json!({
                "kind": line["kind"], "apiVersion": line["apiVersion"], "more": !more.is_empty(),
                "rest": line["metadata"]["remainingItemCount"], "items": items,
            });
        }
        let metadata = &line["metadata"];
        let mut seen = json!({"apiVersion": line["apiVersion"], "kind": line["kind"]});
        for field in [
            "name",
            "namespace",
            "generation",
            "finalizers",
            "deletionGracePeriodSeconds",
        ] {
            seen[field] = metadata[field].clone();
        }
        seen["labels"] = metadata["labels"][DAEMONJOB_LABEL].clone();
        seen["annotations"] = metadata["annotations"]["a"].clone();
        seen["deleted"] = json!(metadata["deletionTimestamp"].is_string());
        let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        seen["owners"] = owners.map(|owner| owner["name"].clone()).collect();
        if line["kind"] == "DaemonJob" {
            seen["spec"] = line["spec"]["replace"].clone();
            seen["status"] = line["status"].clone();
        }
        let name = metadata["name"].as_str().unwrap_or_default();
        for (field, of) in [("uid", "uid"), ("resourceVersion", "version")] {
            let value = metadata[field].as_str().unwrap_or_default().to_owned();
            let before = self.known.insert(format!("{name}.{of}"), value.clone());
            let is_unknown = self.in_company && of == "version";
            seen[of] = json!(if is_unknown || before == Some(value) {
                "same"
            } else {
                "new"
            });
        }
        seen
    }
}

/// A Job that never starts.
fn job(name: &str, owner: Option<&str>) -> Value {
    let owner = owner.map(|owner| {
        json!([{
            "apiVersion": "batch/v1", "kind": "Job", "name": owner, "uid": format!("{{{owner}.uid}}"),
            "controller": true, "blockOwnerDeletion": true,
        }])
    });
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "labels": {DAEMONJOB_LABEL: name}, "ownerReferences": owner},
        "spec": {"suspend": true, "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox:stable"}],
        }}},
    })
}

fn at(collection: &str, name: &str) -> String {
    format!("{collection}/{name}")
}

/// Everything that the controller asks of an API server, and what it may hear.
fn script(play: &mut Play<'_>) {
    jobs(play);
    daemon_jobs(play);
    leases(play);
    lists_and_watches(play);
}

fn jobs(play: &mut Play<'_>) {
    let none = Value::Null;
    play.send("GET", &at(JOBS, "a"), &none);
    play.send("POST", &format!("{JOBS}?fieldValidation=Strict"), &job("a", None));
    play.send("POST", JOBS, &job("a", None));
    play.send("GET", &at(JOBS, "a"), &none);
    play.send("POST", "/apis/batch/v1/namespaces/nowhere/jobs", &job("a", None));
    let annotated = json!({"metadata": {"annotations": {"a": "1"}}});
    play.send("PATCH", &at(JOBS, "a"), &annotated);
    play.send("PATCH", &at(JOBS, "a"), &annotated);
    play.send(
        "PATCH",
        &at(JOBS, "a"),
        &json!({"metadata": {"resourceVersion": "1", "annotations": {"a": "2"}}}),
    );
    play.send("PATCH", &at(JOBS, "a"), &json!({"spec": {"backoffLimit": 3}}));
    let with = |uid: &str, version: &str, policy: &str| json!({"preconditions": {"uid": uid, "resourceVersion": version}, "propagationPolicy": policy});
    play.send("DELETE", &at(JOBS, "a"), &with("other", "{a.version}", "Foreground"));
    play.send("DELETE", &at(JOBS, "a"), &with("{a.uid}", "1", "Foreground"));
    play.send("DELETE", &at(JOBS, "nobody"), &with("other", "1", "Foreground"));
    play.send("DELETE", &at(JOBS, "a"), &with("{a.uid}", "{a.version}", "Background"));
    play.send("GET", &at(JOBS, "a"), &none);
    // A deletion that waits: nobody else may have the name, and a second one changes nothing.
    let held = json!({"metadata": {"finalizers": ["example.com/held"]}});
    play.send("POST", JOBS, &job("b", None));
    play.send("PATCH", &at(JOBS, "b"), &held);
    play.send("DELETE", &at(JOBS, "b"), &with("{b.uid}", "{b.version}", "Background"));
    play.send("POST", JOBS, &job("b", None));
    play.send("DELETE", &at(JOBS, "b"), &with("{b.uid}", "{b.version}", "Background"));
    play.send(
        "PATCH",
        &at(JOBS, "b"),
        &json!({"metadata": {"finalizers": ["x.io/y"], "labels": {DAEMONJOB_LABEL: "b"}}}),
    );
    play.send("PATCH", &at(JOBS, "b"), &json!({"metadata": {"finalizers": null}}));
    play.send("GET", &at(JOBS, "b"), &none);
}

fn daemon_jobs(play: &mut Play<'_>) {
    let none = Value::Null;
    let template = json!({"spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox:stable"}],
    }}}});
    let daemon_job = json!({
        "apiVersion": "daemon.justk8s.com/v1alpha1", "kind": "DaemonJob",
        "metadata": {"name": "d", "generation": 7}, "spec": {"jobTemplate": template}, "status": {"desired": 9},
    });
    let (object, status) = (at(DAEMONJOBS, "d"), at(DAEMONJOBS, "d/status"));
    play.send("POST", DAEMONJOBS, &daemon_job);
    play.send(
        "PATCH",
        &status,
        &json!({"metadata": {"resourceVersion": "{d.version}"}, "status": {"desired": 2}}),
    );
    play.send(
        "PATCH",
        &status,
        &json!({"metadata": {"resourceVersion": "1"}, "status": {"desired": 3}}),
    );
    play.send("PATCH", &status, &json!({"status": {"desired": 2}}));
    play.send(
        "PATCH",
        &status,
        &json!({"spec": {"replace": true}, "status": {"desired": null}}),
    );
    play.send(
        "PATCH",
        &object,
        &json!({"metadata": {"annotations": {"a": "1"}}, "status": {"desired": 5}}),
    );
    play.send("PATCH", &object, &json!({"spec": {"replace": true}}));
    play.send(
        "PATCH",
        &object,
        &json!({"metadata": {"generation": 1, "uid": null}, "spec": {"replace": true}}),
    );
    play.send(
        "PATCH",
        &at(DAEMONJOBS, "nobody/status"),
        &json!({"status": {"desired": 2}}),
    );
    play.send("DELETE", &object, &json!({"propagationPolicy": "Foreground"}));
    play.send("PATCH", &status, &json!({"status": {"desired": 4}}));
    play.send("POST", DAEMONJOBS, &daemon_job);
    play.send("PATCH", &object, &json!({"metadata": {"finalizers": null}}));
    play.send("GET", &object, &none);
    play.send("POST", DAEMONJOBS, &daemon_job);
    play.send("DELETE", &object, &json!({}));
}

fn leases(play: &mut Play<'_>) {
    let lease_of = |name: &str, version: Option<&str>, holder: &str| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "resourceVersion": version}, "spec": {"holderIdentity": holder},
        })
    };
    let lease = |version: Option<&str>, holder: &str| lease_of("l", version, holder);
    play.send("POST", LEASES, &lease(None, "one"));
    play.send("PUT", &at(LEASES, "l"), &lease(Some("{l.version}"), "two"));
    play.send("PUT", &at(LEASES, "l"), &lease(Some("1"), "three"));
    play.send("PUT", &at(LEASES, "nobody"), &lease(Some("1"), "three"));
    play.send("PUT", &at(LEASES, "nobody"), &lease_of("nobody", Some("1"), "three"));
    play.send("DELETE", &at(LEASES, "l"), &json!({}));
    let mut of_another = lease(Some("{l.version}"), "two");
    of_another["metadata"]["uid"] = json!("{l.uid}");
    play.send("PUT", &at(LEASES, "l"), &of_another);
    play.send("PUT", &at(LEASES, "l"), &lease(Some("{l.version}"), "two"));
    play.send("PUT", &at(LEASES, "l"), &of_another);
}

fn lists_and_watches(play: &mut Play<'_>) {
    let none = Value::Null;
    for name in ["p", "q", "r"] {
        play.send("POST", JOBS, &job(name, None));
    }
    play.send("GET", &format!("{JOBS}?limit=2"), &none);
    play.send("GET", &format!("{JOBS}?limit=2&continue={{list.continue}}"), &none);
    play.send("GET", &format!("{JOBS}?labelSelector={DAEMONJOB_LABEL}%3Dq"), &none);
    play.send("GET", &format!("{JOBS}?labelSelector={DAEMONJOB_LABEL}&limit=1"), &none);
    play.send("GET", &format!("{JOBS}?fieldSelector=metadata.name%3Dr"), &none);
    play.send_for("GET", &format!("{JOBS}?limit=500"), METADATA, &none);
    play.send("GET", &format!("{DAEMONJOBS}?limit=500"), &none);
    play.send("GET", &format!("{JOBS}?limit=500"), &none);
    play.send(
        "PATCH",
        &at(JOBS, "p"),
        &json!({"metadata": {"labels": {DAEMONJOB_LABEL: null}}}),
    );
    play.send(
        "PATCH",
        &at(JOBS, "p"),
        &json!({"metadata": {"labels": {DAEMONJOB_LABEL: "p"}}}),
    );
    play.send("DELETE", &at(JOBS, "q"), &json!({"propagationPolicy": "Background"}));
    play.send("POST", JOBS, &job("q", None));
    let watch = "watch=true&timeoutSeconds=2&allowWatchBookmarks=true";
    play.send(
        "GET",
        &format!("{JOBS}?{watch}&resourceVersion={{list.version}}"),
        &none,
    );
    let selected = format!("labelSelector={DAEMONJOB_LABEL}");
    play.send(
        "GET",
        &format!("{JOBS}?{watch}&{selected}&resourceVersion={{list.version}}"),
        &none,
    );
}

/// The history is gone: a server that was started again does not know it.
fn forgotten(play: &mut Play<'_>) {
    play.send(
        "GET",
        &format!("{JOBS}?watch=true&timeoutSeconds=2&resourceVersion=1"),
        &Value::Null,
    );
}

/// What becomes of the dependents, once the collector has done its work.
fn garbage(play: &mut Play<'_>) {
    play.in_company = true;
    for policy in ["Foreground", "Background", "Orphan"] {
        play.send("POST", JOBS, &job("root", None));
        play.send("POST", JOBS, &job("child", Some("root")));
        play.send("POST", JOBS, &job("grandchild", Some("child")));
        play.send("GET", &format!("{JOBS}?limit=500"), &Value::Null);
        play.send("DELETE", &at(JOBS, "root"), &json!({"propagationPolicy": policy}));
        play.collect();
        // The younger first: the real collector may be quicker than the next request.
        for name in ["grandchild", "child"] {
            play.send("DELETE", &at(JOBS, name), &json!({"propagationPolicy": "Background"}));
        }
        play.collect();
    }
    // Nobody says how: a Job then lets its dependents go.
    play.send("POST", JOBS, &job("root", None));
    play.send("POST", JOBS, &job("child", Some("root")));
    play.send("DELETE", &at(JOBS, "root"), &Value::Null);
    play.collect();
    play.send(
        "DELETE",
        &at(JOBS, "child"),
        &json!({"propagationPolicy": "Background"}),
    );
}

/// Played on one of them.
fn told(server: &mut dyn Server, script: fn(&mut Play<'_>)) -> String {
    let mut play = Play {
        server,
        known: BTreeMap::new(),
        told: Vec::new(),
        in_company: false,
    };
    script(&mut play);
    play.told.join("\n")
}

fn in_memory() -> InMemory {
    let mut server = InMemory::default();
    let namespace = json!({"metadata": {"name": "default"}}).to_string();
    server.send("POST", "/api/v1/namespaces", "", &namespace);
    let version = server.0.version();
    server.0.compact(version);
    assert_eq!(server.0.all(Kind::Namespace).count(), 1);
    server
}

fn compare(script: fn(&mut Play<'_>), real: &mut Real) {
    let (wanted, found) = (told(real, script), told(&mut in_memory(), script));
    let mut asked = "";
    let mut different = String::new();
    for (wanted, found) in wanted.lines().zip(found.lines()) {
        if !found.starts_with(' ') {
            asked = found;
        }
        if found != wanted {
            different += &format!("{asked}\n  Kubernetes: {wanted}\n  simulation: {found}\n");
        }
    }
    assert_eq!(different, "");
    assert_eq!(found.lines().count(), wanted.lines().count());
}

#[test]
fn the_simulation_answers_as_kubernetes_does() {
    let mut real = Real::start();
    compare(garbage, &mut real);
    // Whoever writes into Jobs would be seen in their versions.
    real.cluster
        .stop_component(Component::KubeControllerManager)
        .expect("the controllers stop");
    compare(script, &mut real);
    for change in [Cluster::stop_component, Cluster::start_component] {
        change(&real.cluster, Component::KubeApiserver).expect("the API server restarts");
    }
    real.cluster.wait_ready().expect("the API server is back");
    compare(forgotten, &mut real);
}
