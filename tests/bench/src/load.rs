//! Load, and what came of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::served::Served;

/// What kept connections achieved.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Answers in a second.
    pub rate: f64,
    /// What the server spent of a processor for each, in microseconds.
    pub cost: f64,
}

/// So many connections, each of which asks again as soon as it is answered, alternating between these requests.
///
/// # Errors
/// If one request is not answered with 200.
pub async fn kept_connections(
    served: &Served,
    number: usize,
    requests: &'static [Vec<u8>],
    time: Duration,
) -> Result<Kept> {
    let mut connections = Vec::new();
    for _ in 0..number {
        let mut connection = served.client().connect().await?;
        for request in requests {
            connection.ask_for_leave(request).await?;
        }
        connections.push(connection);
    }
    let spent = served.processor_time()?;
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    for (first, mut connection) in connections.into_iter().enumerate() {
        clients.spawn(async move {
            let mut answered = 0_u32;
            for request in requests.iter().cycle().skip(first) {
                if begin.elapsed() > time {
                    break;
                }
                connection.ask(request).await?;
                answered += 1;
            }
            Ok::<_, anyhow::Error>(answered)
        });
    }
    let answered: u32 = clients.join_all().await.into_iter().sum::<Result<u32>>()?;
    let elapsed = begin.elapsed();
    let spent = served.processor_time()?.saturating_sub(spent);
    Ok(Kept {
        rate: f64::from(answered) / elapsed.as_secs_f64(),
        cost: spent.as_secs_f64() * 1e6 / f64::from(answered),
    })
}

/// So many clients at once, each of which opens a connection, asks once, and does so again.
/// How long each took from dialling to the answer, sorted.
///
/// # Errors
/// If one of them fails.
pub async fn new_connections(
    client: &Client,
    number: usize,
    request: &'static [u8],
    time: Duration,
) -> Result<Vec<Duration>> {
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..number {
        let client = client.clone();
        clients.spawn(async move {
            let mut took = Vec::new();
            while begin.elapsed() < time {
                let dialled = Instant::now();
                client.connect().await?.ask(request).await?;
                took.push(dialled.elapsed());
            }
            Ok::<_, anyhow::Error>(took)
        });
    }
    let took = clients.join_all().await.into_iter().collect::<Result<Vec<_>>>();
    let mut took: Vec<Duration> = took.context("a new connection failed")?.into_iter().flatten().collect();
    took.sort();
    Ok(took)
}
