use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use super::codec::Parcel;
use super::command::Command;
use super::conduit::Conduit;

/// The most commands of one message.
const MAX_COMMANDS: usize = 256;

/// A message is full once it is so long. No command is longer, so none is twice as long.
pub(crate) const MAX_BYTES: usize = 64 << 10;

/// So many that were given up may wait for a message that does not come.
const PURGE_AT: usize = 1024;

/// The commands that wait for a stream to take them along.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Arc<Command>>,
    /// The stream that takes them; none where one is yet to be opened.
    pub(super) conduit: Option<Arc<Conduit>>,
    /// That of the stream's body, while it has nothing to take.
    pub(super) waker: Option<Waker>,
    purge_at: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), conduit: None, waker: None, purge_at: PURGE_AT }
    }
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(&mut self, command: Arc<Command>) {
        if self.waiting.len() >= self.purge_at {
            // Those who gave up leave their commands behind: no more of them than of others.
            self.waiting.retain(|command| !command.departure.is_given_up());
            self.purge_at = (2 * self.waiting.len()).max(PURGE_AT);
        }
        self.waiting.push_back(command);
    }

    /// Lets the commands go that fit into a message; those that were given up stay behind for ever.
    pub(super) fn depart(&mut self, conduit: &Conduit) -> Parcel {
        let mut parcel = Parcel::new();
        if self.waiting.is_empty() {
            return parcel;
        }
        let mut state = conduit.lock();
        let mut bytes = 0;
        while parcel.len() < MAX_COMMANDS && bytes < MAX_BYTES && !state.table.is_full() {
            let Some(command) = self.waiting.pop_front() else { break };
            if command.departure.depart() {
                bytes += command.bytes;
                state.depart(&command);
                parcel.push(command);
            }
        }
        state.is_held_up = state.table.is_full() && !self.waiting.is_empty();
        parcel
    }

    /// All that wait, none of which departed.
    pub(super) fn take(&mut self) -> VecDeque<Arc<Command>> {
        std::mem::take(&mut self.waiting)
    }

    /// Whether the stream is the one that takes commands along.
    pub(super) fn is_of(&self, conduit: &Arc<Conduit>) -> bool {
        self.conduit.as_ref().is_some_and(|its| Arc::ptr_eq(its, conduit))
    }
}
