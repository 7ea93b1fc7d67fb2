//! What calls come to: counted, bounded, printed.

use std::collections::BTreeMap;
use std::time::Duration;

use daemonjob_cluster::Call;
use jiff::Timestamp;

use crate::support::rules::{Kind, is_read};

/// What a call asks for, in the words of RBAC: `patch daemonjobs/status`.
pub(crate) fn kind(call: &Call) -> String {
    Kind(call).to_string()
}

/// How many calls are of this kind.
pub(crate) fn count(calls: &[Call], of: &str) -> usize {
    calls.iter().filter(|call| kind(call) == of).count()
}

/// All writes but those to the Lease, which is renewed every two seconds whatever happens.
pub(crate) fn writes(calls: &[Call]) -> Vec<&Call> {
    let writes = calls.iter().filter(|call| !is_read(call));
    writes.filter(|call| call.resource != "leases").collect()
}

/// The time from the first write to the last.
pub(crate) fn duration(calls: &[Call]) -> Duration {
    let time = |call: &&Call| call.received.parse::<Timestamp>().expect("a time");
    let times: Vec<Timestamp> = writes(calls).iter().map(time).collect();
    let (first, last) = (times.iter().min(), times.iter().max());
    let between = first.zip(last).map(|(first, last)| last.duration_since(*first));
    between.unwrap_or_default().unsigned_abs()
}

/// One line a kind.
pub(crate) fn table(calls: &[Call]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for call in calls {
        *counts.entry(kind(call)).or_default() += 1;
    }
    let line = |(kind, count): (&String, &usize)| format!("{count:>6} {kind}\n");
    counts.iter().map(line).collect()
}
