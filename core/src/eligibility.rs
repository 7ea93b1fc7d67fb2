//! May a Job of this template start on this node? Asked only when one must be started, never to stop one.
//!
//! The template's own node selection answers as the scheduler would (source: the node affinity, node selector and
//! taint plugins of kube-scheduler), but three ways instead of two: a node that the template excludes is *skipped*,
//! a node that cannot take work now is *waiting* and starts by itself.

use k8s_openapi::api::batch::v1::JobTemplateSpec;
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Toleration};

use crate::observed::{NodeView, Taint};
use crate::reason::Reason;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Eligibility {
    /// The template excludes the node.
    Skipped(Because),
    /// The node cannot take work now.
    Waiting(Because),
    /// It may start.
    Yes,
}

/// A reason and, where there is more to say, a detail such as a taint's key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Because {
    /// Why.
    pub reason: Reason,
    /// More about it; the same for nodes that share the cause, so that they can be told together.
    pub detail: Option<String>,
}

impl From<Reason> for Because {
    fn from(reason: Reason) -> Self {
        Self { reason, detail: None }
    }
}

/// What a template asks of a node, taken out of it once.
#[derive(Clone, Debug, Default)]
pub struct Requirements {
    node_selector: Vec<(String, String)>,
    /// Terms are ORed; none at all means that affinity asks nothing.
    affinity: Option<Vec<NodeSelectorTerm>>,
    os: Option<String>,
    tolerations: Vec<Toleration>,
}

/// Where a kubelet writes the operating system.
const OS_LABEL: &str = "kubernetes.io/os";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Taints that pass by themselves, with the reason that users see (design §4).
const TRANSIENT: [(&str, Reason); 11] = [
    ("node.kubernetes.io/not-ready", Reason::NotReady),
    ("node.kubernetes.io/unreachable", Reason::Unreachable),
    (UNSCHEDULABLE, Reason::Cordoned),
    ("node.kubernetes.io/memory-pressure", Reason::MemoryPressure),
    ("node.kubernetes.io/disk-pressure", Reason::DiskPressure),
    ("node.kubernetes.io/pid-pressure", Reason::PidPressure),
    ("node.kubernetes.io/network-unavailable", Reason::NetworkUnavailable),
    ("node.kubernetes.io/out-of-service", Reason::Shutdown),
    ("node.cloudprovider.kubernetes.io/uninitialized", Reason::Initializing),
    ("node.cloudprovider.kubernetes.io/shutdown", Reason::Shutdown),
    ("karpenter.sh/unregistered", Reason::Initializing),
];
const TRANSIENT_PREFIXES: [&str; 2] = [
    "startup-taint.cluster-autoscaler.kubernetes.io/",
    "status-taint.cluster-autoscaler.kubernetes.io/",
];
const TRANSIENT_SUFFIX: &str = "/agent-not-ready";

