use std::time::Instant;

use rstest::rstest;
use stateright::{Checker, HasDiscoveries, Model};

use super::state::State;
use super::{HANDSHAKES, Rotation, Variant};

/// How many crashes and lost requests a run has beyond those that belong to a test: with more it takes minutes.
fn more() -> u8 {
    let asked = std::env::var_os("ROTATION_FAULTS").map(|asked| asked.to_string_lossy().parse());
    asked.map_or(0, |asked| asked.expect("ROTATION_FAULTS is a number"))
}

/// Soak and lag in short ticks, as little as shows the counting.
const SHORT: (u8, u8) = (2, 0);

/// Twice replaced before one look is soaked, and views that may be further behind.
const LONG: (u8, u8) = (3, 1);

fn with(start: State, faults: u8, destructions: u8) -> State {
    State {
        faults,
        destructions,
        ..start
    }
}

/// Every state that can be reached is visited, and none has a handshake that fails.
fn holds(world: &str, (soak, lag): (u8, u8), settle: u8, start: State) {
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let model = Rotation::new(Variant::Shipped, (soak, lag), settle, start);
    let checker = model.checker().threads(threads);
    let explored = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    tell(&format!(
        "{world}: {} states, {} transitions, the furthest after {}, in {:.1?}",
        explored.unique_state_count(),
        explored.state_count(),
        explored.max_depth(),
        began.elapsed()
    ));
    explored.assert_properties();
}

/// There is a run at whose end `property` does not hold.
fn fails(variant: Variant, (soak, lag): (u8, u8), start: State, property: &'static str) {
    let model = Rotation::new(variant, (soak, lag), 0, start);
    let explored = model
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let Some(run) = explored.discovery(property) else {
        panic!(
            "{variant:?} does no harm in {} states; found: {:?}",
            explored.unique_state_count(),
            explored.discoveries().keys()
        );
    };
    tell(&format!("{variant:?}: {:?}", run.into_actions()));
}

#[expect(
    clippy::print_stdout,
    reason = "how far a test went is shown beside its name, with --show-output"
)]
fn tell(line: &str) {
    println!("{line}");
}

#[rstest]
#[case::short(SHORT)]
#[case::long(LONG)]
fn i15_f31_no_handshake_fails_whichever_request_is_lost_or_replica_crashes(#[case] times: (u8, u8)) {
    holds("crashes", times, 0, with(State::settled(times.0, 0), more() + 1, 0));
}

/// A replica that starts when the Secret has just been lost has no leaf but of the new authority: with crashes beside
/// the loss, it is the time for which a leaf must have verified that has to outlast the API servers' lag.
#[test]
fn i15_f29_no_handshake_fails_whenever_the_secret_is_destroyed() {
    let settle = more().min(1);
    let start = with(State::settled(2, settle), more(), 1);
    holds("a destroyed Secret", SHORT, settle, start);
    fails(Variant::Shipped, SHORT, with(State::settled(2, 0), 1, 1), HANDSHAKES);
}

#[test]
fn i15_from_an_installation_on_no_handshake_fails() {
    holds("installed", SHORT, 1, with(State::installed(), more(), 0));
}

/// What is assumed is needed: a look may be as old as the pass that it is in.
#[test]
fn the_soak_must_outlast_the_lag_and_a_pass() {
    fails(Variant::Shipped, (2, 1), State::settled(2, 0), HANDSHAKES);
}

#[rstest]
#[case::blind_write(Variant::BlindWrite)]
#[case::no_soak(Variant::NoSoak)]
#[case::one_in_place(Variant::OneInPlace)]
#[case::untrusted_at_promotion(Variant::UntrustedAtPromotion)]
fn f31_without_this_guard_a_handshake_fails_though_nothing_else_does(#[case] variant: Variant) {
    fails(variant, SHORT, State::settled(2, 0), HANDSHAKES);
}

#[rstest]
#[case::blind_patch(Variant::BlindPatch, with(State::settled(2, 0), 0, 1))]
#[case::secret_first(Variant::SecretFirst, with(State::settled(2, 0), 0, 1))]
#[case::leaf_at_once(Variant::LeafAtOnce, with(State::settled(2, 0), 0, 1))]
#[case::unstaged_union(Variant::UnstagedUnion, with(State::settled(2, 0), 1, 0))]
fn f31_without_this_guard_a_fault_makes_a_handshake_fail(#[case] variant: Variant, #[case] start: State) {
    fails(variant, SHORT, start, HANDSHAKES);
}
