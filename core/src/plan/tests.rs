//! The planner's tests: text worlds for single situations, by subject. Its laws are in `laws`.

mod jobs;
mod nodes;
mod replace;
mod retry;
mod status;
mod trouble;

use super::world::World;

#[track_caller]
fn check(world: &str, expected: &str) {
    let expected: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(World::parse(world).outcome(), expected.join("\n"));
}
