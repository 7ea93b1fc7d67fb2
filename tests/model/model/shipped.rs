//! The shipped functions, on what a state holds: `Index`, `plan`, `permits`, `build_job`, `status_patch`, `absorb`.
//!
//! They are pure, so that each is asked once for each different question and its answer remembered: the explorer
//! passes through the same views millions of times.
//! The guards that lie before them or in what they return are removed here, around them.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::{Arc, RwLock};

use dashmap::DashMap;
use serde_json::{Value, json};

use super::Variant;
use super::state::{Dj, Event, Job, Kind, Node, Order, PLACES, Sight};
use daemonjob_core::hash::TemplateHash;
use daemonjob_core::index::{Changes, Index, Key, Told};
use daemonjob_core::names::{self, JobName, NodeName, NodeUid, Uid, job_name, node_token};
use daemonjob_core::observed::{JobLite, JobView, NodeLiteSpec, NodeView, Owner, Run, Scope};
use daemonjob_core::plan::{
    Action, Answer, Fresh, Guard, Observed, Outcome, Setback, Slot, Subject, Troubles, Why, absorb, build_job, check,
    classify_create, permits, plan, status_patch,
};
use daemonjob_core::reason::Reason;
use daemonjob_core::record::{Finish, LastRun};
use daemonjob_core::types::DaemonJobStatus;
use jiff::Timestamp;

/// What a world's DaemonJob asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spec {
    pub(super) replace: bool,
    /// Finished Jobs go as soon as they are recorded.
    pub(super) ttl: bool,
}

/// What a controller hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum News {
    Dj(Event<Dj>),
    Job(Event<Job>),
    Node(Event<Node>),
    Djs(Option<Dj>),
    Jobs([Option<Job>; PLACES]),
    Nodes([Option<Node>; PLACES]),
    /// A fresh read, or the answer to a write.
    ReadDj(Dj),
    ReadJob(Job),
    /// A fresh read did not find this Job.
    Lost(Job),
}

/// What an event changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) dirty: bool,
    pub(super) suspect: bool,
    pub(super) gone: bool,
}

/// What a plan asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) orders: Vec<Order>,
    /// Before and after.
    pub(super) status: Option<(u32, u32)>,
}

/// All that is known of a status.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Status {
    pub(super) value: Value,
    pub(super) status: DaemonJobStatus,
}

pub(super) struct Shipped {
    pub(super) spec: Spec,
    pub(super) places: u8,
    variant: Variant,
    nodes: Vec<NodeName>,
    names: Vec<JobName>,
    hashes: [TemplateHash; 2],
    statuses: RwLock<Vec<Arc<Status>>>,
    numbers: DashMap<String, u32>,
    subjects: DashMap<Dj, Arc<Subject>>,
    taken: DashMap<(Sight, News), (Sight, Marks)>,
    planned: DashMap<(Sight, [bool; PLACES]), Arc<Planned>>,
    guards: DashMap<Order, Arc<Guard>>,
    verdicts: DashMap<(Order, Option<Dj>, Option<Node>), bool>,
    built: DashMap<Order, Job>,
    merged: DashMap<(u32, u32, u32), u32>,
}

const NAMESPACE: &str = "ns";
const TOKEN: &str = "t";
const NOW: i64 = 20;
/// When a Job is told to go, and when it finished before that.
const DELETED: i64 = 10;
const FINISHED: i64 = 5;
const NOTHING: i64 = -1;
/// No DaemonJob has had so many generations.
const NEWEST: i64 = 100;

const NAME: &str = "dj";

/// So many seconds after the run began.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

/// As the planner's text worlds have it.
fn template(letter: &str, spec: Spec) -> Value {
    let mut template = json!({"spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": format!("image:{letter}")}]}}}});
    if spec.ttl {
        template["spec"]["ttlSecondsAfterFinished"] = 0.into();
    }
    template
}

fn key() -> Key {
    Key {
        namespace: NAMESPACE.to_owned(),
        name: NAME.to_owned(),
    }
}

