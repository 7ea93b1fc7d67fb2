//! The way from a replica to the server and back, on which requests are late, lost, doubled, refused and not answered.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use daemonjob_simulation::{Answer, Kind, Request, Status, Verb, Watch};
use fastrand::Rng;
use futures::FutureExt as _;
use futures::channel::oneshot;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::judge::Sent;
use crate::objects::name;
use crate::world::{Actor, Broken, World};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Data = UnsyncBoxBody<Bytes, std::io::Error>;

/// How likely things go wrong, in thousandths of the requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// It never arrives; the connection breaks.
    pub(crate) lost: u32,
    /// It is done, and the answer is lost: a 504, a broken connection, or silence.
    pub(crate) unanswered: u32,
    /// It arrives twice, the second time later.
    pub(crate) doubled: u32,
    /// 429, with a time to wait.
    pub(crate) throttled: u32,
    /// 500 or 503.
    pub(crate) failed: u32,
    /// It takes seconds.
    pub(crate) slow: u32,
    /// Nobody ever says anything.
    pub(crate) silent: u32,
    /// A watch ends before its time.
    pub(crate) watch_closed: u32,
    /// A watch says nothing any more.
    pub(crate) watch_silent: u32,
    /// The longest time in milliseconds that a watch lags behind.
    pub(crate) watch_lag: u32,
    /// A list of DaemonJobs or Nodes is answered from an older version.
    pub(crate) old_list: u32,
    /// The history is forgotten when a watch begins: 410.
    pub(crate) compacted: u32,
    /// Lists come in pages of two.
    pub(crate) small_pages: u32,
    /// What a watch tells it tells twice.
    pub(crate) watch_doubled: u32,
}

impl Weather {
    /// The weather in which the loss of a guard shows soon.
    pub(crate) fn without(self, broken: Broken) -> Self {
        match broken {
            Broken::FreshRead | Broken::JobLists => Self { old_list: 500, ..self },
            Broken::StatusVersion => Self { slow: 300, ..self },
            Broken::Foreground | Broken::NodeRead | Broken::Nothing | Broken::Preconditions | Broken::Record => self,
        }
    }
}

/// What a test does to the requests that it means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// They are refused with this code, and asked to wait so many seconds.
    Refused(u16, u32),
    /// They take so long to arrive.
    Late(Duration),
    /// A list holds nothing.
    Nothing,
}

impl Weather {
    /// Bad weather of some kind: most seeds have a few faults often, not all of them seldom.
    pub(crate) fn bad(chance: &mut Rng) -> Self {
        let mut some = |most: u32| if chance.u8(..3) == 0 { chance.u32(..=most) } else { 0 };
        Self {
            lost: some(150),
            unanswered: some(200),
            doubled: some(150),
            throttled: some(150),
            failed: some(150),
            slow: some(150),
            silent: some(60),
            watch_closed: some(300),
            watch_silent: some(200),
            watch_lag: some(40_000),
            old_list: some(300),
            compacted: some(200),
            small_pages: some(600),
            watch_doubled: some(300),
        }
    }
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug)]
struct Fate {
    there: Duration,
    back: Duration,
    what: What,
    again_after: Option<Duration>,
    is_nothing: bool,
}

impl Fate {
    fn under(mut self, rule: Option<Rule>) -> Self {
        match rule {
            Some(Rule::Refused(code, seconds)) => self.what = What::Failed(code, seconds),
            Some(Rule::Late(time)) => self.there = time,
            Some(Rule::Nothing) => self.is_nothing = true,
            None => {}
        }
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Done,
    /// The code, and the seconds to wait.
    Failed(u16, u32),
    Lost,
    Silent,
    /// Done, and answered with nothing: a 504, a broken connection, silence.
    Unanswered(u8),
}

fn fate(weather: &Weather, chance: &mut Rng) -> Fate {
    let mut is = |thousandths: u32| thousandths > 0 && chance.u32(..1000) < thousandths;
    let what = if is(weather.lost) {
        What::Lost
    } else if is(weather.silent) {
        What::Silent
    } else if is(weather.throttled) {
        What::Failed(429, 2)
    } else if is(weather.failed) {
        What::Failed(500, 0)
    } else if is(weather.unanswered) {
        What::Unanswered(0)
    } else {
        What::Done
    };
    let (slow, doubled) = (is(weather.slow), is(weather.doubled));
    let what = match what {
        What::Failed(500, _) if chance.bool() => What::Failed(503, 0),
        What::Unanswered(_) => What::Unanswered(chance.u8(..3)),
        What::Done | What::Failed(..) | What::Lost | What::Silent => what,
    };
    let slowest = if slow { 12_000 } else { 40 };
    let mut millis = |most: u64| Duration::from_millis(1 + chance.u64(..most));
    Fate {
        there: millis(slowest),
        back: millis(slowest),
        what,
        again_after: doubled.then(|| millis(30_000)),
        is_nothing: false,
    }
}

/// A connection of a replica.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) world: Arc<World>,
    pub(crate) replica: usize,
}

