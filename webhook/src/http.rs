//! The two paths, and what is answered before anything is judged.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
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
        .route("/mutate", post(|app, request| serve(app, Endpoint::Mutate, request)))
        .route(
            "/validate",
            post(|app, request| serve(app, Endpoint::Validate, request)),
        )
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(middleware::from_fn(check_uri))
        .with_state(App {
            budget: Budget::new(),
            observer,
        })
}

async fn check_uri(request: Request, next: Next) -> Response {
    let uri = request.uri();
    if uri.path_and_query().is_some_and(|text| text.as_str().len() > URI_MAX) {
        return StatusCode::URI_TOO_LONG.into_response();
    }
    if uri.path().split('/').any(|segment| segment == "." || segment == "..") {
        return StatusCode::BAD_REQUEST.into_response();
    }
    next.run(request).await
}

async fn serve(State(app): State<App>, endpoint: Endpoint, request: Request) -> Response {
    let started = Instant::now();
    let answered = answer(&app.budget, endpoint, request).await;
    let (operation, outcome) = match &answered {
        Ok(answer) => (Some(answer.operation), answer.outcome),
        Err(refusal) => (None, refusal.outcome()),
    };
    app.observer.reviewed(&Reviewed {
        endpoint,
        operation,
        outcome,
        duration: started.elapsed(),
    });
    match answered {
        Ok(answer) => answer.response,
        Err(refusal) => {
            tracing::debug!(endpoint = endpoint.as_str(), error = %refusal, "review refused");
            refusal.into_response()
        }
    }
}

struct Answer {
    operation: Operation,
    outcome: Outcome,
    response: Response,
}

async fn answer(budget: &Budget, endpoint: Endpoint, request: Request) -> Result<Answer, Refusal> {
    check_headers(request.headers())?;
    let body = budget.read(request.into_body()).await?;
    let request = review::parse(&body.bytes)?;
    let verdict = judge(endpoint, &request);
    let outcome = outcome(&verdict);
    tracing::debug!(
        endpoint = endpoint.as_str(),
        uid = request.uid,
        operation = request.operation.as_str(),
        daemonjob.namespace = request.namespace,
        daemonjob.name = request.name,
        user = request.user_info.0.username,
        dry_run = request.dry_run.unwrap_or(false),
        outcome = outcome.as_str(),
        "reviewed"
    );
    let json = review::answer(&request.uid, &verdict);
    let response = ([(header::CONTENT_TYPE, "application/json")], json).into_response();
    Ok(Answer {
        operation: request.operation,
        outcome,
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