fn numbered(text: &str, number: u8) -> String {
    if number == 0 {
        text.to_owned()
    } else {
        format!("{text}-{number}")
    }
}

fn number_of(text: &str, of: &str) -> u8 {
    let rest = text.strip_prefix(of).unwrap();
    rest.strip_prefix('-').map_or(0, |number| number.parse().unwrap())
}

/// The answer to a question that was asked before, or asks it.
fn once<Q: Eq + Hash + Clone, A: Clone>(known: &DashMap<Q, A>, question: &Q, ask: impl FnOnce() -> A) -> A {
    if let Some(answer) = known.get(question) {
        return answer.clone();
    }
    let answer = ask();
    known.insert(question.clone(), answer.clone());
    answer
}

impl Shipped {
    pub(super) fn new(variant: Variant, spec: Spec, places: u8) -> Self {
        let nodes: Vec<NodeName> = (0..places).map(|place| NodeName::new(format!("n{place}"))).collect();
        let shipped = Self {
            spec,
            places,
            variant,
            names: nodes.iter().map(|node| job_name(NAME, node)).collect(),
            nodes,
            hashes: ["A", "B"].map(|letter| TemplateHash::of(&template(letter, spec)).unwrap()),
            statuses: RwLock::default(),
            numbers: DashMap::new(),
            subjects: DashMap::new(),
            taken: DashMap::new(),
            planned: DashMap::new(),
            guards: DashMap::new(),
            verdicts: DashMap::new(),
            built: DashMap::new(),
            merged: DashMap::new(),
        };
        shipped.number(json!({"observedGeneration": NOTHING}));
        shipped
    }

    // Statuses.

    fn number(&self, value: Value) -> u32 {
        let entry = self.numbers.entry(value.to_string());
        let add = || {
            let mut statuses = self.statuses.write().unwrap();
            let status = serde_json::from_value(value.clone()).unwrap();
            statuses.push(Arc::new(Status { value, status }));
            u32::try_from(statuses.len() - 1).unwrap()
        };
        *entry.or_insert_with(add)
    }

    pub(super) fn status(&self, number: u32) -> Arc<Status> {
        Arc::clone(&self.statuses.read().unwrap()[number as usize])
    }

    /// What becomes of a status when the change from one to another is written over it.
    pub(super) fn merge(&self, from: u32, to: u32, onto: u32) -> u32 {
        if from == onto {
            return to;
        }
        once(&self.merged, &(from, to, onto), || {
            let patch = status_patch(&self.status(from).status, &self.status(to).status);
            self.patched(onto, patch.as_ref())
        })
    }

    fn patched(&self, onto: u32, patch: Option<&Value>) -> u32 {
        let mut value = self.status(onto).value.clone();
        patch.iter().for_each(|patch| json_patch::merge(&mut value, patch));
        self.number(value)
    }

    // From a state to what the shipped functions take.

    pub(super) fn node_uid(place: u8, uid: u8) -> NodeUid {
        NodeUid::new(numbered(&format!("n{place}-uid"), uid))
    }

    pub(super) fn token(place: u8, uid: u8) -> String {
        node_token(&Self::node_uid(place, uid))
    }

    pub(super) fn hash(&self, edited: bool) -> &TemplateHash {
        &self.hashes[usize::from(edited)]
    }

    pub(super) fn subject(&self, dj: Dj) -> Arc<Subject> {
        once(&self.subjects, &dj, || {
            Arc::new(self.read(dj, &self.status(dj.status).value))
        })
    }

    fn read(&self, dj: Dj, status: &Value) -> Subject {
        let letter = if dj.is_edited() { "B" } else { "A" };
        let spec = json!({
            "replace": self.spec.replace,
            "selector": {"os": "linux"},
            "jobTemplate": template(letter, self.spec),
        });
        let mut annotations = BTreeMap::from([(names::TEMPLATE_HASH, self.hash(dj.is_edited()).to_string())]);
        if dj.retry {
            annotations.insert(names::RETRY, format!("{TOKEN} {}", self.nodes[0]));
        }
        let daemon_job = json!({
            "metadata": {
                "name": NAME, "namespace": NAMESPACE, "uid": numbered("dj-uid", dj.uid),
                "generation": dj.generation, "resourceVersion": dj.version.to_string(), "annotations": annotations,
            },
            "spec": spec,
            "status": status,
        });
        Subject::new(serde_json::from_value(daemon_job).unwrap())
    }