impl Requirements {
    /// What this template asks of a node.
    pub fn of(template: &JobTemplateSpec) -> Self {
        let Some(pod) = template.spec.as_ref().and_then(|job| job.template.spec.as_ref()) else {
            return Self::default();
        };
        let affinity = pod
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref());
        let required = affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
        Self {
            node_selector: pod.node_selector.clone().unwrap_or_default().into_iter().collect(),
            affinity: required.map(|selector| selector.node_selector_terms.clone()),
            os: pod.os.as_ref().map(|os| os.name.clone()),
            tolerations: pod.tolerations.clone().unwrap_or_default(),
        }
    }

    /// The keys of the node labels that it looks at.
    pub fn label_keys(&self) -> impl Iterator<Item = &str> {
        let terms = self.affinity.iter().flatten();
        let expressions = terms.flat_map(|term| term.match_expressions.iter().flatten());
        let selected = self.node_selector.iter().map(|(key, _)| key.as_str());
        let os = self.os.as_ref().map(|_| OS_LABEL);
        selected
            .chain(expressions.map(|requirement| requirement.key.as_str()))
            .chain(os)
    }

    /// May a Job of the template start on this node?
    /// What the template excludes comes first: a cordoned control-plane node is skipped, not waiting.
    ///
    /// `passing` are keys of taints that pass by themselves, beyond those that Kubernetes and its add-ons are known for.
    pub fn may_start(&self, node: &NodeView, passing: &[String]) -> Eligibility {
        let excluded = self
            .excluded_by_node_selector(node)
            .or_else(|| self.excluded_by_affinity(node))
            .or_else(|| self.excluded_by_os(node))
            .or_else(|| self.excluded_by_taint(node, passing));
        if let Some(because) = excluded {
            return Eligibility::Skipped(because);
        }
        match self.held_up(node, passing) {
            Some(because) => Eligibility::Waiting(because),
            None => Eligibility::Yes,
        }
    }

    fn excluded_by_node_selector(&self, node: &NodeView) -> Option<Because> {
        let misses = |(key, value): &&(String, String)| node.labels.get(key) != Some(value);
        let (key, value) = self.node_selector.iter().find(misses)?;
        Some(Because {
            reason: Reason::NodeSelectorMismatch,
            detail: Some(format!("nodeSelector {key}={value}")),
        })
    }

    fn excluded_by_affinity(&self, node: &NodeView) -> Option<Because> {
        let terms = self.affinity.as_ref()?;
        (!terms.iter().any(|term| term_matches(term, node))).then_some(Reason::NodeAffinityMismatch.into())
    }

    fn excluded_by_os(&self, node: &NodeView) -> Option<Because> {
        let wanted = self.os.as_ref()?;
        let actual = node.labels.get(OS_LABEL)?;
        (wanted != actual).then(|| Because {
            reason: Reason::OsMismatch,
            detail: Some(format!("the node runs {actual}")),
        })
    }

    fn excluded_by_taint(&self, node: &NodeView, passing: &[String]) -> Option<Because> {
        let policy = |taint: &&Taint| transient(&taint.key, passing).is_none() && !self.tolerates(taint);
        let taint = node.spec.taints.iter().find(policy)?;
        Some(Because {
            reason: Reason::UntoleratedTaint,
            detail: Some(format!("taint {}", taint.key)),
        })
    }

    fn held_up(&self, node: &NodeView, passing: &[String]) -> Option<Because> {
        // The cordon is a field first; its taint follows, some time later.
        let cordon = Taint {
            key: UNSCHEDULABLE.to_owned(),
            value: String::new(),
            effect: "NoSchedule".to_owned(),
        };
        if node.spec.unschedulable && !self.tolerates(&cordon) {
            return Some(Reason::Cordoned.into());
        }
        let blocking = node.spec.taints.iter().filter(|taint| !self.tolerates(taint));
        blocking
            .filter_map(|taint| {
                let reason = transient(&taint.key, passing)?;
                // A well-known key says it all; one of an agent or an autoscaler does not.
                let detail = (reason == Reason::Initializing).then(|| format!("taint {}", taint.key));
                Some(Because { reason, detail })
            })
            .min()
    }

    fn tolerates(&self, taint: &Taint) -> bool {
        let hard = matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
        !hard
            || self
                .tolerations
                .iter()
                .any(|toleration| tolerated_by(toleration, taint))
    }
}

fn transient(key: &str, passing: &[String]) -> Option<Reason> {
    if let Some((_, reason)) = TRANSIENT.iter().find(|(known, _)| *known == key) {
        return Some(*reason);
    }
    let start_up = TRANSIENT_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
        || key.ends_with(TRANSIENT_SUFFIX)
        || passing.iter().any(|passing| passing == key);
    start_up.then_some(Reason::Initializing)
}

fn tolerated_by(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |field: &Option<String>| field.as_deref().unwrap_or_default().to_owned();
    let (key, effect, value) = (text(&toleration.key), text(&toleration.effect), text(&toleration.value));
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    if !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => !key.is_empty() && value == taint.value,
        "Exists" => true,
        "Gt" => compare(&taint.value, &value).is_some_and(|order| order.is_gt()),
        "Lt" => compare(&taint.value, &value).is_some_and(|order| order.is_lt()),
        _ => false,
    }
}

fn compare(left: &str, right: &str) -> Option<std::cmp::Ordering> {
    Some(left.parse::<i64>().ok()?.cmp(&right.parse::<i64>().ok()?))
}

/// An empty term matches nothing, as in the API.
fn term_matches(term: &NodeSelectorTerm, node: &NodeView) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let label = |requirement: &NodeSelectorRequirement| {
        requirement_matches(requirement, node.labels.get(&requirement.key).map(String::as_str))
    };
    let field = |requirement: &NodeSelectorRequirement| {
        requirement.key == "metadata.name" && requirement_matches(requirement, Some(node.name.as_str()))
    };
    expressions.iter().all(label) && fields.iter().all(field)
}

