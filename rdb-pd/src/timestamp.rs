/// The bits of a timestamp that count within a millisecond.
pub(crate) const LOGICAL_BITS: u32 = 18;
/// The most timestamps given at once: as many as a millisecond has.
pub(crate) const MAX_COUNT: u32 = 1 << LOGICAL_BITS;
/// The last millisecond that 46 bits hold, in the year 4199. None of its timestamps is given, so that the end
/// of a window always fits.
pub(crate) const MAX_MS: u64 = (1 << (64 - LOGICAL_BITS)) - 1;

/// The first timestamp of a millisecond.
pub(crate) const fn first_of(ms: u64) -> u64 {
    ms << LOGICAL_BITS
}

/// The millisecond that a timestamp is in.
pub(crate) const fn ms_of(timestamp: u64) -> u64 {
    timestamp >> LOGICAL_BITS
}
