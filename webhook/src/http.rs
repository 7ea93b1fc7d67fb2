//! The two paths, and what is answered before anything is judged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use crate::body::{Budget, check_headers};
use crate::error::Refusal;
use crate::mutate::mutate;
use crate::observer::{Endpoint, Observer, Outcome, Reviewed};
use crate::review::{self, Operation};
use crate::subject::{self, Subject};
use crate::validate::validate;
use crate::verdict::Verdict;

/// Longest path with query; API servers add `?timeout=5s` to what the configuration says.
const URI_MAX: usize = 8 << 10;

#[derive(Clone)]
struct App {
    budget: Budget,
    observer: Arc<dyn Observer>,
}

/// The service behind the socket.
pub(crate) fn router(observer: Arc<dyn Observer>) -> Router {
    Router::new()
        .route(
            Endpoint::Mutate.path(),
            post(|app, request| serve(app, Endpoint::Mutate, request)),
        )
        .route(
            Endpoint::Validate.path(),
            post(|app, request| serve(app, Endpoint::Validate, request)),
        )
        .fallback(async |request: Request| check_uri(&request).err().unwrap_or(StatusCode::NOT_FOUND))
        .with_state(App {
            budget: Budget::new(),
            observer,
        })
}

/// By each handler and not by a layer around all, which would take its time from every review.
fn check_uri(request: &Request) -> Result<(), StatusCode> {
    let uri = request.uri();
    if uri.path_and_query().is_some_and(|text| text.as_str().len() > URI_MAX) {
        return Err(StatusCode::URI_TOO_LONG);
    }
    if uri.path().split('/').any(|segment| segment == "." || segment == "..") {
        return Err(StatusCode::BAD_REQUEST);
    }
    Ok(())
}

async fn serve(State(app): State<App>, endpoint: Endpoint, request: Request) -> Response {
    if let Err(status) = check_uri(&request) {
        return status.into_response();
    }
    let started = Instant::now();
    let _in_flight = InFlight::begin(&*app.observer, endpoint);
    let answered = answer(&app.budget, endpoint, request).await;
    let answer = answered.unwrap_or_else(|refusal| {
        tracing::debug!(webhook = endpoint.path(), error = %refusal, "review refused");
        Answer {
            operation: None,
            outcome: refusal.outcome(),
            denied_for: BTreeSet::new(),
            response: refusal.into_response(),
        }
    });
    app.observer.reviewed(&Reviewed {
        endpoint,
        operation: answer.operation,
        outcome: answer.outcome,
        status: answer.response.status().as_u16(),
        denied_for: answer.denied_for,
        duration: started.elapsed(),
    });
    answer.response
}

/// A request at work, until it is answered or its caller goes away, which drops its future.
struct InFlight<'a> {
    observer: &'a dyn Observer,
    endpoint: Endpoint,
}

impl<'a> InFlight<'a> {
    fn begin(observer: &'a dyn Observer, endpoint: Endpoint) -> Self {
        observer.began(endpoint);
        Self { observer, endpoint }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.observer.ended(self.endpoint);
    }
}

struct Answer {
    operation: Option<Operation>,
    outcome: Outcome,
    denied_for: BTreeSet<&'static str>,
    response: Response,
}

async fn answer(budget: &Budget, endpoint: Endpoint, request: Request) -> Result<Answer, Refusal> {
    check_headers(request.headers())?;
    let body = budget.read(request.into_body()).await?;
    let request = review::parse(&body.bytes)?;
    let verdict = judge(endpoint, &request);
    let outcome = outcome(&verdict);
    tracing::debug!(
        webhook = endpoint.path(),
        uid = request.uid,
        operation = request.operation.as_str(),
        daemonjob.namespace = request.namespace,
        daemonjob.name = request.name,
        user = request.user_info.username,
        dry_run = request.dry_run.unwrap_or(false),
        outcome = outcome.as_str(),
        "reviewed"
    );
    let json = review::answer(&request.uid, &verdict);
    let response = ([(header::CONTENT_TYPE, "application/json")], json).into_response();
    Ok(Answer {
        operation: Some(request.operation),
        outcome,
        denied_for: verdict.denied_for(),
        response,
    })
}

fn judge(endpoint: Endpoint, request: &review::Request<'_>) -> Verdict {
    let judge: fn(&Subject) -> Verdict = match endpoint {
        Endpoint::Mutate => mutate,
        Endpoint::Validate => validate,
    };
    match subject::read(request) {
        Ok(Some(subject)) => judge(&subject),
        Ok(None) => Verdict::allowed(),
        Err(denial) => Verdict::Denied(denial),
    }
}

fn outcome(verdict: &Verdict) -> Outcome {
    match verdict {
        Verdict::Allowed { patch, .. } if patch.is_empty() => Outcome::Allowed,
        Verdict::Allowed { .. } => Outcome::Patched,
        Verdict::Denied(_) => Outcome::Denied,
    }
}

#[cfg(test)]
mod tests;