    fn node_view(&self, node: Node) -> NodeView {
        let os = if node.selected { "linux" } else { "windows" };
        NodeView {
            name: self.nodes[usize::from(node.place)].clone(),
            uid: Self::node_uid(node.place, node.uid),
            created: Some(at(if node.uid == 0 { -1000 } else { NOW + 1 })),
            labels: BTreeMap::from([("os".to_owned(), os.to_owned())]),
            spec: NodeLiteSpec::default(),
        }
    }

    fn job_view(&self, job: Job) -> JobView {
        let place = usize::from(job.place);
        JobView {
            name: self.names[place].clone(),
            uid: Uid::new(numbered(&format!("n{place}-job"), job.uid)),
            resource_version: job.version.to_string().into(),
            owner: Some(Owner {
                name: NAME.into(),
                uid: Uid::new(numbered("dj-uid", job.owner)),
            }),
            label: Some(NAME.into()),
            hash: Some(self.hash(job.is_edited()).clone()),
            node: Some(self.nodes[place].clone()),
            node_uid: Some(Self::node_uid(job.place, job.node)),
            retry: job.retry.then(|| TOKEN.into()),
            generation: i64::from(job.generation) + if self.variant == Variant::NewestJobs { NEWEST } else { 0 },
            deleted: job.deleted.then(|| at(DELETED)),
            run: if job.done {
                Run::Succeeded { at: Some(at(FINISHED)) }
            } else {
                Run::Running
            },
            unready_since: None,
            podless_since: None,
        }
    }

    fn placed(&self, job: Job) -> (String, JobView) {
        (NAMESPACE.to_owned(), self.job_view(job))
    }

    // And back.

    fn node_of(&self, view: &NodeView) -> Node {
        let place = self.nodes.iter().position(|name| *name == view.name).unwrap();
        Node {
            place: u8::try_from(place).unwrap(),
            uid: number_of(view.uid.as_str(), &format!("n{place}-uid")),
            selected: view.labels["os"] == "linux",
        }
    }

    fn job_of(&self, view: &JobView) -> Job {
        let place = self.names.iter().position(|name| *name == view.name).unwrap();
        Job {
            place: u8::try_from(place).unwrap(),
            name: 0,
            version: view.resource_version.parse().unwrap_or_default(),
            uid: view
                .uid
                .as_str()
                .parse()
                .unwrap_or_else(|_| number_of(view.uid.as_str(), &format!("n{place}-job"))),
            owner: number_of(view.owner.as_ref().unwrap().uid.as_str(), "dj-uid"),
            node: number_of(view.node_uid.as_ref().unwrap().as_str(), &format!("n{place}-uid")),
            generation: u8::try_from(view.generation % NEWEST).unwrap(),
            retry: view.retry.is_some(),
            done: view.finish().is_some(),
            deleted: view.deleted.is_some(),
        }
    }

    // What is seen.

    /// An index that holds this.
    fn index(&self, sight: &Sight) -> Index {
        let mut index = Index::default();
        let nodes = sight.nodes.iter().flatten().map(|node| self.node_view(*node));
        let mut take_node = |told| drop(index.take_node(told));
        given(nodes, sight.listed[Kind::Nodes as usize], &mut take_node);
        let djs = sight.dj.iter().map(|dj| self.subject(*dj));
        given(djs, sight.listed[Kind::DaemonJobs as usize], &mut |told| {
            drop(index.take_daemon_job(&Scope::All, told))
        });
        for job in sight.ended.iter().flatten() {
            let (namespace, view) = self.placed(*job);
            let (name, uid) = (view.name.clone(), view.uid.clone());
            index.renew_job((namespace, view), at(NOW));
            index.forget_job(&key(), &name, &uid);
        }
        let jobs = sight.jobs.iter().flatten().map(|job| self.placed(*job));
        given(jobs, sight.listed[Kind::Jobs as usize], &mut |told| {
            drop(index.take_job(&Scope::All, told, at(NOW)))
        });
        index.slots(&key());
        index
    }