impl tower::Service<http::Request<Body>> for Line {
    type Response = http::Response<Data>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let line = self.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let accept = parts
                .headers
                .get(http::header::ACCEPT)
                .and_then(|accept| accept.to_str().ok());
            let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
            match Request::read(parts.method.as_str(), path, accept.unwrap_or_default(), &body) {
                Ok(request) => line.carry(request).await,
                Err(status) => {
                    line.world
                        .lock()
                        .judge
                        .breach(&format!("{} {path}: {}", parts.method, status.message));
                    refusal(&status)
                }
            }
        }
        .boxed()
    }
}

/// Longest time that a dead connection is waited for, as the process has set it for its clients.
const SILENCE: Duration = Duration::from_secs(90);

impl Line {
    async fn carry(self, request: Request) -> Result<http::Response<Data>, Failure> {
        let fate = {
            let mut state = self.world.lock();
            let state = &mut *state;
            let rule = state.rule.as_ref().and_then(|rule| rule(&request));
            fate(&state.weather, &mut state.chance).under(rule)
        };
        let sent = Instant::now();
        let (answer, answered) = oneshot::channel();
        // What is on its way arrives, whatever becomes of the sender meanwhile.
        let (world, replica) = (Arc::clone(&self.world), self.replica);
        let travel = async move {
            sleep(fate.there).await;
            let Some(answered) = arrive(&world, replica, &request, fate, sent).await else {
                return;
            };
            sleep(fate.back).await;
            drop(answer.send(answered));
        };
        {
            let mut wires = self.world.wires.lock().unwrap_or_else(PoisonError::into_inner);
            while wires.try_join_next().is_some() {}
            wires.spawn(travel);
        }
        let begun = match tokio::time::timeout(SILENCE, answered).await {
            Ok(Ok(begun)) => begun,
            Ok(Err(_)) if fate.what == What::Silent || fate.what == What::Unanswered(2) => {
                sleep(SILENCE).await;
                return Err("nobody answers".into());
            }
            Ok(Err(_)) => return Err("the connection broke".into()),
            Err(_) => return Err("nobody answers".into()),
        };
        match begun {
            Ok(Answer::Body(code, body)) => {
                for item in body["items"].as_array().into_iter().flatten().chain([&body]) {
                    self.world.remember(self.replica, item, false);
                }
                response(code, &body)
            }
            Ok(Answer::Watch(watch)) => Ok(self.stream(watch)),
            Err(status) => refusal(&status),
        }
    }

