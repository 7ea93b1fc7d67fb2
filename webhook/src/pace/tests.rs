//! On paused time: the clock jumps to the next deadline whenever all is waiting.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::sleep;

use super::*;

/// A paced end, its pace, and the client's end.
fn connection() -> (Paced<DuplexStream>, Pace, DuplexStream) {
    connection_until(CancellationToken::new())
}

fn connection_until(stopping: CancellationToken) -> (Paced<DuplexStream>, Pace, DuplexStream) {
    let (server, client) = duplex(1024);
    let pace = Pace::new();
    (Paced::new(server, pace.clone(), stopping), pace, client)
}

/// When reading fails or ends, in seconds from now.
async fn seconds_until_closed(mut socket: Paced<DuplexStream>) -> (u64, io::Result<u64>) {
    let started = Instant::now();
    let ended = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
    (started.elapsed().as_secs(), ended)
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_lives_120_s() {
    let (socket, _pace, _client) = connection();
    let (seconds, ended) = seconds_until_closed(socket).await;
    assert_eq!((seconds, ended.unwrap_err().kind()), (120, io::ErrorKind::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn p12_a_request_after_89_s_of_idling_is_read() {
    let (mut socket, pace, mut client) = connection();
    for _ in 0..3 {
        let (read, ()) = tokio::join!(socket.read_u8(), async {
            sleep(Duration::from_secs(89)).await;
            client.write_all(b"x").await.unwrap();
        });
        assert_eq!(read.unwrap(), b'x');
        pace.request();
        pace.answered(true);
    }
}

#[tokio::test(start_paused = true)]
async fn b07_one_header_byte_a_second_is_closed_after_3_s() {
    let (socket, _pace, mut client) = connection();
    let drip = async {
        while client.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(900)).await;
        }
    };
    let ((seconds, ended), ()) = tokio::join!(seconds_until_closed(socket), drip);
    assert_eq!((seconds, ended.unwrap_err().kind()), (3, io::ErrorKind::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn a_head_timeout_does_not_run_while_a_request_is_answered() {
    let (mut socket, pace, mut client) = connection();
    client.write_all(b"x").await.unwrap();
    assert_eq!(socket.read_u8().await.unwrap(), b'x');
    pace.request();
    let (seconds, _ended) = seconds_until_closed(socket).await;
    assert_eq!(seconds, 30);
}

#[tokio::test(start_paused = true)]
async fn f33_an_idle_connection_has_no_more_to_read_once_the_server_stops() {
    let stopping = CancellationToken::new();
    let (socket, pace, _client) = connection_until(stopping.clone());
    let ((seconds, ended), ()) = tokio::join!(seconds_until_closed(socket), async {
        sleep(Duration::from_secs(7)).await;
        assert!(!pace.has_parted());
        stopping.cancel();
    });
    assert_eq!((seconds, ended.unwrap(), pace.has_parted()), (7, 0, true));
}

#[tokio::test(start_paused = true)]
async fn f33_a_request_that_has_begun_is_read_on_though_the_server_stops() {
    let stopping = CancellationToken::new();
    let (mut socket, pace, mut client) = connection_until(stopping.clone());
    client.write_all(b"xy").await.unwrap();
    stopping.cancel();
    assert_eq!(socket.read_u8().await.unwrap(), b'x', "it had arrived");
    assert_eq!(socket.read_u8().await.unwrap(), b'y');
    pace.request();
    client.write_all(b"z").await.unwrap();
    assert_eq!(socket.read_u8().await.unwrap(), b'z');
    assert!(!pace.has_parted());
}
