//! What reaches the Pods and how: ports, the network of the nodes, policies, scrapers.

use serde_json::{Value, json};

use crate::render::{NO_WEBHOOK, URL, list, name, refusal, render, string};

const POLICY: &str = "networkPolicy.enabled=true";

#[test]
fn a_policy_lets_anybody_reach_both_ports_and_the_pods_reach_anything_unless_told_otherwise() {
    assert!(!render(&[]).has("NetworkPolicy"));
    let rendered = render(&[POLICY]);
    let spec = &rendered.one("NetworkPolicy")["spec"];
    let selector = &rendered.one("Deployment")["spec"]["selector"];
    assert_eq!(&spec["podSelector"], selector);
    assert_eq!(spec["policyTypes"], json!(["Ingress"]));
    assert!(spec.get("egress").is_none());
    let port = |name: &str| json!({"ports": [{"port": name, "protocol": "TCP"}]});
    assert_eq!(spec["ingress"], json!([port("webhook"), port("admin")]));
    let ports = list(&rendered.container()["ports"]).iter();
    let named: Vec<&str> = ports.map(|port| string(&port["name"])).collect();
    assert_eq!(named, ["admin", "webhook"]);
}

#[test]
fn a_policy_names_the_peers_and_destinations_that_it_is_given() {
    let rendered = render(&[
        POLICY,
        "networkPolicy.webhookFrom[0].ipBlock.cidr=10.0.0.0/8",
        "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=watching",
        "networkPolicy.egress[0].ports[0].port=6443",
    ]);
    let spec = &rendered.one("NetworkPolicy")["spec"];
    assert_eq!(spec["ingress"][0]["from"], json!([{"ipBlock": {"cidr": "10.0.0.0/8"}}]));
    let watching = json!([{"namespaceSelector": {"matchLabels": {"team": "watching"}}}]);
    assert_eq!(spec["ingress"][1]["from"], watching);
    assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(spec["egress"], json!([{"ports": [{"port": 6443}]}]));
}

#[test]
fn without_a_webhook_a_policy_opens_no_port_for_it() {
    let rendered = render(&[NO_WEBHOOK, &[POLICY]].concat());
    let ingress = list(&rendered.one("NetworkPolicy")["spec"]["ingress"]);
    assert_eq!(ingress.len(), 1);
    assert_eq!(ingress[0]["ports"][0]["port"], "admin");
}

#[test]
fn a_service_monitor_finds_the_metrics_service_and_that_finds_the_pods() {
    let rendered = render(&[
        "serviceMonitor.enabled=true",
        "serviceMonitor.labels.release=prometheus",
        "serviceMonitor.interval=30s",
        "serviceMonitor.scrapeTimeout=10s",
        "serviceMonitor.relabelings[0].action=labeldrop",
        "serviceMonitor.metricRelabelings[0].action=drop",
    ]);
    let monitor = rendered.one("ServiceMonitor");
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    let endpoint = json!({
        "port": "metrics", "path": "/metrics", "interval": "30s", "scrapeTimeout": "10s",
        "relabelings": [{"action": "labeldrop"}], "metricRelabelings": [{"action": "drop"}],
    });
    assert_eq!(monitor["spec"]["endpoints"], json!([endpoint]));
    let wanted = monitor["spec"]["selector"]["matchLabels"]
        .as_object()
        .expect("it selects");
    let is_selected = |service: &&&Value| {
        let labels = &service["metadata"]["labels"];
        wanted.iter().all(|(key, value)| labels[key] == *value)
    };
    let services = rendered.all("Service");
    let selected: Vec<_> = services.iter().filter(is_selected).collect();
    assert_eq!(selected.len(), 1);
    assert_eq!(name(selected[0]), "daemonjob-metrics");
    let spec = &selected[0]["spec"];
    assert_eq!(
        spec["ports"],
        json!([{"name": "metrics", "port": 8080, "targetPort": "admin", "protocol": "TCP"}])
    );
    assert_eq!(
        spec["selector"],
        rendered.one("Deployment")["spec"]["selector"]["matchLabels"]
    );
}

#[test]
fn a_pod_monitor_needs_no_service() {
    let rendered = render(&["podMonitor.enabled=true"]);
    let spec = &rendered.one("PodMonitor")["spec"];
    assert_eq!(
        spec["podMetricsEndpoints"],
        json!([{"port": "admin", "path": "/metrics"}])
    );
    assert_eq!(spec["selector"], rendered.one("Deployment")["spec"]["selector"]);
    assert_eq!(rendered.all("Service").len(), 1, "that of the webhook");
}

#[test]
fn ports_and_addresses_are_the_same_for_process_container_and_service() {
    let rendered = render(&["webhook.securePort=10250", "adminPort=9090", "listenAddress=::"]);
    assert_eq!(rendered.variable("DAEMONJOB_WEBHOOK_ADDRESS"), Some("[::]:10250"));
    assert_eq!(rendered.variable("DAEMONJOB_ADMIN_ADDRESS"), Some("[::]:9090"));
    let ports = json!([{"name": "admin", "containerPort": 9090}, {"name": "webhook", "containerPort": 10250}]);
    assert_eq!(rendered.container()["ports"], ports);
    assert_eq!(rendered.one("Service")["spec"]["ports"][0]["port"], 443);
}

#[test]
fn on_the_network_of_the_nodes_a_replica_makes_room_for_its_successor() {
    let rollout = |sets: &[&str]| render(sets).one("Deployment")["spec"]["strategy"]["rollingUpdate"].clone();
    assert_eq!(rollout(&[]), json!({"maxSurge": 1, "maxUnavailable": 0}));
    assert_eq!(
        rollout(&["hostNetwork=true"]),
        json!({"maxSurge": 0, "maxUnavailable": 1})
    );
    let rendered = render(&["hostNetwork=true"]);
    assert_eq!(rendered.pod()["hostNetwork"], true);
    assert_eq!(rendered.pod()["dnsPolicy"], "ClusterFirstWithHostNet");
}

#[test]
fn what_is_about_pods_is_refused_where_there_are_none() {
    for value in [
        "hostNetwork",
        "networkPolicy.enabled",
        "serviceMonitor.enabled",
        "podMonitor.enabled",
    ] {
        let refusal = refusal(&[URL[0], &format!("{value}=true")]);
        let said = format!("{} is about Pods", value.trim_end_matches(".enabled"));
        assert!(refusal.contains(&said), "{value}: {refusal}");
    }
}

#[test]
fn ports_that_clash_and_two_monitors_are_refused_in_a_sentence() {
    let twice = refusal(&["serviceMonitor.enabled=true", "podMonitor.enabled=true"]);
    assert!(twice.contains("would be scraped twice"), "{twice}");
    let clash = refusal(&["adminPort=9443"]);
    assert!(clash.contains("are the same port"), "{clash}");
}

#[test]
fn labels_of_a_monitor_never_replace_ours() {
    let rendered = render(&[
        "podMonitor.enabled=true",
        "podMonitor.labels.app\\.kubernetes\\.io/name=other",
    ]);
    let labels = &rendered.one("PodMonitor")["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/name"], "daemonjob");
}
