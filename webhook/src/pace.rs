//! Deadlines on a connection, by what it is doing.
//!
//! hyper's own header timeout also runs while a connection is idle. API servers keep idle connections for 90 s
//! and repeat no review whose connection closes under it, so a short timeout there makes applies fail.
//! Here the short one starts with the first byte of a request.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::seats::Standing;

/// Longer than the 90 s for which API servers keep a connection: the client closes first.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// From the first byte of a request to the end of its head.
const HEAD_MAX: Duration = Duration::from_secs(3);
/// From a request's head to its answer. Waiting for room and for the body have their own limits, which are shorter;
/// this one ends what they do not see. No API server waits longer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// For the last words, and for the client to hear them.
const PARTING_MAX: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A request is being answered.
    Answering,
    /// A request has begun; its head is not complete.
    Head,
    /// Between requests.
    Idle,
    /// It was idle when the server stopped; no further request is read.
    Parted,
}

impl Phase {
    fn limit(self) -> Duration {
        match self {
            Self::Answering => ANSWER_MAX,
            Self::Head => HEAD_MAX,
            Self::Idle => IDLE_MAX,
            Self::Parted => PARTING_MAX,
        }
    }
}

/// What a connection is doing, told by its service and seen by its socket.
#[derive(Clone, Debug)]
pub(crate) struct Pace(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug)]
struct State {
    phase: Phase,
    since: Instant,
    opened: Instant,
    has_carried_a_review: bool,
}

impl Pace {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(State {
            phase: Phase::Idle,
            since: now,
            opened: now,
            has_carried_a_review: false,
        })))
    }

    /// A request's head is complete.
    pub(crate) fn request(&self) {
        self.enter(Phase::Answering);
    }

    /// Its answer is made, and was a verdict if it was a review.
    pub(crate) fn answered(&self, is_verdict: bool) {
        let mut state = self.state();
        state.phase = Phase::Idle;
        state.since = Instant::now();
        state.has_carried_a_review |= is_verdict;
    }

    /// How much the connection would be missed.
    pub(crate) fn standing(&self) -> Standing {
        let state = *self.state();
        match state.phase {
            // Since it was opened, not since it last did something: doing things is cheap.
            _ if !state.has_carried_a_review => Standing::Unproven(state.opened),
            Phase::Idle | Phase::Parted => Standing::Idle(state.since),
            Phase::Answering | Phase::Head => Standing::Busy(state.since),
        }
    }

    /// Whether it was idle when the server stopped.
    pub(crate) fn has_parted(&self) -> bool {
        self.phase() == Phase::Parted
    }

    fn bytes_arrived(&self) {
        if self.phase() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    fn phase(&self) -> Phase {
        self.state().phase
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.state();
        state.phase = phase;
        state.since = Instant::now();
    }

    fn deadline(&self) -> Instant {
        let state = *self.state();
        state.since + state.phase.limit()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that fails once its connection is past its deadline, and that has no more to read once the server stops
/// while its connection is idle.
pub(crate) struct Paced<T> {
    inner: T,
    pace: Pace,
    alarm: Pin<Box<Sleep>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<T> Paced<T> {
    pub(crate) fn new(inner: T, pace: Pace, stopping: CancellationToken) -> Self {
        let alarm = Box::pin(sleep_until(pace.deadline()));
        Self {
            inner,
            pace,
            alarm,
            stopping: Box::pin(stopping.cancelled_owned()),
        }
    }

    /// Whether the server stops while the connection is idle.
    fn parts(&mut self, cx: &mut Context<'_>) -> bool {
        let parts = self.pace.phase() == Phase::Idle && self.stopping.as_mut().poll(cx).is_ready();
        if parts {
            self.pace.enter(Phase::Parted);
        }
        parts
    }

    /// Also leaves word to be woken at the deadline, so it stands before whatever may wait.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let deadline = self.pace.deadline();
        if self.alarm.deadline() != deadline {
            self.alarm.as_mut().reset(deadline);
        }
        match self.alarm.as_mut().poll(cx) {
            Poll::Ready(()) => {
                let limit = self.pace.phase().limit();
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("nothing for {limit:?}"),
                ))
            }
            Poll::Pending => Ok(()),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buf.filled().len();
        // What has already arrived is read first.
        match Pin::new(&mut self.inner).poll_read(cx, buf)? {
            Poll::Ready(()) => {}
            Poll::Pending if self.parts(cx) => return Poll::Ready(Ok(())),
            Poll::Pending => return Poll::Pending,
        }
        if buf.filled().len() > before {
            self.pace.bytes_arrived();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
