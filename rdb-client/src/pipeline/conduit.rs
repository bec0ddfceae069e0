use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use rdb_proto::kv::v1;
use tokio_util::sync::CancellationToken;

use super::command::{Command, News};
use super::table::Table;

/// A stream to the node, from its opening to its end.
#[derive(Debug)]
pub(super) struct Conduit {
    state: Mutex<State>,
    /// It takes no more commands, and ends once nobody waits for its answers.
    pub(super) leaving: CancellationToken,
    /// Nobody reads commands from it any more.
    is_cut: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) table: Table,
    /// How many messages it brought.
    heard: u64,
    /// Whether a command departed over it.
    has_carried: bool,
    /// Whether commands wait for those to be answered that departed.
    pub(super) is_held_up: bool,
}

impl State {
    pub(super) fn depart(&mut self, command: &Arc<Command>) {
        self.has_carried = true;
        self.table.insert(command, self.heard);
    }
}

impl Conduit {
    pub(super) fn new(leaving: CancellationToken) -> Self {
        Self { state: Mutex::default(), leaving, is_cut: AtomicBool::new(false) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn has_carried(&self) -> bool {
        self.state.lock().has_carried
    }

    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }

    /// Whether the command departed over this stream, and nothing was heard of it or of any other since.
    pub(super) fn is_silent_since(&self, command: &Arc<Command>) -> bool {
        let state = self.state.lock();
        state.table.has(command) && state.heard == command.heard()
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.state.lock().table.is_abandoned()
    }

    /// Hands the answers of a message to those who wait for them. Returns whether there is room again for
    /// commands that waited for it, or none where the node answered what nobody asked.
    pub(super) fn deliver(
        &self,
        message: v1::PipelineResponse,
        told: &mut Vec<(Arc<Command>, News)>,
    ) -> Option<bool> {
        let mut is_sound = true;
        let mut state = self.state.lock();
        state.heard += 1;
        for answer in message.answers {
            match state.table.remove(answer.number) {
                Some(command) => told.push((command, News::Answer(answer.answer))),
                None => is_sound = false,
            }
        }
        let has_room = std::mem::take(&mut state.is_held_up);
        drop(state);
        for (command, news) in told.drain(..) {
            command.tell(news);
        }
        is_sound.then_some(has_room)
    }

    /// The commands whose answers will not come.
    pub(super) fn take(&self) -> Table {
        std::mem::take(&mut self.state.lock().table)
    }
}