    fn sight(&self, index: &mut Index, listed: [bool; 3], dj: Option<Dj>) -> Sight {
        let mut sight = Sight {
            listed,
            dj,
            ..Sight::default()
        };
        for view in index.nodes().values() {
            let node = self.node_of(view);
            sight.nodes[usize::from(node.place)] = Some(node);
        }
        for slot in index.slots(&key()) {
            for job in slot.job.iter().map(|view| self.job_of(view)) {
                sight.jobs[usize::from(job.place)] = Some(job);
            }
            for job in slot.ended.iter().map(|view| self.job_of(view)) {
                sight.ended[usize::from(job.place)] = Some(Job { version: 0, ..job });
            }
        }
        sight
    }

    /// What is seen after the news, and what they changed.
    pub(super) fn take(&self, sight: &Sight, news: News) -> (Sight, Marks) {
        once(&self.taken, &(*sight, news), || self.take_anew(sight, news))
    }

    fn take_anew(&self, sight: &Sight, news: News) -> (Sight, Marks) {
        let mut index = self.index(sight);
        let (mut listed, mut marks, mut heard) = (sight.listed, Changes::default(), sight.dj);
        match news {
            News::Dj(event) => {
                heard = match event {
                    Event::Applied(dj) => Some(dj),
                    Event::Gone(_) => None,
                };
                marks = index.take_daemon_job(&Scope::All, told(event, |dj| self.subject(dj)));
            }
            News::Job(event) => marks = index.take_job(&Scope::All, told(event, |job| self.placed(job)), at(NOW)),
            News::Node(event) => marks = index.take_node(told(event, |node| self.node_view(node))),
            News::Djs(dj) => {
                heard = dj;
                listed[Kind::DaemonJobs as usize] = true;
                let djs = dj.iter().map(|dj| self.subject(*dj));
                given(djs, true, &mut |told| {
                    join(&mut marks, index.take_daemon_job(&Scope::All, told))
                });
            }
            News::Jobs(jobs) => {
                listed[Kind::Jobs as usize] = true;
                let jobs = jobs.iter().flatten().map(|job| self.placed(*job));
                given(jobs, true, &mut |told| {
                    join(&mut marks, index.take_job(&Scope::All, told, at(NOW)))
                });
            }
            News::Nodes(nodes) => {
                listed[Kind::Nodes as usize] = true;
                let views: Vec<NodeView> = nodes.iter().flatten().map(|node| self.node_view(*node)).collect();
                let live = views.iter().map(|view| view.uid.clone()).collect();
                given(views.into_iter(), true, &mut |told| {
                    join(&mut marks, index.take_node(told))
                });
                join(&mut marks, index.confirm_missing(&live));
            }
            News::ReadDj(dj) => {
                heard = Some(dj);
                marks = index.renew_daemon_job(&self.subject(dj));
            }
            News::ReadJob(job) => marks = index.renew_job(self.placed(job), at(NOW)),
            News::Lost(job) => {
                let view = self.job_view(job);
                marks = index.forget_job(&key(), &view.name, &view.uid);
            }
        }
        // The index may have kept what it held: then what was heard is older.
        let held = index
            .subject(&key())
            .map(|subject| subject.resource_version().to_owned());
        let candidates = [heard, sight.dj].into_iter().flatten();
        let dj = candidates.into_iter().find(|dj| Some(dj.version.to_string()) == held);
        let mut after = self.sight(&mut index, listed, dj);
        if dj.is_none() {
            after.jobs = jobs_without_a_dj(sight.jobs, news);
        }
        let has = |keys: &std::collections::BTreeSet<Key>| keys.contains(&key());
        let is_there = dj.is_some();
        let marks = Marks {
            dirty: is_there && has(&marks.dirty),
            suspect: is_there && has(&marks.suspect),
            gone: has(&marks.gone),
        };
        (after, marks)
    }

