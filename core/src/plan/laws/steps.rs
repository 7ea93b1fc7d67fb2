//! What may happen, one step at a time, and chains of such steps for proptest.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::world::{NAME, World};
use super::cluster::{Cluster, Propagation};
use super::controller::{Controller, Fate, Kind, Planned};
use crate::names::{self, NodeName, job_name};
use crate::observed::{Run, Taint};

/// Node names that steps speak of.
const NODES: [&str; 4] = ["n0", "n1", "n2", "n3"];
/// A taint that excludes a node for good, and one that passes.
pub(super) const POLICY_TAINT: &str = "dedicated";
const PASSING_TAINT: &str = "node.kubernetes.io/not-ready";

#[derive(Clone, Copy, Debug)]
pub(super) enum Selector {
    All,
    Both,
    Linux,
    NotLinux,
}

/// What a user does to the DaemonJob.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edit {
    Apply,
    Delete(Propagation),
    /// The hash annotation: none or a wrong one.
    Hash(bool),
    Replace(bool),
    /// Another token or the last one again, for all that failed or for one node.
    Retry(bool, Option<u8>),
    Select(Selector),
    Template(u8),
    /// Past the webhook.
    Unstamped(u8),
}

/// What happens to a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Add,
    Cordon(bool),
    Delete,
    Label(bool),
    Recreate,
    Taint(bool, bool),
}

/// What happens to the Job of a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fall {
    /// A user deletes it.
    Delete(Propagation),
    /// Somebody else's takes the name, with our label or without.
    Foreign(bool),
    /// It was told to go, and has gone.
    Gone,
    /// Its Pods ended.
    End(bool),
    /// A user removes what makes it ours: label, owner, or hash.
    Strip(u8),
    /// Its Pods come up, or are refused.
    Pods(bool),
    Suspend(bool),
}

/// What a controller sees before it plans.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sight {
    All,
    /// So many events of one kind.
    Some(Kind, usize),
}

/// What one of the controllers does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Crash,
    Deliver(Kind, usize),
    Guard(Fate),
    List(Kind, usize),
    Plan,
    Report(Fate),
    /// Sees everything or some of it, plans, and does all of it; what becomes of its Job writes, and of its status.
    Round(Sight, Fate, Fate),
    Send(usize, Fate),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Act(usize, Act),
    CollectGarbage,
    Edit(Edit),
    Job(u8, Fall),
    Node(u8, Change),
    Pass(i64),
    Quota(bool),
}

/// What may happen in a walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    pub(super) leaders: usize,
    /// So many nodes: fewer of them let more happen to each.
    pub(super) nodes: u8,
    /// What `replace` may be.
    pub(super) replace: &'static [bool],
    /// Foreign Jobs, Jobs that lose their marks, nodes and DaemonJobs that come and go.
    pub(super) is_wild: bool,
}

pub(super) const WILD: Mix = Mix {
    leaders: 1,
    nodes: 4,
    replace: &[false, true],
    is_wild: true,
};

fn propagation() -> impl Strategy<Value = Propagation> {
    prop_oneof![Just(Propagation::Background), Just(Propagation::Foreground)]
}

fn edit(mix: Mix) -> impl Strategy<Value = Edit> {
    let selector = prop_oneof![
        3 => Just(Selector::All),
        2 => Just(Selector::Linux),
        1 => Just(Selector::NotLinux),
        1 => Just(Selector::Both),
    ];
    let replace = prop::sample::select(mix.replace).prop_map(Edit::Replace);
    let wild = u32::from(mix.is_wild);
    prop_oneof![
        6 => (0_u8..3).prop_map(Edit::Template),
        3 => replace,
        3 => (any::<bool>(), prop::option::of(0..mix.nodes)).prop_map(|(again, node)| Edit::Retry(again, node)),
        2 * wild => selector.prop_map(Edit::Select),
        wild => any::<bool>().prop_map(Edit::Hash),
        wild => (0_u8..3).prop_map(Edit::Unstamped),
        wild => propagation().prop_map(Edit::Delete),
        2 * wild => Just(Edit::Apply),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => Just(Change::Add),
        2 => any::<bool>().prop_map(Change::Cordon),
        1 => Just(Change::Delete),
        3 => any::<bool>().prop_map(Change::Label),
        1 => Just(Change::Recreate),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(policy, on)| Change::Taint(policy, on)),
    ]
}

