use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

/// How many different values there are at least.
const DIFFERENT: usize = 4096;

/// Values that do not compress, without a copy each: windows of a few random bytes.
#[derive(Debug)]
pub(crate) struct Values {
    pool: Bytes,
    bytes: usize,
    random: SmallRng,
}

impl Values {
    pub(crate) fn new(bytes: usize, seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut pool = vec![0; bytes + DIFFERENT];
        random.fill_bytes(&mut pool);
        Self { pool: pool.into(), bytes, random }
    }

    pub(crate) fn next(&mut self) -> Bytes {
        let begin = self.random.random_range(0..DIFFERENT);
        self.pool.slice(begin..begin + self.bytes)
    }
}