    // What is planned.

    pub(super) fn plan(&self, sight: &Sight, setbacks: [bool; PLACES]) -> Arc<Planned> {
        once(&self.planned, &(*sight, setbacks), || {
            Arc::new(self.plan_anew(sight, setbacks))
        })
    }

    fn plan_anew(&self, sight: &Sight, setbacks: [bool; PLACES]) -> Planned {
        let mut index = self.index(sight);
        if !self.variant.waits_for_lists() {
            // M6: what has not been listed is taken as empty.
            let unlisted = |kind: Kind| !sight.listed[kind as usize];
            if unlisted(Kind::Nodes) {
                given(std::iter::empty(), true, &mut |told| drop(index.take_node(told)));
            }
            if unlisted(Kind::Jobs) {
                given(std::iter::empty(), true, &mut |told| {
                    drop(index.take_job(&Scope::All, told, at(NOW)))
                });
            }
        }
        let (Some(proof), Some(dj)) = (index.listed(NAMESPACE), sight.dj) else {
            return Planned::default();
        };
        let subject = self.subject(dj);
        let slots = index.slots(&key());
        let setbacks = self.setbacks(setbacks);
        let troubles = Troubles {
            setbacks: &setbacks,
            ..Troubles::default()
        };
        let seen = Observed::new(proof, &subject, &slots, troubles, at(NOW));
        let planned = plan(&seen);
        let violations = check(&seen, &planned);
        assert!(violations.is_empty(), "{violations:?}");
        let patch = status_patch(subject.status(), &planned.status);
        let actions = match self.forged(dj, sight.jobs.iter().flatten()) {
            Some(forged) => plan(&Observed::new(proof, &forged, &slots, troubles, at(NOW))).actions,
            None => planned.actions,
        };
        Planned {
            orders: actions
                .iter()
                .map(|action| self.order(action, dj, &slots, sight))
                .collect(),
            status: patch.map(|patch| (dj.status, self.patched(dj.status, Some(&patch)))),
        }
    }

    fn setbacks(&self, setbacks: [bool; PLACES]) -> BTreeMap<JobName, Setback> {
        let met = (0..PLACES).filter(|place| setbacks[*place]);
        met.map(|place| (self.names[place].clone(), setback().unwrap()))
            .collect()
    }

    /// M7: the DaemonJob as one that records these Jobs, whatever it says.
    fn forged<'a>(&self, dj: Dj, jobs: impl Iterator<Item = &'a Job>) -> Option<Subject> {
        if self.variant != Variant::UnrecordedIsRecorded {
            return None;
        }
        let mut record = self.subject(dj).record().clone();
        for job in jobs.filter(|job| job.done && job.owner == dj.uid) {
            let view = self.job_view(*job);
            let run = LastRun {
                template_hash: view.hash?.to_string(),
                generation: view.generation,
                finish: Finish::Succeeded,
            };
            record.finish(&view.node_uid?, run);
        }
        let mut status = self.status(dj.status).value.clone();
        status["finishedNodes"] = serde_json::to_value(record.render()).unwrap();
        Some(self.read(dj, &status))
    }

    fn order(&self, action: &Action, dj: Dj, slots: &[&Slot], sight: &Sight) -> Order {
        let place_of = |name: &JobName| u8::try_from(self.names.iter().position(|own| own == name).unwrap()).unwrap();
        let (order, guard) = match action {
            Action::Create { slot, guard } => {
                let node = self.node_of(slots[*slot].node.as_ref().unwrap());
                let order = Order {
                    place: node.place,
                    dj,
                    node: node.uid,
                    job: None,
                    why: 0,
                };
                (order, guard)
            }
            Action::Delete { name, why, guard, .. } => {
                let place = place_of(name);
                let order = Order {
                    place,
                    dj,
                    node: 0,
                    job: sight.jobs[usize::from(place)],
                    why: *why as u8,
                };
                (order, guard)
            }
            Action::RestoreHash { .. } => panic!("every DaemonJob of the model is stamped"),
        };
        let plain = order.plain();
        self.guards.entry(plain).or_insert_with(|| Arc::new(guard.clone()));
        Order { dj: plain.dj, ..order }
    }

    /// The answer of `permits`, on what was read.
    pub(super) fn permits(&self, order: &Order, dj: Option<Dj>, node: Option<Node>) -> bool {
        let order = order.plain();
        once(&self.verdicts, &(order, dj, node), || {
            let guard = Arc::clone(&self.guards.get(&order).unwrap());
            let subject = dj.map(|dj| {
                self.forged(dj, order.job.iter())
                    .map_or_else(|| self.subject(dj), Arc::new)
            });
            let node = node.map(|node| self.node_view(node));
            let node = node.as_ref().filter(|_| guard.node.node().is_some());
            permits(
                &guard,
                &Fresh {
                    subject: subject.as_deref(),
                    node,
                },
            )
        })
    }

    /// The Job that a create sends.
    pub(super) fn build(&self, order: &Order) -> Job {
        once(&self.built, &order.plain(), || {
            let node = Node {
                place: order.place,
                uid: order.node,
                selected: true,
            };
            let slot = Slot {
                name: self.names[usize::from(order.place)].clone(),
                node: Some(Arc::new(self.node_view(node))),
                selected: true,
                job: None,
                ended: None,
            };
            let mut job = build_job(&self.subject(order.dj), &slot).unwrap();
            job["metadata"]["uid"] = "0".into();
            self.job_of(&serde_json::from_value::<JobLite>(job).unwrap().into())
        })
    }
}