fn fall(mix: Mix) -> impl Strategy<Value = Fall> {
    let wild = u32::from(mix.is_wild);
    prop_oneof![
        8 => any::<bool>().prop_map(Fall::End),
        5 => Just(Fall::Gone),
        1 => propagation().prop_map(Fall::Delete),
        wild => any::<bool>().prop_map(Fall::Foreign),
        wild => (0_u8..3).prop_map(Fall::Strip),
        wild => any::<bool>().prop_map(Fall::Pods),
        wild => any::<bool>().prop_map(Fall::Suspend),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let kind = || prop::sample::select(&Kind::ALL[..]);
    let events = || prop_oneof![1_usize..3, Just(100)];
    let sight = prop_oneof![
        Just(Sight::All),
        (kind(), events()).prop_map(|(kind, events)| Sight::Some(kind, events))
    ];
    let fate = || {
        prop_oneof![
            8 => Just(Fate::Answered),
            1 => Just(Fate::Failed),
            1 => Just(Fate::Unheard),
        ]
    };
    prop_oneof![
        9 => (sight, fate(), fate()).prop_map(|(sight, writes, report)| Act::Round(sight, writes, report)),
        6 => (kind(), events()).prop_map(|(kind, count)| Act::Deliver(kind, count)),
        4 => Just(Act::Plan),
        4 => fate().prop_map(Act::Guard),
        4 => (0_usize..3, fate()).prop_map(|(which, fate)| Act::Send(which, fate)),
        3 => fate().prop_map(Act::Report),
        1 => (kind(), 0_usize..4).prop_map(|(kind, lag)| Act::List(kind, lag)),
        1 => Just(Act::Crash),
    ]
}

fn step(mix: Mix) -> impl Strategy<Value = Step> {
    let wild = u32::from(mix.is_wild);
    prop_oneof![
        12 => (0..mix.leaders, act()).prop_map(|(who, act)| Step::Act(who, act)),
        3 => edit(mix).prop_map(Step::Edit),
        5 => (0..mix.nodes, fall(mix)).prop_map(|(node, fall)| Step::Job(node, fall)),
        2 => prop::sample::select(&[1_i64, 6, 61, 600][..]).prop_map(Step::Pass),
        3 * wild => (0..mix.nodes, change()).prop_map(|(node, change)| Step::Node(node, change)),
        wild => any::<bool>().prop_map(Step::Quota),
        wild => Just(Step::CollectGarbage),
    ]
}

/// How a walk begins, and its steps: half of the walks are about one node, where more comes of each step.
pub(super) fn walks(mix: Mix) -> impl Strategy<Value = (Start, Vec<Step>)> {
    let calm = Mix {
        nodes: 1,
        is_wild: false,
        ..mix
    };
    prop_oneof![walks_of(mix), walks_of(calm)]
}

fn walks_of(mix: Mix) -> impl Strategy<Value = (Start, Vec<Step>)> {
    let ttl = prop::sample::select(&[None, Some(0_i64), Some(60)][..]);
    let start = (ttl, prop::sample::select(mix.replace)).prop_map(move |(ttl, replace)| Start {
        ttl,
        replace,
        nodes: mix.nodes,
        leaders: mix.leaders,
    });
    (start, prop::collection::vec(step(mix), 0..60))
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) ttl: Option<i64>,
    pub(super) replace: bool,
    pub(super) nodes: u8,
    pub(super) leaders: usize,
}

impl Start {
    /// One node fewer than steps speak of, and one of another system where there are several.
    fn world(self) -> World {
        let ttl = self.ttl.map_or_else(String::new, |seconds| format!(" ttl={seconds}"));
        let replace = if self.replace { " replace" } else { "" };
        let nodes: String = (0..self.nodes.saturating_sub(1).max(1))
            .map(|n| {
                format!(
                    "node {} os={}\n",
                    NODES[usize::from(n)],
                    if n == 2 { "windows" } else { "linux" }
                )
            })
            .collect();
        World::parse(&format!("template A{replace}{ttl}\n{nodes}"))
    }
}

