//! The open connections, and which of them goes when there is no room for another.
//!
//! Whoever reaches the port can open connections and leave them idle. Were the next one refused then, a few hundred
//! of them would lock out the API servers until they expire. So the next one is always taken up,
//! and the connection that would be missed least makes room.

use std::time::Duration;

use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, timeout};

use crate::pace::Pace;

/// How little a connection would be missed: the least of all goes first, and among equals the one since the longest.
///
/// An API server sends its review right after the handshake. To be displaced before it has an answer, it would have to
/// wait while as many others as there are seats shake hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It has not carried a single review since it was opened.
    Unproven(Instant),
    /// Between reviews: an API server opens another connection when it needs one.
    Idle(Instant),
    /// In the middle of a review.
    Busy(Instant),
}

/// The connections that have their handshake behind them.
pub(crate) struct Seats {
    number: usize,
    taken: Vec<Seat>,
    tasks: JoinSet<()>,
}

struct Seat {
    task: AbortHandle,
    pace: Pace,
}

impl Seats {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            taken: Vec::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Takes up a connection. Whether another one had to go for it.
    pub(crate) fn take<F>(&mut self, pace: Pace, connection: F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let has_displaced = self.make_room();
        let task = self.tasks.spawn(connection);
        self.taken.push(Seat { task, pace });
        has_displaced
    }

    fn make_room(&mut self) -> bool {
        if self.taken.len() < self.number {
            return false;
        }
        self.taken.retain(|seat| !seat.task.is_finished());
        if self.taken.len() < self.number {
            return false;
        }
        let standings = self.taken.iter().map(|seat| seat.pace.standing());
        if let Some((least, _)) = standings.enumerate().min_by_key(|(_, standing)| *standing) {
            self.taken.swap_remove(least).task.abort();
        }
        true
    }

    /// The next connection that has ended. None: there are none.
    pub(crate) async fn ended(&mut self) -> Option<Result<(), JoinError>> {
        self.tasks.join_next().await
    }

    /// Waits for all, but no longer than this; then they are cut off. How many were.
    pub(crate) async fn close(mut self, limit: Duration, mut note: impl FnMut(Result<(), JoinError>)) -> usize {
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                note(ended);
            }
        };
        if timeout(limit, all).await.is_ok() {
            return 0;
        }
        let left = self.tasks.len();
        self.tasks.shutdown().await;
        left
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::advance;

    use super::*;

    const NUMBER: usize = 3;

    /// Opens a connection that stays until it is displaced, a second after the one before.
    async fn open(seats: &mut Seats) -> (Pace, AbortHandle, bool) {
        advance(Duration::from_secs(1)).await;
        let pace = Pace::new();
        let has_displaced = seats.take(pace.clone(), pending());
        let task = seats.taken.last().expect("it has a seat").task.clone();
        (pace, task, has_displaced)
    }

    async fn review(pace: &Pace) {
        advance(Duration::from_secs(1)).await;
        pace.request();
        pace.answered(true);
    }

    /// Which of these connections went, once the next one is there.
    async fn displaced(seats: &mut Seats, held: &[&AbortHandle]) -> Vec<usize> {
        let before = held.iter().filter(|task| task.is_finished()).count();
        assert_eq!(before, 0, "they are all there");
        let (_, _, has_displaced) = open(seats).await;
        assert!(has_displaced);
        let ended = seats.ended().await.expect("one was displaced");
        assert!(ended.expect_err("it did not end by itself").is_cancelled());
        let gone = held.iter().enumerate().filter(|(_, task)| task.is_finished());
        gone.map(|(index, _)| index).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn f34_a_connection_that_carried_a_review_outlives_all_that_did_not() {
        let mut seats = Seats::new(NUMBER);
        let (proven, kept, _) = open(&mut seats).await;
        review(&proven).await;
        let (_, first, _) = open(&mut seats).await;
        let (_, second, _) = open(&mut seats).await;
        assert_eq!(displaced(&mut seats, &[&kept, &first, &second]).await, [1]);
        assert_eq!(displaced(&mut seats, &[&kept, &second]).await, [1]);
        for _ in 0..10 {
            assert!(displaced(&mut seats, &[&kept]).await.is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn f34_what_was_not_answered_with_a_verdict_proves_nothing() {
        let mut seats = Seats::new(NUMBER);
        let (stranger, shown_out, _) = open(&mut seats).await;
        let (proven, kept, _) = open(&mut seats).await;
        review(&proven).await;
        let (newest, newcomer, _) = open(&mut seats).await;
        for pace in [&stranger, &newest] {
            pace.request();
            pace.answered(false);
        }
        stranger.request();
        assert_eq!(displaced(&mut seats, &[&shown_out, &kept, &newcomer]).await, [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn f34_among_the_proven_the_longest_idle_goes_and_a_review_is_not_cut_off() {
        let mut seats = Seats::new(NUMBER);
        let mut held = Vec::new();
        for _ in 0..NUMBER {
            held.push(open(&mut seats).await);
        }
        for (pace, ..) in held.iter().rev() {
            review(pace).await;
        }
        held[2].0.request();
        let tasks: Vec<&AbortHandle> = held.iter().map(|(_, task, _)| task).collect();
        assert_eq!(
            displaced(&mut seats, &tasks).await,
            [1],
            "0 carried a review after it, 2 is in one"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn f34_when_all_are_busy_the_one_that_takes_longest_goes() {
        let mut seats = Seats::new(NUMBER);
        let mut held = Vec::new();
        for _ in 0..NUMBER {
            held.push(open(&mut seats).await);
        }
        for index in [1, 0, 2] {
            review(&held[index].0).await;
            held[index].0.request();
        }
        let tasks: Vec<&AbortHandle> = held.iter().map(|(_, task, _)| task).collect();
        assert_eq!(displaced(&mut seats, &tasks).await, [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_seat_is_free_again_when_its_connection_has_ended() {
        let mut seats = Seats::new(NUMBER);
        for _ in 1..NUMBER {
            assert!(!open(&mut seats).await.2);
        }
        assert!(!seats.take(Pace::new(), async {}));
        seats.ended().await.expect("one ended").expect("by itself");
        assert!(!open(&mut seats).await.2, "the seat of the one that ended is free");
        assert!(open(&mut seats).await.2);
    }
}
