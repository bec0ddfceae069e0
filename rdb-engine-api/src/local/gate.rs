//! The gate that keeps readers out while a restore fills the store (C19).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, ErrorKind, Result};

/// A restore whose outcome nobody knows: what the store holds must not be shown before it is opened again.
const STUCK: u64 = u64::MAX;

/// Counts the beginnings and the ends of restores: odd while one is under way.
///
/// A reader that finds the same even number before and after it looked has seen nothing of a restore: a
/// row that a restore wrote is published after the number became odd, so whoever sees the row sees that too.
#[derive(Debug, Default)]
pub(super) struct Gate {
    epoch: AtomicU64,
}

impl Gate {
    /// Looks at the store, and forgets what was seen if a restore was under way meanwhile.
    pub(super) fn look<T>(&self, look: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = self.epoch.load(Ordering::SeqCst);
        if before % 2 == 1 {
            return Err(shut(before));
        }
        let seen = look();
        match self.epoch.load(Ordering::SeqCst) {
            after if after == before => seen,
            after => Err(shut(after)),
        }
    }

    /// A restore begins.
    pub(super) fn shut(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// It has ended, whole or without a trace.
    pub(super) fn open(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// The committer has come to its end; if that was in the middle of a restore, the gate stays shut.
    pub(super) fn abandon(&self) {
        if self.epoch.load(Ordering::SeqCst) % 2 == 1 {
            self.epoch.store(STUCK, Ordering::SeqCst);
        }
    }
}

/// What reads and writes are told during a restore.
pub(super) fn restoring() -> Error {
    Error::new(ErrorKind::Unavailable, "a restore is under way")
}

fn shut(epoch: u64) -> Error {
    match epoch {
        STUCK => Error::new(ErrorKind::Closed, "engine stopped in the middle of a restore"),
        _ => restoring(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_while_a_restore_began_or_ended_is_forgotten() {
        let gate = Gate::default();
        assert_eq!(gate.look(|| Ok(1)).unwrap(), 1);
        let whole_restore = || {
            gate.shut();
            gate.open();
            Ok(2)
        };
        assert_eq!(gate.look(whole_restore).unwrap_err().kind(), ErrorKind::Unavailable);
        gate.shut();
        assert_eq!(gate.look(|| Ok(3)).unwrap_err().kind(), ErrorKind::Unavailable);
        gate.open();
        assert_eq!(gate.look(|| Ok(4)).unwrap(), 4);
        gate.abandon();
        assert_eq!(gate.look(|| Ok(5)).unwrap(), 5, "nothing was under way");
        gate.shut();
        gate.abandon();
        assert_eq!(gate.look(|| Ok(6)).unwrap_err().kind(), ErrorKind::Closed);
    }
}
