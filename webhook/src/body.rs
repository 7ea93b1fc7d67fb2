//! Reading bodies: bounded each, bounded together, bounded in time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::Refusal;
use crate::server::CONNECTIONS_MAX;

/// Largest body. API servers take objects of 3 MiB, and the review of an update holds two.
pub(crate) const BODY_MAX: u32 = 7 << 20;
/// Bodies in flight, together. What a review allocates is in proportion to them.
const IN_FLIGHT_MAX: u32 = 24 << 20;
/// Bodies up to here take no room, because there is always room for one on each connection:
/// whoever announces large bodies and never sends them cannot keep the usual review waiting.
const SMALL_MAX: u32 = 16 << 10;
/// What the larger ones share.
const ROOM: u32 = IN_FLIGHT_MAX - SMALL_MAX * CONNECTIONS_MAX as u32;
/// How long a review waits for room. API servers give up after 5 s, so that an answer must leave time for another try.
pub(crate) const BUDGET_WAIT: Duration = Duration::from_secs(2);
/// How long a body may take to arrive once there is room for it.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(3);

const _: () = assert!(BODY_MAX <= ROOM, "the largest body must fit, or it would wait for ever");

/// Room for the bodies that are read and judged at the same time.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

/// A body and its room, given back together.
pub(crate) struct Held {
    pub(crate) bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(ROOM as usize)))
    }

    /// The whole body. Room for it is taken first, in full: bodies that get their room piece by piece
    /// could wait for each other. A body of unknown length takes room for the largest.
    pub(crate) async fn read(&self, body: Body) -> Result<Held, Refusal> {
        let declared = body.size_hint().exact();
        let length = declared.map_or(Ok(BODY_MAX), |length| {
            u32::try_from(length)
                .ok()
                .filter(|length| *length <= BODY_MAX)
                .ok_or(Refusal::TooLarge)
        })?;
        let room = match length {
            ..=SMALL_MAX => None,
            _ => Some(self.room_for(length).await?),
        };
        let expected = declared.map_or(0, |_| length);
        let bytes = timeout(READ_TIMEOUT, collect(body, expected, length))
            .await
            .map_err(|_| Refusal::TooSlow)??;
        Ok(Held { bytes, _room: room })
    }

    async fn room_for(&self, length: u32) -> Result<OwnedSemaphorePermit, Refusal> {
        let room = timeout(BUDGET_WAIT, Arc::clone(&self.0).acquire_many_owned(length))
            .await
            .map_err(|_| Refusal::Overloaded)?;
        Ok(room.expect("the semaphore is never closed"))
    }
}

/// What the body holds, in no more memory than that.
/// No longer than `most`: hyper sees to it where the length was announced, and where it was not, this is the largest.
async fn collect(mut body: Body, expected: u32, most: u32) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::with_capacity(expected as usize);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::Broken)?.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > most as usize {
            return Err(Refusal::TooLarge);
        }
        bytes.extend_from_slice(&data);
    }
    bytes.shrink_to_fit();
    Ok(bytes)
}

/// Only plain JSON is read, in the one encoding that JSON has.
pub(crate) fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or("?").to_ascii_lowercase())
    };
    if text(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Refusal::Encoded);
    }
    let media_type = text(CONTENT_TYPE).unwrap_or_default();
    let (essence, parameters) = media_type.split_once(';').unwrap_or((&media_type, ""));
    let is_utf8 = matches!(parameters.trim(), "" | "charset=utf-8" | "charset=\"utf-8\"");
    if essence.trim() != "application/json" || !is_utf8 {
        return Err(Refusal::MediaType);
    }
    Ok(())
}
