use std::time::Duration;

/// How often, and after which pauses, a request is sent again that was certainly not applied: reads whose
/// answer did not come, and writes that the server certifies it refused or that were never sent (C10).
///
/// A write that may have been applied is sent again where that is safe
/// ([`exactly_once`](crate::ClientBuilder::exactly_once)): after the same pauses, and until its deadline however
/// many attempts that takes, unless nothing is to be repeated at all.
///
/// The pause before the n-th repetition is drawn evenly from the upper half of `first_pause * 2^(n-1)`,
/// cut at `max_pause`, so that many clients that failed together do not come back together. All attempts
/// and pauses together stay within the request's timeout.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The most times a request is sent, the first included. With 1 nothing is ever repeated.
    pub attempts: u32,
    /// The longest pause before the first repetition.
    pub first_pause: Duration,
    /// The longest pause before any repetition.
    pub max_pause: Duration,
}

impl RetryPolicy {
    /// Sends every request once.
    pub const fn never() -> Self {
        Self { attempts: 1, first_pause: Duration::ZERO, max_pause: Duration::ZERO }
    }

    /// Sends a request at most this many times, the first included.
    #[must_use]
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Bounds the pauses: before the first repetition, and before any.
    #[must_use]
    pub const fn pauses(mut self, first: Duration, max: Duration) -> Self {
        self.first_pause = first;
        self.max_pause = max;
        self
    }

    /// The pause after so many failed attempts; none where there shall be no further one. `chance` is a
    /// random number from 0 to 1.
    pub(crate) fn pause(&self, failed: u32, chance: f64) -> Option<Duration> {
        (failed < self.attempts).then(|| self.backoff(failed, chance))
    }

    /// The pause after so many failed attempts, however many there may be.
    pub(crate) fn backoff(&self, failed: u32, chance: f64) -> Duration {
        let doublings = failed.saturating_sub(1).min(31);
        let longest = self.first_pause.saturating_mul(1 << doublings).min(self.max_pause);
        longest.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

/// Five attempts with pauses of up to 20, 40, 80 and 160 ms.
impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 5, first_pause: Duration::from_millis(20), max_pause: Duration::from_secs(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_the_attempts() {
        let policy =
            RetryPolicy::default().attempts(4).pauses(Duration::from_millis(10), Duration::from_millis(30));
        let pauses: Vec<_> = (1..=4).map(|failed| policy.pause(failed, 1.0)).collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(pauses, [ms(10), ms(20), ms(30), None]);
        assert_eq!(policy.pause(1, 0.0), ms(5));
    }

    #[test]
    fn the_policy_never_repeats_nothing() {
        assert_eq!(RetryPolicy::never().pause(1, 0.5), None);
    }
}
