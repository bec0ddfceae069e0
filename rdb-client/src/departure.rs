use std::sync::atomic::{AtomicU8, Ordering};

const WAITING: u8 = 0;
const DEPARTED: u8 = 1;
const GIVEN_UP: u8 = 2;

/// Whether a message has begun its way to the server, or was given up before it could.
///
/// The caller who gives up and the connection that begins to send decide by one atomic exchange which of them
/// came first. What was given up in time never leaves, wherever it waits: it certainly was not and will not be
/// applied (C10).
#[derive(Debug, Default)]
pub(crate) struct Departure(AtomicU8);

impl Departure {
    /// Stops the message from ever being sent; false if it may be on its way already.
    pub(crate) fn give_up(&self) -> bool {
        self.leave_waiting(GIVEN_UP) == GIVEN_UP
    }

    /// Lets the message go; false if it was given up.
    pub(crate) fn depart(&self) -> bool {
        self.leave_waiting(DEPARTED) == DEPARTED
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.0.load(Ordering::Acquire) == GIVEN_UP
    }

    /// Moves to `state` unless another was reached before; returns the state reached.
    fn leave_waiting(&self, state: u8) -> u8 {
        match self.0.compare_exchange(WAITING, state, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => state,
            Err(reached) => reached,
        }
    }
}
