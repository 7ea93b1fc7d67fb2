//! Passes requests on, and lets them go wrong as the rules say.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Result;
use daemonjob_cluster::Call;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::call::{call_of, is_write, since};
use super::fault::{Fault, Pace, Refusal};
use super::flow::flow;
use super::upstream::Way;
use super::{Moment, Shared, Stream, lock};

pub(super) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// Takes connections for ever.
pub(super) async fn serve(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        drop(tokio::spawn(connection(stream, acceptor, shared)));
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let severed = lock(&shared.sever).child_token();
    drop(stream.set_nodelay(true));
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let line = Arc::new(Line {
        shared,
        way: Mutex::default(),
        severed: severed.clone(),
    });
    let service = service_fn(move |request| {
        let line = Arc::clone(&line);
        async move { Ok::<_, Infallible>(line.pass(request).await) }
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // The process broke off: its own affair.
        _ = serving => {}
        () = severed.cancelled() => {}
    }
}

/// One connection of the process.
struct Line {
    shared: Arc<Shared>,
    way: Mutex<Way>,
    severed: CancellationToken,
}

impl Line {
    async fn pass(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            return never().await;
        };
        let body = body.to_bytes();
        let call = call_of(&parts, &body);
        lock(&self.shared.asked).push(call.clone());
        let fault = (lock(&self.shared.rules))(&call);
        // What the API server does with it is not undone by the end of the process.
        let passing = tokio::spawn(async move { self.meet(fault, call, parts, body).await });
        match passing.await {
            Ok(response) => response,
            Err(_) => never().await,
        }
    }

    async fn meet(&self, fault: Fault, call: Call, parts: Parts, body: Bytes) -> Response<Body> {
        match fault {
            Fault::None => self.forward(call, parts, body).await,
            Fault::Lost => {
                self.note(call, 0);
                never().await
            }
            Fault::Cut => {
                drop(self.forward(call, parts, body).await);
                self.severed.cancel();
                never().await
            }
            Fault::AnsweredBy(refusal) => {
                drop(self.forward(call, parts, body).await);
                refused(refusal)
            }
            Fault::Refused(refusal) => {
                self.note(call, refusal.code.into());
                refused(refusal)
            }
            Fault::Answered(object) => {
                self.note(call, 200);
                json_answer(StatusCode::OK, object.to_string().into())
            }
            Fault::Late(lag) => {
                tokio::time::sleep(lag).await;
                self.forward(call, parts, body).await
            }
            Fault::Forged(forge) => {
                let answer = self.forward(call, parts, body).await;
                forged(answer, forge).await
            }
            Fault::Since(version) => self.ask(call, since(parts, version), body, Pace::default()).await,
            Fault::Told(pace) => self.ask(call, parts, body, pace).await,
        }
    }

    /// Asks the API server. With an appointed end, writes go one at a time, and none after the last.
    async fn forward(&self, call: Call, parts: Parts, body: Bytes) -> Response<Body> {
        if !is_write(&call) {
            return self.ask(call, parts, body, Pace::default()).await;
        }
        let mut killing = self.shared.killing.lock().await;
        // It came from a process that is dead by now.
        if self.severed.is_cancelled() {
            drop(killing);
            return never().await;
        }
        let Some(appointed) = killing.as_mut() else {
            drop(killing);
            return self.ask(call, parts, body, Pace::default()).await;
        };
        let is_over = appointed.left == 0;
        let response = if is_over {
            None
        } else {
            Some(self.ask(call, parts, body, Pace::default()).await)
        };
        appointed.left = appointed.left.saturating_sub(1);
        let ends = is_over || (appointed.left == 0 && appointed.moment == Moment::BeforeTheAnswer);
        if let (Some(response), false) = (response, ends) {
            return response;
        }
        kill(appointed.pid);
        *killing = None;
        self.shared.sever();
        drop(killing);
        never().await
    }

    async fn ask(&self, call: Call, parts: Parts, body: Bytes, pace: Pace) -> Response<Body> {
        let is_watch = call.verb == "watch";
        match self.try_ask(parts, body).await {
            Ok(response) if is_watch && response.status() == StatusCode::OK => {
                let (mut parts, incoming) = response.into_parts();
                forget_length(&mut parts.headers);
                let stream = Stream {
                    call: call.clone(),
                    silence: CancellationToken::new(),
                    end: CancellationToken::new(),
                };
                lock(&self.shared.streams).push(stream.clone());
                self.note(call, parts.status.as_u16().into());
                Response::from_parts(parts, flow(incoming, stream, pace))
            }
            Ok(response) => match whole(response).await {
                Ok(response) => {
                    self.note(call, response.status().as_u16().into());
                    response
                }
                Err(_) => self.broken(call).await,
            },
            Err(_) => self.broken(call).await,
        }
    }

    /// The API server is not there, or broke off: so does the proxy.
    async fn broken(&self, call: Call) -> Response<Body> {
        self.note(call, 0);
        self.severed.cancel();
        never().await
    }

    async fn try_ask(&self, parts: Parts, body: Bytes) -> Result<Response<Incoming>> {
        let mut way = self.way.lock().await;
        let request = Request::from_parts(parts, Full::new(body));
        self.shared.upstream.ask(&mut way, request).await
    }

    fn note(&self, mut call: Call, code: u64) {
        call.code = code;
        lock(&self.shared.record).push(call);
    }
}

/// SIGKILL, to a process that the test started and has not awaited yet.
fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("it is a pid");
    kill_process(pid, Signal::KILL).expect("it is ours");
}

pub(super) async fn never<T>() -> T {
    std::future::pending().await
}

fn body_of(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn json_answer(code: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(body_of(body));
    *response.status_mut() = code;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn refused(refusal: Refusal) -> Response<Body> {
    let mut response = json_answer(refusal.code(), refusal.body());
    if refusal.retry_after > 0 {
        let seconds = HeaderValue::from(refusal.retry_after);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// An answer that has come to its end.
async fn whole(response: Response<Incoming>) -> Result<Response<Body>> {
    let (mut parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    forget_length(&mut parts.headers);
    Ok(Response::from_parts(parts, body_of(body)))
}

/// An answer with another object in it.
async fn forged(answer: Response<Body>, forge: fn(&mut Value)) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let Ok(body) = body.collect().await else {
        return never().await;
    };
    let mut object = serde_json::from_slice(&body.to_bytes()).expect("the API server answers in JSON");
    forge(&mut object);
    Response::from_parts(parts, body_of(object.to_string().into()))
}

/// The connection to the process has a framing of its own.
fn forget_length(headers: &mut HeaderMap) {
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::TRANSFER_ENCODING);
}
