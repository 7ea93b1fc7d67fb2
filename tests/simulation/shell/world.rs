//! What everybody in a simulation shares: the server, the judge, chance and the log of what was said.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daemonjob_simulation::{Answer, ApiServer, Key, Kind, Request, Status, Verb};
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::clock;
use crate::judge::{Judge, Sent};
use crate::network::{Rule, Weather};
use crate::objects::text;

/// The namespace of the DaemonJobs.
pub(crate) const NAMESPACE: &str = "default";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Actor {
    /// A controller of the cluster: garbage collection, Jobs, kubelets.
    Cluster,
    /// A replica of ours, by its number.
    Replica(usize),
    /// Somebody with kubectl.
    User,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => write!(f, "cluster"),
            Self::Replica(number) => write!(f, "replica {number}"),
            Self::User => write!(f, "user"),
        }
    }
}

/// A guard that is taken away between the controller and the server, to see that its loss is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Nothing is.
    Nothing,
    /// Deletes arrive as `Background` (M2).
    Foreground,
    /// Deletes arrive without preconditions (M3).
    Preconditions,
    /// A DaemonJob is read as the reader's own lists and watches have told it (M4, M9).
    FreshRead,
    /// Lists of Jobs go back to older versions, which no API server does that is asked for no version. What a new
    /// leader sees there overrides what is on record, and finished work runs again: nothing guards against it.
    JobLists,
    /// A Node is not found by who asks for it alone (M5).
    NodeRead,
    /// Statuses are answered, but not stored (M7).
    Record,
    /// Statuses arrive without a version (M8).
    StatusVersion,
}

/// All that is shared.
pub(crate) struct World {
    state: Mutex<State>,
    /// Told of each change of the store.
    pub(crate) changed: Notify,
    /// Requests and answers on their way.
    pub(crate) wires: Mutex<JoinSet<()>>,
    pub(crate) broken: Broken,
}

/// Says what is done to a request.
pub(crate) type Ruling = dyn Fn(&Request) -> Option<Rule> + Send;

/// What is behind the lock.
pub(crate) struct State {
    pub(crate) server: ApiServer,
    pub(crate) judge: Judge,
    pub(crate) weather: Weather,
    /// The chance of the network.
    pub(crate) chance: Rng,
    pub(crate) log: Log,
    /// Events that a watch was told twice.
    pub(crate) doubled: usize,
    /// Requests that were refused on their way.
    pub(crate) refused: u64,
    /// DaemonJobs as lists, watches and answers to writes have told them to a replica, where fresh reads are taken away.
    pub(crate) cached: BTreeMap<(usize, String), Value>,
    /// What a test does to requests.
    pub(crate) rule: Option<Box<Ruling>>,
    /// Records that were answered and not stored, where that guard is taken away.
    pub(crate) forged: BTreeMap<Key, Value>,
}

impl World {
    pub(crate) fn new(seed: u64, broken: Broken, weather: Weather) -> Arc<Self> {
        let state = State {
            server: ApiServer::default(),
            judge: Judge::new(),
            weather,
            chance: Rng::with_seed(seed ^ 0x6e65_7477_6f72_6b73),
            log: Log::default(),
            cached: BTreeMap::new(),
            doubled: 0,
            refused: 0,
            rule: None,
            forged: BTreeMap::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            wires: Mutex::new(JoinSet::new()),
            broken,
        })
    }

    /// Never held across a wait.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request arrives at the server, is done and is judged.
    pub(crate) fn arrive(&self, actor: Actor, request: &Request, sent: Sent) -> Result<Answer, Status> {
        let mut state = self.lock();
        let state = &mut *state;
        let answer = state.server.call(request, clock::now());
        state.log.arrived(actor, request, &answer);
        state.judge.look(&state.server, actor, request, &answer, sent);
        self.changed.notify_waiters();
        answer
    }

    /// The same for somebody inside of the cluster or with kubectl, who sends nothing over our network.
    pub(crate) fn ask(&self, actor: Actor, request: &Request) -> Result<Value, Status> {
        match self.arrive(actor, request, Sent::Now)? {
            Answer::Body(_, body) => Ok(body),
            Answer::Watch(_) => Ok(Value::Null),
        }
    }

    pub(crate) fn create(&self, actor: Actor, kind: Kind, object: Value) -> Result<Value, Status> {
        let key = Key::new(kind, text(&object, "/metadata/namespace"), "");
        self.ask(actor, &Request::new(Verb::Create, &key, "", object))
    }

    pub(crate) fn patch(&self, actor: Actor, key: &Key, patch: Value) -> Result<Value, Status> {
        self.ask(actor, &Request::new(Verb::Patch, key, "", patch))
    }

    pub(crate) fn update(&self, actor: Actor, key: &Key, object: Value) -> Result<Value, Status> {
        self.ask(actor, &Request::new(Verb::Update, key, "", object))
    }

    pub(crate) fn patch_status(&self, actor: Actor, key: &Key, status: &Value) -> Result<Value, Status> {
        self.ask(
            actor,
            &Request::new(Verb::Patch, key, "status", json!({"status": status})),
        )
    }

    pub(crate) fn delete(&self, actor: Actor, key: &Key, options: Value) -> Result<Value, Status> {
        self.ask(actor, &Request::new(Verb::Delete, key, "", options))
    }

    /// Writes a line of its own into the log.
    pub(crate) fn tell(&self, line: &str) {
        self.lock().log.line(line);
    }
}

/// Lines that are kept of a story.
const LAST: usize = 400;

/// What was said, as far back as somebody wants to read, and a sum over all of it.
#[derive(Default)]
pub(crate) struct Log {
    lines: VecDeque<String>,
    sum: u64,
    pub(crate) requests: u64,
    /// Everything is kept: somebody reads it.
    pub(crate) is_whole: bool,
}

impl Log {
    fn arrived(&mut self, actor: Actor, request: &Request, answer: &Result<Answer, Status>) {
        self.requests += 1;
        let code = match answer {
            Ok(Answer::Body(code, _)) => *code,
            Ok(Answer::Watch(_)) => 200,
            Err(status) => status.code,
        };
        // Events have names that tell the time of the machine.
        let name = match (request.kind, request.verb) {
            (Kind::Event | Kind::CoreEvent, _) => "",
            (_, Verb::Create) => request.body["metadata"]["name"].as_str().unwrap_or_default(),
            _ => &request.name,
        };
        let said = match (request.kind, request.verb) {
            (Kind::Event, _) => request.body["reason"].to_string(),
            (Kind::Lease, _) => String::new(),
            (_, Verb::Patch | Verb::Delete) => request.body.to_string(),
            _ => String::new(),
        };
        let line = format!(
            "{actor}: {} {}/{} {name} {said} -> {code}",
            request.verb.as_str(),
            request.kind.plural(),
            request.subresource
        );
        self.line(&line);
    }

    fn line(&mut self, line: &str) {
        let line = format!("{} {line}", clock::now().strftime("%H:%M:%S.%3f"));
        let mut sum = DefaultHasher::new();
        (self.sum, &line).hash(&mut sum);
        self.sum = sum.finish();
        if self.lines.len() == LAST && !self.is_whole {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Two runs of one seed that did the same have the same.
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    /// How many lines that are kept say this.
    pub(crate) fn count(&self, said: &str) -> usize {
        self.lines.iter().filter(|line| line.contains(said)).count()
    }

    pub(crate) fn text(&self) -> String {
        let lines: Vec<&str> = self.lines.iter().map(String::as_str).collect();
        lines.join("\n")
    }
}
