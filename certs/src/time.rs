//! Arithmetic on passed-in times, and their forms in the libraries underneath.

use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;

/// `time` plus `duration`, or the end of time.
pub(crate) fn later(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// `time` minus `duration`, or the beginning of time.
pub(crate) fn earlier(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_sub(duration).unwrap_or(Timestamp::MIN)
}

/// Two thirds of the way from `start` to `end`: when a successor is made.
pub(crate) fn two_thirds(start: Timestamp, end: Timestamp) -> Timestamp {
    let life = u64::try_from(end.as_second().saturating_sub(start.as_second())).unwrap_or(0);
    later(start, Duration::from_secs(life / 3 * 2))
}

/// The seconds since 1970; a time before that counts as 1970, when no certificate of ours is valid.
fn seconds(time: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0))
}

/// For webpki.
pub(crate) fn unix(time: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(seconds(time))
}

/// Sets the validity of a certificate to be made.
/// rcgen's type of time comes from a crate that nothing else here needs, so it is reached from rcgen's own constructor.
pub(crate) fn set_validity(params: &mut rcgen::CertificateParams, not_before: Timestamp, not_after: Timestamp) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + seconds(not_before);
    params.not_after = epoch + seconds(not_after);
}