    /// Tells a watch what happens, late, and not to its end.
    fn stream(self, watch: Watch) -> http::Response<Data> {
        let (lines, told) = mpsc::channel(64);
        let world = Arc::clone(&self.world);
        let pump = pump(self.world, self.replica, watch, lines);
        world.wires.lock().unwrap_or_else(PoisonError::into_inner).spawn(pump);
        let next = |mut told: mpsc::Receiver<Told>| async move { Some((told.recv().await?, told)) };
        let frames = futures::stream::unfold(told, next);
        http::Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

type Told = Result<Frame<Bytes>, std::io::Error>;

fn response(code: u16, body: &Value) -> Result<http::Response<Data>, Failure> {
    let never = |never: std::convert::Infallible| match never {};
    let body = Full::new(Bytes::from(body.to_string())).map_err(never).boxed_unsync();
    Ok(http::Response::builder().status(code).body(body)?)
}

fn refusal(status: &Status) -> Result<http::Response<Data>, Failure> {
    response(status.code, &status.body())
}

/// What the server does with a request, if it gets it; nothing if nobody hears of it.
async fn arrive(
    world: &Arc<World>,
    replica: usize,
    request: &Request,
    fate: Fate,
    sent: Instant,
) -> Option<Result<Answer, Status>> {
    let actor = Actor::Replica(replica);
    match fate.what {
        What::Lost | What::Silent => return None,
        What::Failed(code, seconds) => {
            world.lock().refused += 1;
            return Some(Err(passing(code, seconds)));
        }
        What::Done | What::Unanswered(_) => {}
    }
    if request.verb == Verb::List
        && let Some(list) = world.odd_list(request, fate.is_nothing)
    {
        return Some(list);
    }
    world.lock().judge.sent(actor, request);
    let request = world.tampered(request);
    if let (Some(pause), true) = (fate.again_after, request.verb.is_write()) {
        let (there, request) = (Arc::clone(world), request.clone());
        // A Job that was made, has run and is gone would be made again: nothing but the order of the network itself
        // can keep a POST from that, so its double comes at once.
        let pause = if request.verb == Verb::Create {
            Duration::from_millis(5)
        } else {
            pause
        };
        let again = async move {
            sleep(pause).await;
            drop(there.arrive(actor, &request, Sent::At(sent)));
        };
        world.wires.lock().unwrap_or_else(PoisonError::into_inner).spawn(again);
    }
    let answer = world.arrive(actor, &request, Sent::At(sent));
    match fate.what {
        What::Unanswered(0) => Some(Err(passing(504, 0))),
        What::Unanswered(_) => None,
        What::Done | What::Failed(..) | What::Lost | What::Silent => Some(world.told(replica, &request, answer)),
    }
}

/// What a busy or broken server says.
fn passing(code: u16, seconds: u32) -> Status {
    let reason = match code {
        404 => "NotFound",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    Status {
        details: json!({"retryAfterSeconds": seconds}),
        ..Status::new(code, reason, "the simulation refuses this one")
    }
}

impl World {
    /// A list from an older version, or in small pages, if that is this one's fate.
    fn odd_list(&self, request: &Request, is_nothing: bool) -> Option<Result<Answer, Status>> {
        let mut state = self.lock();
        let state = &mut *state;
        let mut is = |thousandths: u32| thousandths > 0 && state.chance.u32(..1000) < thousandths;
        let (is_old, is_small) = (is(state.weather.old_list), is(state.weather.small_pages));
        let goes_back = if self.broken == Broken::JobLists {
            request.kind == Kind::Job
        } else {
            // The list of nodes that is asked for a purpose comes from the store itself.
            request.kind != Kind::Job && !request.metadata_only
        };
        let is_old = is_old && goes_back;
        let back = if is_old { state.chance.u64(..60) } else { 0 };
        let version = state
            .server
            .version()
            .saturating_sub(back)
            .max(state.server.forgotten());
        let page = if is_small { 2 } else { usize::MAX };
        let list = (is_old || is_small || is_nothing).then(|| state.server.list(request, version, page))?;
        Some(list.map(|list| match list {
            Answer::Body(code, mut body) if is_nothing => {
                body["items"] = json!([]);
                Answer::Body(code, body)
            }
            list @ (Answer::Body(..) | Answer::Watch(_)) => list,
        }))
    }
}

/// One watch: how long it lives, and what it says when.
async fn pump(world: Arc<World>, replica: usize, mut watch: Watch, lines: mpsc::Sender<Told>) {
    let mut life = {
        let mut state = world.lock();
        let state = &mut *state;
        let (weather, chance) = (state.weather, &mut state.chance);
        let mut is = |thousandths: u32| thousandths > 0 && chance.u32(..1000) < thousandths;
        let (closed, silent, compacted) = (
            is(weather.watch_closed),
            is(weather.watch_silent),
            is(weather.compacted),
        );
        if compacted {
            let version = state.server.version();
            state.server.compact(version);
        }
        let most = watch.timeout_seconds * 1000;
        let life = if closed || silent { chance.u64(..most) } else { most };
        (Instant::now() + Duration::from_millis(life), silent)
    };
    loop {
        let mut changed = std::pin::pin!(world.changed.notified());
        changed.as_mut().enable();
        let (news, lag) = world.news(&mut watch);
        if !news.is_empty() {
            sleep(lag).await;
            for line in news {
                world.remember(replica, &line["object"], line["type"] == "DELETED");
                if say(&lines, &line).await.is_err() {
                    return;
                }
            }
        }
        if watch.position == u64::MAX {
            return;
        }
        let bookmark = Duration::from_secs(20);
        tokio::select! {
            biased;
            () = lines.closed() => return,
            () = tokio::time::sleep_until(life.0) => {
                if !std::mem::take(&mut life.1) {
                    return;
                }
                // It has fallen silent: only the bound of the connection ends it.
                sleep(SILENCE).await;
                drop(lines.send(Err(std::io::Error::other("nobody says anything"))).await);
                return;
            }
            () = changed => {}
            () = sleep(bookmark) => {
                let bookmark = world.lock().server.bookmark(&watch);
                if let Some(bookmark) = bookmark && say(&lines, &bookmark).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn say(lines: &mpsc::Sender<Told>, line: &Value) -> Result<(), mpsc::error::SendError<Told>> {
    let line = format!("{line}\n");
    lines.send(Ok(Frame::data(Bytes::from(line)))).await
}

impl World {
    fn news(&self, watch: &mut Watch) -> (Vec<Value>, Duration) {
        let mut state = self.lock();
        let state = &mut *state;
        let until = state.server.version();
        let mut news = state.server.news(watch, until);
        let doubled = state.weather.watch_doubled;
        if doubled > 0 && state.chance.u32(..1000) < doubled {
            state.doubled += news.len();
            news = news.into_iter().flat_map(|line| [line.clone(), line]).collect();
        }
        let lag = match state.weather.watch_lag {
            _ if news.is_empty() => 0,
            0 => state.chance.u64(..30),
            // Mostly a little, sometimes much.
            most if state.chance.u8(..8) == 0 => state.chance.u64(..u64::from(most)),
            most => state.chance.u64(..u64::from(most / 20 + 30)),
        };
        (news, Duration::from_millis(lag))
    }

    /// The request as it arrives where a guard is taken away.
    fn tampered(&self, request: &Request) -> Request {
        let mut request = request.clone();
        let is_delete = request.verb == Verb::Delete && request.kind == Kind::Job;
        match self.broken {
            Broken::Foreground if is_delete => request.body["propagationPolicy"] = json!("Background"),
            Broken::Preconditions if is_delete => request.body["preconditions"] = json!({}),
            Broken::StatusVersion if request.subresource == "status" => {
                request.body["metadata"] = json!({});
            }
            Broken::Record if request.subresource == "status" => {
                let mut state = self.lock();
                let forged = state.forged.entry(request.key()).or_default();
                if let Some(record) = request.body["status"]
                    .as_object_mut()
                    .and_then(|all| all.remove("finishedNodes"))
                {
                    *forged = record;
                }
            }
            Broken::Foreground
            | Broken::FreshRead
            | Broken::JobLists
            | Broken::NodeRead
            | Broken::Nothing
            | Broken::Preconditions
            | Broken::Record
            | Broken::StatusVersion => {}
        }
        request
    }
    /// Keeps what a replica is told of a DaemonJob, where it is to read nothing newer.
    fn remember(&self, replica: usize, object: &Value, is_gone: bool) {
        if self.broken != Broken::FreshRead || object["kind"] != "DaemonJob" {
            return;
        }
        let key = (replica, name(object).to_owned());
        let cached = &mut self.lock().cached;
        if is_gone {
            cached.remove(&key);
        } else {
            cached.insert(key, object.clone());
        }
    }

    /// The answer as it is told where a guard is taken away.
    fn told(&self, replica: usize, request: &Request, answer: Result<Answer, Status>) -> Result<Answer, Status> {
        let is_node = request.kind == Kind::Node && request.verb == Verb::Get;
        if is_node && self.broken == Broken::NodeRead {
            return Err(passing(404, 0));
        }
        let Ok(Answer::Body(code, mut body)) = answer else {
            return answer;
        };
        if request.kind == Kind::DaemonJob && matches!(request.verb, Verb::Get | Verb::Patch) {
            let state = self.lock();
            let key = request.key();
            match self.broken {
                Broken::FreshRead if request.verb == Verb::Get => {
                    if let Some(old) = state.cached.get(&(replica, key.name)) {
                        body = old.clone();
                    }
                }
                Broken::Record => {
                    if let Some(record) = state.forged.get(&key) {
                        body["status"]["finishedNodes"] = record.clone();
                    }
                }
                Broken::Foreground
                | Broken::FreshRead
                | Broken::JobLists
                | Broken::NodeRead
                | Broken::Nothing
                | Broken::Preconditions
                | Broken::StatusVersion => {}
            }
        }
        Ok(Answer::Body(code, body))
    }
}
