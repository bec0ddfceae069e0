use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dialer::Dialer;

/// Whether the node has no pipelines, as it said: until there is another connection, which may be to another.
#[derive(Debug)]
pub(super) struct Refusal {
    dialer: Arc<Dialer>,
    /// How many connections there had been; 0: it never said so.
    heard_at: AtomicU64,
}

impl Refusal {
    pub(super) const fn new(dialer: Arc<Dialer>) -> Self {
        Self { dialer, heard_at: AtomicU64::new(0) }
    }

    pub(super) fn remember(&self) {
        self.heard_at.store(self.dialer.connections(), Ordering::Release);
    }

    pub(super) fn holds(&self) -> bool {
        match self.heard_at.load(Ordering::Acquire) {
            0 => false,
            heard_at => heard_at == self.dialer.connections(),
        }
    }
}
