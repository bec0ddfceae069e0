use std::collections::BTreeMap;

use tokio::time::Instant;

/// The numbers of a session that were given and are not over, and the watermark below them.
#[derive(Debug)]
pub(super) struct Numbers {
    next: u64,
    window: u64,
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
enum Open {
    /// Its write is under way.
    UnderWay,
    /// Its write ended unknown: whoever asks is to learn what became of it.
    HeldUntil(Instant),
}

impl Numbers {
    pub(super) const fn new(window: u64) -> Self {
        Self { next: 1, window, open: BTreeMap::new() }
    }

    /// All numbers up to this one are over.
    pub(super) fn acknowledged(&self) -> u64 {
        self.open.first_key_value().map_or(self.next, |(oldest, _)| *oldest) - 1
    }

    /// Gives the next number.
    pub(super) fn give(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.open.insert(number, Open::UnderWay);
        number
    }

    /// The number is over.
    pub(super) fn release(&mut self, number: u64) {
        self.open.remove(&number);
    }

    /// The number is held for whoever asks.
    pub(super) fn hold(&mut self, number: u64, until: Instant) {
        self.open.insert(number, Open::HeldUntil(until));
    }

    /// Gives up the oldest numbers that were held for long enough, or for which the window is too tight.
    pub(super) fn give_up(&mut self, now: Instant) {
        while let Some(oldest) = self.open.first_entry() {
            let span = self.next - oldest.key();
            match oldest.get() {
                Open::HeldUntil(until) if *until <= now || span > self.window / 2 => oldest.remove(),
                _ => break,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_watermark_is_below_the_oldest_that_is_not_over() {
        let mut numbers = Numbers::new(100);
        assert_eq!(numbers.acknowledged(), 0);
        assert_eq!([numbers.give(), numbers.give(), numbers.give()], [1, 2, 3]);
        numbers.release(2);
        assert_eq!(numbers.acknowledged(), 0);
        numbers.release(1);
        assert_eq!(numbers.acknowledged(), 2);
        numbers.release(3);
        assert_eq!(numbers.acknowledged(), 3);
        numbers.release(3);
        assert_eq!(numbers.give(), 4);
        assert_eq!(numbers.acknowledged(), 3);
    }

    #[tokio::test]
    async fn a_held_number_holds_the_watermark_back_for_a_bounded_time() {
        let mut numbers = Numbers::new(100);
        let (now, long) = (Instant::now(), Duration::from_secs(300));
        for _ in 0..3 {
            numbers.give();
        }
        numbers.hold(1, now + long);
        numbers.release(2);
        numbers.give_up(now);
        assert_eq!(numbers.acknowledged(), 0);
        numbers.give_up(now + long);
        assert_eq!(numbers.acknowledged(), 2);
    }

    #[tokio::test]
    async fn a_held_number_is_given_up_when_the_window_gets_tight() {
        let mut numbers = Numbers::new(10);
        let until = Instant::now() + Duration::from_secs(300);
        assert_eq!((numbers.give(), numbers.give()), (1, 2));
        numbers.hold(1, until);
        for number in 3..=5 {
            assert_eq!(numbers.give(), number);
        }
        numbers.give_up(Instant::now());
        assert_eq!(numbers.acknowledged(), 0, "half of the window is not more than half");
        numbers.give();
        numbers.give_up(Instant::now());
        assert_eq!(numbers.acknowledged(), 1);
        // What is under way is never given up.
        for _ in 0..4 {
            numbers.give();
        }
        numbers.give_up(until);
        assert_eq!(numbers.acknowledged(), 1);
    }
}