/// A cluster and its controllers under way.
pub(super) struct Walk {
    pub(super) cluster: Cluster,
    pub(super) controllers: Vec<Controller>,
    token: u32,
    /// Its controllers send whatever their guards say: only to show that the laws would notice.
    pub(super) is_blind: bool,
    /// Looks at every plan that is made.
    judge: fn(&Planned, &mut Cluster),
}

impl Walk {
    pub(super) fn new(start: Start, judge: fn(&Planned, &mut Cluster)) -> Self {
        Self {
            cluster: Cluster::of(start.world()),
            controllers: (0..start.leaders).map(|_| Controller::default()).collect(),
            token: 0,
            is_blind: false,
            judge,
        }
    }

    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Act(who, act) => self.act(who, act),
            Step::CollectGarbage => self.cluster.collect_garbage(),
            Step::Edit(edit) => self.edit(edit),
            Step::Job(node, fall) => self.fall(&NodeName::new(NODES[usize::from(node)]), fall),
            Step::Node(node, change) => self.change(&NodeName::new(NODES[usize::from(node)]), change),
            Step::Pass(seconds) => self.pass(seconds),
            Step::Quota(quota) => self.cluster.quota = quota,
        }
    }

    /// Time passes. A request lasts no longer than its bound.
    pub(super) fn pass(&mut self, seconds: i64) {
        if seconds > 5 {
            self.controllers
                .iter_mut()
                .for_each(|controller| controller.time_out(&self.cluster));
        }
        self.cluster.clock += seconds * 1000;
    }

    fn act(&mut self, who: usize, act: Act) {
        let (controller, cluster) = (&mut self.controllers[who], &mut self.cluster);
        controller.is_blind = self.is_blind;
        match act {
            Act::Crash => *controller = Controller::default(),
            Act::Deliver(kind, events) => controller.deliver(kind, events, cluster),
            Act::Guard(fate) => controller.guard(fate, cluster),
            Act::List(kind, lag) => controller.list(kind, lag, cluster),
            Act::Plan => {
                if let Some(planned) = controller.plan(cluster) {
                    (self.judge)(&planned, cluster);
                }
            }
            Act::Report(fate) => controller.send_report(fate, cluster),
            Act::Round(sight, writes, report) => self.round(who, sight, writes, report),
            Act::Send(which, fate) => controller.send(which, fate, cluster),
        }
    }

    /// A controller looks, plans if it is time to, and does all of it.
    pub(super) fn round(&mut self, who: usize, sight: Sight, writes: Fate, report: Fate) {
        let (controller, cluster) = (&mut self.controllers[who], &mut self.cluster);
        match sight {
            Sight::All => Kind::ALL
                .iter()
                .for_each(|kind| controller.deliver(*kind, usize::MAX, cluster)),
            Sight::Some(kind, events) => controller.deliver(kind, events, cluster),
        }
        if let Some(planned) = controller.plan(cluster) {
            (self.judge)(&planned, cluster);
        }
        while !controller.is_idle() {
            controller.guard(Fate::Answered, cluster);
            controller.send(0, writes, cluster);
            controller.send_report(report, cluster);
        }
    }

    fn edit(&mut self, edit: Edit) {
        let letter = |letter: u8| ["A", "B", "C"][usize::from(letter)];
        match edit {
            Edit::Apply => self.cluster.apply_daemon_job(),
            Edit::Delete(propagation) => self.cluster.delete_daemon_job(propagation),
            Edit::Hash(is_wrong) => {
                let hash = is_wrong.then(|| "0".repeat(64));
                self.cluster.annotate(names::TEMPLATE_HASH, hash);
            }
            Edit::Replace(replace) => self.cluster.edit_spec(true, |spec| spec["replace"] = replace.into()),
            Edit::Retry(is_again, node) => {
                self.token += u32::from(!is_again);
                let node = node.map_or("", |node| NODES[usize::from(node)]);
                let request = format!("t{} {node}", self.token);
                self.cluster.annotate(names::RETRY, Some(request));
            }
            Edit::Select(selector) => self.cluster.edit_spec(true, |spec| selector.write(spec)),
            Edit::Template(which) => self.cluster.edit_template(letter(which), true),
            Edit::Unstamped(which) => self.cluster.edit_template(letter(which), false),
        }
    }

    fn change(&mut self, node: &NodeName, change: Change) {
        match change {
            Change::Add => self.cluster.add_node(node),
            Change::Cordon(on) => self.cluster.change_node(node, |node| node.spec.unschedulable = on),
            Change::Delete => self.cluster.delete_node(node),
            Change::Label(linux) => self.cluster.change_node(node, |node| {
                let os = if linux { "linux" } else { "windows" };
                node.labels.insert("os".to_owned(), os.to_owned());
            }),
            Change::Recreate => {
                self.cluster.delete_node(node);
                self.cluster.add_node(node);
            }
            Change::Taint(is_policy, on) => {
                let key = if is_policy { POLICY_TAINT } else { PASSING_TAINT };
                self.cluster.change_node(node, |node| {
                    node.spec.taints.retain(|taint| taint.key != key);
                    node.spec.taints.extend(on.then(|| Taint {
                        key: key.to_owned(),
                        value: String::new(),
                        effect: "NoSchedule".to_owned(),
                    }));
                });
            }
        }
    }

    fn fall(&mut self, node: &NodeName, fall: Fall) {
        let name = job_name(NAME, node);
        let cluster = &mut self.cluster;
        let second = cluster.now();
        let second = jiff::Timestamp::from_second(second.as_second()).unwrap_or(second);
        match fall {
            Fall::Delete(propagation) => {
                meddle(cluster, node);
                match propagation {
                    Propagation::Background => cluster.drop_job(&name),
                    Propagation::Foreground => cluster.tell_to_go(&name),
                }
            }
            Fall::Foreign(is_labelled) => cluster.put_foreign_job(node, is_labelled),
            Fall::Gone => {
                if cluster.job_of(node).is_some_and(|job| job.view.deleted.is_some()) {
                    cluster.drop_job(&name);
                }
            }
            Fall::End(succeeds) => cluster.change_job(&name, |job| {
                if job.run == Run::Running {
                    job.podless_since = None;
                    job.run = end(succeeds, second);
                }
            }),
            Fall::Strip(mark) => {
                meddle(cluster, node);
                cluster.change_job(&name, |job| match mark {
                    0 => job.label = None,
                    1 => job.owner = None,
                    _ => job.hash = None,
                });
            }
            Fall::Pods(refused) => cluster.change_job(&name, |job| {
                job.podless_since = (refused && job.run == Run::Running).then_some(second);
            }),
            Fall::Suspend(suspend) => cluster.change_job(&name, |job| match (&job.run, suspend) {
                (Run::Running, true) => job.run = Run::Suspended,
                (Run::Suspended, false) => job.run = Run::Running,
                (Run::Failed { .. } | Run::Running | Run::Succeeded { .. } | Run::Suspended, _) => {}
            }),
        }
    }
}

fn meddle(cluster: &mut Cluster, node: &NodeName) {
    if let Some(uid) = cluster.job_of(node).map(|job| job.view.uid.clone()) {
        cluster.ledger.meddled(&uid);
    }
}

fn end(succeeds: bool, at: jiff::Timestamp) -> Run {
    if succeeds {
        Run::Succeeded { at: Some(at) }
    } else {
        Run::Failed {
            at: Some(at),
            reason: "BackoffLimitExceeded".into(),
            message: "m".into(),
        }
    }
}

impl Selector {
    fn write(self, spec: &mut Value) {
        let linux = json!({"os": "linux"});
        let (selector, exclusion) = match self {
            Self::All => (json!(null), json!(null)),
            Self::Both => (linux.clone(), linux),
            Self::Linux => (linux, json!(null)),
            Self::NotLinux => (json!(null), linux),
        };
        let Some(spec) = spec.as_object_mut() else { return };
        for (key, value) in [("selector", selector), ("ingoreSelector", exclusion)] {
            if value.is_null() {
                spec.remove(key);
            } else {
                spec.insert(key.to_owned(), value);
            }
        }
    }
}
