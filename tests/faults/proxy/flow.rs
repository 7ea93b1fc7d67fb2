//! A watch on its way to the process.

use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::Stream;
use super::fault::Pace;
use super::relay::{Body, never};

type Told = Result<Frame<Bytes>, hyper::Error>;

/// A body that goes on until it is ended or falls silent.
pub(super) fn flow(body: Incoming, stream: Stream, pace: Pace) -> Body {
    let (sender, receiver) = unbounded_channel();
    // Ends with either side.
    drop(tokio::spawn(read(body, pace.is_doubled, sender)));
    let frames = stream::unfold((receiver, stream), move |(mut receiver, stream)| async move {
        let told = async {
            let (came, frame) = receiver.recv().await?;
            sleep_until(came + pace.lag).await;
            Some(frame)
        };
        let frame = tokio::select! {
            biased;
            () = stream.silence.cancelled() => never().await,
            () = stream.end.cancelled() => None,
            frame = told => frame,
        }?;
        Some((frame, (receiver, stream)))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Takes events as they come, whole lines of them.
async fn read(mut body: Incoming, is_doubled: bool, sender: UnboundedSender<(Instant, Told)>) {
    let mut begun = Vec::new();
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = sender.closed() => return,
        };
        let told = match frame {
            None => return,
            Some(Err(error)) => Err(error),
            Some(Ok(frame)) => {
                begun.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
                Ok(Frame::data(whole_lines(&mut begun, is_doubled)))
            }
        };
        if sender.send((Instant::now(), told)).is_err() {
            return;
        }
    }
}

/// Takes out what has come to the end of its line.
fn whole_lines(begun: &mut Vec<u8>, is_doubled: bool) -> Bytes {
    let end = begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let lines: Vec<u8> = begun.drain(..end).collect();
    if !is_doubled {
        return lines.into();
    }
    let twice = lines.split_inclusive(|byte| *byte == b'\n');
    twice.flat_map(|line| [line, line].concat()).collect()
}
