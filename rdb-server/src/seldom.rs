use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The least time between two.
const GAP: Duration = Duration::from_millis(100);

/// Lets through what others bring about no more than ten times a second, so that they cannot fill the log.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    /// When the next one is due, in milliseconds.
    due: AtomicU64,
}

impl Seldom {
    /// Whether one is due, by a time that counts from anywhere.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        let [now, next] = [now, now + GAP].map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let due = self.due.load(Ordering::Relaxed);
        due <= now && self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_a_second_are_let_through() {
        let seldom = Seldom::default();
        let due = (0..3000).filter(|&ms| seldom.is_due(Duration::from_millis(ms))).count();
        assert_eq!(due, 30);
    }
}
