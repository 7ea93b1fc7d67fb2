//! Waiting on a condition with a deadline.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const POLL: Duration = Duration::from_millis(50);

/// Probes until there is a value.
/// A probe that fails counts as "not yet": while a component restarts, so do its answers.
///
/// # Errors
/// After `deadline`: what was waited for, and the last failure of the probe.
pub fn until<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begin = Instant::now();
    loop {
        let failure = match probe() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if begin.elapsed() >= deadline {
            match failure {
                Some(error) => return Err(error.context(format!("waited {deadline:?} for {what}"))),
                None => bail!("waited {deadline:?} for {what}"),
            }
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_probe_is_asked_again() {
        let mut answers = vec![Ok(Some(7)), Err(anyhow::anyhow!("not yet")), Ok(None)];
        let value = until("seven", Duration::from_secs(5), || answers.pop().unwrap_or(Ok(None)));
        assert_eq!(value.unwrap(), 7);
    }

    #[test]
    fn the_deadline_names_what_was_waited_for_and_the_last_failure() {
        let never = until::<()>("the moon", Duration::ZERO, || bail!("it is cloudy"));
        let text = format!("{:#}", never.unwrap_err());
        assert!(text.contains("the moon") && text.contains("it is cloudy"), "{text}");
    }
}
