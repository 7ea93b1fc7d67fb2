//! The last words on an idle connection.
//!
//! An API server may send its review in the very moment in which the server closes the idle connection under it.
//! It cannot know whether the review was read, so it does not repeat it: it fails the user's request with `EOF`.
//! Before HTTP/2, a server has no way to ask for no more requests but in an answer. So the last that an idle
//! connection carries is an answer: to a review that is on its way it says to come again in a second, which API servers
//! do, on another connection; and a client that waits for no answer closes the connection, with a line in its log.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

/// The reason is for the reader of that line; programs skip it (RFC 9112, section 4).
const LAST_WORDS: &[u8] = b"HTTP/1.1 503 The DaemonJob webhook restarts\r\n\
    Retry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Says the last words, and waits until the client has closed its side: a socket that is closed with something unread
/// takes back what was sent (RFC 9112, section 9.6).
///
/// # Errors
/// If the client has broken off, or does not close its side in time.
pub(crate) async fn take_leave<T: AsyncRead + AsyncWrite + Unpin>(socket: &mut T) -> io::Result<()> {
    socket.write_all(LAST_WORDS).await?;
    socket.shutdown().await?;
    tokio::io::copy(socket, &mut tokio::io::sink()).await?;
    Ok(())
}
