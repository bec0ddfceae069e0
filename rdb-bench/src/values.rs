use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

/// How many different values there are.
const DIFFERENT: usize = 4096;

/// Larger values come from memory that all lines share; smaller ones from each line's own, so that lines do not
/// wait for each other to count its users.
const SHARED_FROM: usize = 16 << 10;

/// Values that do not compress, without a copy each: windows of a few random bytes.
#[derive(Debug)]
pub(crate) struct Values {
    pool: Bytes,
    bytes: usize,
    random: SmallRng,
}

impl Values {
    /// The random bytes for values of so many.
    pub(crate) fn pool(bytes: usize, seed: u64) -> Bytes {
        let mut pool = vec![0; bytes + DIFFERENT];
        SmallRng::seed_from_u64(seed).fill_bytes(&mut pool);
        pool.into()
    }

    pub(crate) fn new(pool: &Bytes, seed: u64) -> Self {
        let bytes = pool.len() - DIFFERENT;
        let pool = if bytes < SHARED_FROM { Bytes::copy_from_slice(pool) } else { pool.clone() };
        Self { pool, bytes, random: SmallRng::seed_from_u64(seed) }
    }

    pub(crate) fn next(&mut self) -> Bytes {
        let begin = self.random.random_range(0..DIFFERENT);
        self.pool.slice(begin..begin + self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn values_differ_and_are_of_the_size_asked_for() {
        for bytes in [100, SHARED_FROM] {
            let mut values = Values::new(&Values::pool(bytes, 1), 2);
            let drawn: HashSet<Bytes> = (0..1_000).map(|_| values.next()).collect();
            assert!(drawn.len() > 800 && drawn.iter().all(|value| value.len() == bytes), "{}", drawn.len());
        }
        assert!(Values::new(&Values::pool(0, 1), 2).next().is_empty());
    }
}