fn requirement_matches(requirement: &NodeSelectorRequirement, actual: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || actual.is_some_and(|actual| values.iter().any(|value| value == actual));
    let against_first = || compare(actual?, values.first()?);
    match requirement.operator.as_str() {
        "DoesNotExist" => actual.is_none(),
        "Exists" => actual.is_some(),
        "Gt" => against_first().is_some_and(|order| order.is_gt()),
        "In" => listed(),
        "Lt" => against_first().is_some_and(|order| order.is_lt()),
        "NotIn" => !listed(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::names::{NodeName, NodeUid};
    use crate::observed::NodeLiteSpec;

    fn requirements(pod: &Value) -> Requirements {
        let template = json!({"spec": {"template": {"spec": pod}}});
        Requirements::of(&serde_json::from_value(template).unwrap())
    }

    fn node(labels: &[(&str, &str)], taints: &[(&str, &str)]) -> NodeView {
        NodeView {
            name: NodeName::new("n1"),
            uid: NodeUid::new("u1"),
            created: None,
            labels: labels
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            spec: NodeLiteSpec {
                unschedulable: false,
                taints: taints
                    .iter()
                    .map(|(key, effect)| Taint {
                        key: (*key).into(),
                        value: String::new(),
                        effect: (*effect).into(),
                    })
                    .collect(),
            },
        }
    }

    fn plain(taints: &[(&str, &str)]) -> Eligibility {
        requirements(&json!({"containers": []})).may_start(&node(&[], taints), &[])
    }

    #[test]
    fn e01_cordoned_waits_unless_the_template_tolerates_it() {
        let mut cordoned = node(&[], &[]);
        cordoned.spec.unschedulable = true;
        assert_eq!(
            requirements(&json!({"containers": []})).may_start(&cordoned, &[]),
            Eligibility::Waiting(Reason::Cordoned.into())
        );
        let tolerant = json!({"containers": [], "tolerations": [{"key": UNSCHEDULABLE, "operator": "Exists"}]});
        assert_eq!(requirements(&tolerant).may_start(&cordoned, &[]), Eligibility::Yes);
    }

    #[rstest]
    #[case("node.kubernetes.io/not-ready", Reason::NotReady)]
    #[case("node.kubernetes.io/memory-pressure", Reason::MemoryPressure)]
    #[case("node.cilium.io/agent-not-ready", Reason::Initializing)]
    #[case("startup-taint.cluster-autoscaler.kubernetes.io/x", Reason::Initializing)]
    fn e04_transient_taints_wait(#[case] key: &str, #[case] reason: Reason) {
        let Eligibility::Waiting(because) = plain(&[(key, "NoSchedule")]) else {
            panic!("not waiting")
        };
        assert_eq!(because.reason, reason);
    }

    #[test]
    fn e05_a_taint_named_by_flag_waits_too() {
        let tainted = node(&[], &[("example.com/warming-up", "NoSchedule")]);
        let template = requirements(&json!({"containers": []}));
        assert!(matches!(template.may_start(&tainted, &[]), Eligibility::Skipped(_)));
        let passing = ["example.com/warming-up".to_owned()];
        assert!(matches!(
            template.may_start(&tainted, &passing),
            Eligibility::Waiting(_)
        ));
    }

    #[test]
    fn e05_policy_taints_skip_with_their_key_and_soft_ones_do_not_count() {
        let key = "node-role.kubernetes.io/control-plane";
        assert_eq!(
            plain(&[(key, "NoSchedule")]),
            Eligibility::Skipped(Because {
                reason: Reason::UntoleratedTaint,
                detail: Some(format!("taint {key}"))
            })
        );
        assert_eq!(plain(&[(key, "PreferNoSchedule")]), Eligibility::Yes);
        let both = plain(&[("node.kubernetes.io/not-ready", "NoSchedule"), (key, "NoExecute")]);
        assert!(matches!(both, Eligibility::Skipped(_)), "policy first: {both:?}");
    }

    #[rstest]
    #[case(json!({"operator": "Exists"}), true)]
    #[case(json!({"key": "k", "operator": "Exists"}), true)]
    #[case(json!({"key": "k"}), true)]
    #[case(json!({"key": "k", "value": "v"}), false)]
    #[case(json!({"key": "k", "operator": "Exists", "effect": "NoExecute"}), false)]
    #[case(json!({"key": "other", "operator": "Exists"}), false)]
    #[case(json!({"key": "k", "operator": "Exists", "effect": "NoSchedule"}), true)]
    #[case(json!({}), false)]
    fn e05_tolerations_match_as_in_the_scheduler(#[case] toleration: Value, #[case] starts: bool) {
        let pod = json!({"containers": [], "tolerations": [toleration]});
        let answer = requirements(&pod).may_start(&node(&[], &[("k", "NoSchedule")]), &[]);
        assert_eq!(answer == Eligibility::Yes, starts, "{answer:?}");
    }

    #[rstest]
    #[case("Equal", "5", true)]
    #[case("Equal", "4", false)]
    #[case("Gt", "4", true)]
    #[case("Gt", "5", false)]
    #[case("Lt", "6", true)]
    #[case("Lt", "5", false)]
    #[case("Lt", "six", false)]
    #[case("Unknown", "5", false)]
    fn e05_tolerations_compare_the_value_of_the_taint(
        #[case] operator: &str,
        #[case] value: &str,
        #[case] starts: bool,
    ) {
        let mut tainted = node(&[], &[("k", "NoSchedule")]);
        tainted.spec.taints[0].value = "5".into();
        let pod = json!({"containers": [], "tolerations": [{"key": "k", "operator": operator, "value": value}]});
        let answer = requirements(&pod).may_start(&tainted, &[]);
        assert_eq!(answer == Eligibility::Yes, starts, "{answer:?}");
    }

    #[rstest]
    #[case("node.kubernetes.io/not-ready", None)]
    #[case("node.cilium.io/agent-not-ready", Some("taint node.cilium.io/agent-not-ready"))]
    fn e04_a_taint_whose_reason_does_not_say_it_all_is_named(#[case] key: &str, #[case] detail: Option<&str>) {
        let Eligibility::Waiting(because) = plain(&[(key, "NoSchedule")]) else {
            panic!("not waiting")
        };
        assert_eq!(because.detail.as_deref(), detail);
    }

    #[rstest]
    #[case(json!({"key": "zone", "operator": "In", "values": ["a", "b"]}), true)]
    #[case(json!({"key": "zone", "operator": "NotIn", "values": ["a"]}), false)]
    #[case(json!({"key": "gone", "operator": "NotIn", "values": ["a"]}), true)]
    #[case(json!({"key": "zone", "operator": "Exists"}), true)]
    #[case(json!({"key": "zone", "operator": "DoesNotExist"}), false)]
    #[case(json!({"key": "cores", "operator": "Gt", "values": ["4"]}), true)]
    #[case(json!({"key": "cores", "operator": "Lt", "values": ["4"]}), false)]
    #[case(json!({"key": "zone", "operator": "Gt", "values": ["4"]}), false)]
    #[case(json!({"key": "gone", "operator": "DoesNotExist"}), true)]
    #[case(json!({"key": "gone", "operator": "Exists"}), false)]
    #[case(json!({"key": "zone", "operator": "In", "values": ["b"]}), false)]
    #[case(json!({"key": "cores", "operator": "Gt", "values": ["8"]}), false)]
    #[case(json!({"key": "cores", "operator": "Lt", "values": ["9"]}), true)]
    #[case(json!({"key": "cores", "operator": "Lt", "values": ["8"]}), false)]
    #[case(json!({"key": "zone", "operator": "Unknown"}), false)]
    fn e13_affinity_operators(#[case] expression: Value, #[case] matches: bool) {
        let terms = json!([{"matchExpressions": [expression]}]);
        assert_eq!(with_terms(&terms) == Eligibility::Yes, matches);
    }

    fn with_terms(terms: &Value) -> Eligibility {
        let pod = json!({"containers": [], "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}});
        requirements(&pod).may_start(&node(&[("zone", "a"), ("cores", "8")], &[]), &[])
    }

    #[test]
    fn e14_terms_are_ored_and_empty_terms_match_nothing() {
        let hit = json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]});
        let miss = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["other"]}]});
        assert_eq!(with_terms(&json!([miss, hit])), Eligibility::Yes);
        assert_eq!(
            with_terms(&json!([{}, miss])),
            Eligibility::Skipped(Reason::NodeAffinityMismatch.into())
        );
    }

    #[rstest]
    #[case("metadata.name", "n1", "Exists", true)]
    #[case("metadata.name", "other", "Exists", false)]
    #[case("metadata.name", "n1", "DoesNotExist", false)]
    #[case("spec.unschedulable", "n1", "Exists", false)]
    fn e14_within_a_term_all_must_match_and_of_fields_there_is_only_the_name(
        #[case] field: &str,
        #[case] name: &str,
        #[case] zone: &str,
        #[case] matches: bool,
    ) {
        let term = json!({
            "matchExpressions": [{"key": "zone", "operator": zone}],
            "matchFields": [{"key": field, "operator": "In", "values": [name]}],
        });
        assert_eq!(with_terms(&json!([term])) == Eligibility::Yes, matches);
    }

    #[test]
    fn e13_node_selector_and_os_filter() {
        let arm = requirements(&json!({"containers": [], "nodeSelector": {"kubernetes.io/arch": "arm64"}}));
        let windows = requirements(&json!({"containers": [], "os": {"name": "windows"}}));
        let linux = node(&[("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "amd64")], &[]);
        let reason = |answer| match answer {
            Eligibility::Skipped(because) => because.reason,
            Eligibility::Waiting(_) | Eligibility::Yes => panic!("not skipped"),
        };
        assert_eq!(reason(arm.may_start(&linux, &[])), Reason::NodeSelectorMismatch);
        assert_eq!(reason(windows.may_start(&linux, &[])), Reason::OsMismatch);
    }
}
