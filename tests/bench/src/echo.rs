//! What the webhook is measured against: the same libraries with the same settings, and nothing of ours.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use rustls::version::TLS13;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::serve::Arm;

/// The webhook's limits.
const BODY_MAX: usize = 7 << 20;
const HEADERS_MAX: usize = 100;
const HEAD_BYTES_MAX: usize = 32 << 10;
const BUFFER_MAX: usize = 64 << 10;

/// 200 bytes of JSON, about what the webhook answers.
const ANSWER: &str = concat!(
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":"#,
    r#"{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002","allowed":true,"warnings":["#,
    r#""an echo has nothing to say about it 00000000000000"]}}"#
);

const _: () = assert!(ANSWER.len() == 200);

/// What the arm does with a body.
pub(crate) fn router(arm: Arm) -> Router {
    let answers = || match arm {
        Arm::Reader => post(read),
        Arm::Echo | Arm::Webhook => post(echo),
    };
    Router::new().route("/mutate", answers()).route("/validate", answers())
}

pub(crate) async fn serve(
    listener: TcpListener,
    resolver: Arc<dyn ResolvesServerCert>,
    stop: CancellationToken,
    router: Router,
) -> Result<()> {
    let mut tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tls = TlsAcceptor::from(Arc::new(tls));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => {
                connections.spawn(converse(tls.clone(), accepted?.0, router.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(tls: TlsAcceptor, stream: TcpStream, router: Router) -> Result<()> {
    stream.set_nodelay(true)?;
    let stream = tls.accept(stream).await?;
    let service = service_fn(move |request: hyper::Request<Incoming>| router.clone().oneshot(request));
    http1::Builder::new()
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

async fn echo(body: Body) -> Response {
    match to_bytes(body, BODY_MAX).await {
        Ok(_) => ([(header::CONTENT_TYPE, "application/json")], ANSWER).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn read(body: Body) -> Response {
    let Ok(bytes) = to_bytes(body, BODY_MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(_) => ([(header::CONTENT_TYPE, "application/json")], ANSWER).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}
