use std::fmt;
use std::iter::FusedIterator;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::civil::rfc3339;

/// The bits that count within a millisecond.
const LOGICAL_BITS: u32 = 18;

/// A point on the one line of time that a placement driver keeps for its cluster.
///
/// 46 bits of milliseconds since the Unix epoch, then 18 bits that count within the millisecond. A later
/// timestamp is greater than an earlier one; the clock of its physical part may be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The timestamp of a number, as [`get`](Self::get) gives it.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The number, which orders as the timestamps do.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The milliseconds since the Unix epoch.
    pub const fn physical_ms(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }

    /// The physical part as a time.
    pub fn physical(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.physical_ms())
    }

    /// The place within the millisecond.
    pub const fn logical(self) -> u32 {
        (self.0 & ((1 << LOGICAL_BITS) - 1)) as u32
    }

    /// The physical part as RFC 3339 has it, in UTC: `2026-11-23T07:01:01.234Z`.
    pub fn rfc3339(self) -> String {
        rfc3339(self.physical_ms())
    }
}

/// The number.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Consecutive timestamps, the lowest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamps {
    next: u64,
    left: u32,
}

impl Timestamps {
    pub(crate) const fn new(first: u64, count: u32) -> Self {
        Self { next: first, left: count }
    }
}

impl Iterator for Timestamps {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        self.left = self.left.checked_sub(1)?;
        let next = Timestamp(self.next);
        self.next = self.next.wrapping_add(1);
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.left as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Timestamps {}

impl FusedIterator for Timestamps {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_46_bits_of_milliseconds_and_18_that_count() {
        let last = Timestamp::from_u64(u64::MAX);
        assert_eq!((last.physical_ms(), last.logical()), ((1 << 46) - 1, (1 << 18) - 1));
        let stamp = Timestamp::from_u64((1_795_417_261_234 << 18) + 5);
        assert_eq!((stamp.rfc3339().as_str(), stamp.logical()), ("2026-11-23T07:01:01.234Z", 5));
        assert!(stamp > Timestamp::from_u64((1_795_417_261_233 << 18) + 9));
        assert_eq!(Timestamp::from_u64(stamp.to_string().parse().unwrap()), stamp);
    }

    #[test]
    fn consecutive_timestamps_cross_into_the_next_millisecond() {
        let stamps: Vec<_> = Timestamps::new((7 << 18) - 1, 2).collect();
        assert_eq!(stamps.iter().map(|stamp| stamp.physical_ms()).collect::<Vec<_>>(), [6, 7]);
    }
}