/// The index keeps Jobs whose DaemonJob it has not seen, but shows them only once it has.
fn jobs_without_a_dj(held: [Option<Job>; PLACES], news: News) -> [Option<Job>; PLACES] {
    let mut jobs = held;
    match news {
        News::Jobs(listed) => jobs = listed,
        News::Job(Event::Applied(job)) | News::ReadJob(job) => {
            let held = &mut jobs[usize::from(job.place)];
            *held = held.filter(|held| held.version > job.version).or(Some(job));
        }
        News::Job(Event::Gone(job)) | News::Lost(job) => {
            let held = &mut jobs[usize::from(job.place)];
            *held = held.filter(|held| held.uid != job.uid);
        }
        News::Dj(_) | News::Djs(_) | News::Node(_) | News::Nodes(_) | News::ReadDj(_) => {}
    }
    jobs
}

/// What [`absorb`] makes of an outcome, as far as a world without time needs it: whether the place met a setback.
pub(super) fn is_set_back(before: bool, outcome: &Outcome) -> bool {
    let before = before.then(setback).flatten();
    absorb(before.as_ref(), None, outcome, at(0), 0.5).0.is_some()
}

/// An answer that never came.
pub(super) fn unheard() -> Outcome {
    classify_create(&Answer::default())
}

/// A setback whose wait is over.
fn setback() -> Option<Setback> {
    let failed = Outcome::Failed {
        because: Reason::CreateFailed.into(),
        retry_after: None,
    };
    absorb(None, None, &failed, at(0), 0.5).0
}

pub(super) const fn why(number: u8) -> Why {
    Why::ALL[number as usize]
}

fn told<T, U>(event: Event<T>, view: impl FnOnce(T) -> U) -> Told<U> {
    match event {
        Event::Applied(object) => Told::Applied(view(object)),
        Event::Gone(object) => Told::Gone(view(object)),
    }
}

/// Gives objects to an index: as a list, or if there was none one by one.
fn given<T>(objects: impl Iterator<Item = T>, is_list: bool, take: &mut impl FnMut(Told<T>)) {
    if !is_list {
        return objects.for_each(|object| take(Told::Applied(object)));
    }
    take(Told::ListBegins);
    objects.for_each(|object| take(Told::Listed(object)));
    take(Told::ListEnds);
}

fn join(all: &mut Changes, more: Changes) {
    all.dirty.extend(more.dirty);
    all.suspect.extend(more.suspect);
    all.gone.extend(more.gone);
}
