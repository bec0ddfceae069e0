//! The writes and calls that wait for the committer, bounded in entries and in bytes (C14).

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::gate::restoring;
use super::restore::Job;
use super::sessions::{Call, Stamped};
use crate::{Batch, Durability, Error, ErrorKind, Limits, Outcome, Result};

/// What waits for its turn.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) task: Task,
    pub(super) bytes: usize,
    /// The monotonic time at which it was queued.
    pub(super) queued: Duration,
}

/// What a caller wants done, in order with all else.
#[derive(Debug)]
pub(super) enum Task {
    Write(Write),
    Session(Call),
}

/// A write that waits to be judged.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) batch: Batch,
    pub(super) durability: Durability,
    /// The monotonic time after which the write must not begin.
    pub(super) not_after: Option<Duration>,
    /// The monotonic time until which it waits for its conditions to hold, where it does (C20).
    pub(super) until: Option<Duration>,
    /// Its place in a session.
    pub(super) stamped: Option<Stamped>,
    pub(super) answer: oneshot::Sender<Result<Outcome>>,
}

impl Request {
    /// Tells the caller that nothing was done.
    pub(super) fn refuse(self, error: Error) {
        // Whoever dropped the future does not want to know.
        match self.task {
            Task::Write(write) => drop(write.answer.send(Err(error))),
            Task::Session(call) => call.refuse(error),
        }
    }
}

/// What the committer has to do next.
#[derive(Debug)]
pub(super) enum Work {
    /// What to do next, in order; nothing where the time to wait is over.
    Group(Vec<Request>),
    /// A restore to carry out.
    Restore(Job),
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    max_len: usize,
    max_bytes: usize,
}

/// How full a queue is.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) writes: usize,
    pub(super) bytes: usize,
    pub(super) accepts: bool,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Request>,
    bytes: usize,
    /// Bytes of writes that have been taken and wait for their conditions to hold (C20).
    parked_bytes: usize,
    restore: Option<Job>,
    /// Whether the next turn is the writes', since the last one was a restore's.
    is_writes_turn: bool,
    /// Whether a restore is under way, and no write is accepted (C19).
    held: bool,
    /// Why nothing is accepted any more.
    ended: Option<&'static str>,
}

impl Queue {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            state: Mutex::default(),
            filled: Condvar::new(),
            max_len: limits.max_queued_writes,
            max_bytes: limits.max_queued_bytes,
        }
    }

    pub(super) fn push(&self, request: Request) -> Result<()> {
        let mut state = self.state.lock();
        if let Some(reason) = state.ended {
            return Err(Error::new(ErrorKind::Closed, reason));
        }
        if state.held {
            return Err(restoring());
        }
        if state.waiting.len() >= self.max_len
            || state.bytes + state.parked_bytes + request.bytes > self.max_bytes
        {
            return Err(Error::new(ErrorKind::Exhausted, "too many writes are waiting")
                .with("writes", state.waiting.len())
                .with("bytes", state.bytes));
        }
        state.bytes += request.bytes;
        state.waiting.push_back(request);
        self.filled.notify_one();
        Ok(())
    }

    /// Counts a write that waits for its conditions. Half of the room at most is for them: who is to bring
    /// about what they wait for must find some.
    pub(super) fn park(&self, bytes: usize) -> Result<()> {
        let mut state = self.state.lock();
        if state.parked_bytes + bytes > self.max_bytes / 2 {
            return Err(Error::new(
                ErrorKind::Exhausted,
                "too many bytes of writes wait for their conditions",
            )
            .with("bytes", state.parked_bytes)
            .with("limit", self.max_bytes / 2));
        }
        state.parked_bytes += bytes;
        Ok(())
    }

    /// Counts one less.
    pub(super) fn unpark(&self, bytes: usize) {
        self.state.lock().parked_bytes -= bytes;
    }

    pub(super) fn level(&self) -> Level {
        let state = self.state.lock();
        Level {
            writes: state.waiting.len(),
            bytes: state.bytes + state.parked_bytes,
            accepts: state.ended.is_none(),
        }
    }

    /// Lets a restore wait for the committer, which takes one at a time.
    pub(super) fn push_restore(&self, job: Job) -> Result<()> {
        let mut state = self.state.lock();
        if let Some(reason) = state.ended {
            return Err(Error::new(ErrorKind::Closed, reason));
        }
        if state.held || state.restore.is_some() {
            return Err(restoring());
        }
        state.restore = Some(job);
        self.filled.notify_one();
        Ok(())
    }

    /// Accepts no write until [`resume`](Self::resume), and refuses those that wait (C19).
    pub(super) fn hold(&self) {
        let refused = {
            let mut state = self.state.lock();
            state.held = true;
            state.bytes = 0;
            mem::take(&mut state.waiting)
        };
        for request in refused {
            request.refuse(restoring());
        }
    }

    /// Accepts writes again.
    pub(super) fn resume(&self) {
        self.state.lock().held = false;
    }

    /// Takes a restore, but not two without a group of writes between them where writes wait: restores that
    /// are refused, one after another, hold nobody up. Else takes what waits, in order, up to `max_bytes` and
    /// at least one; waits for something to take, but where there is a pause, for no longer than that: then it
    /// is a group of no writes. None once the queue is closed and empty.
    pub(super) fn take(&self, max_bytes: usize, pause: Option<Duration>) -> Option<Work> {
        let mut state = self.state.lock();
        loop {
            let is_writes_turn = mem::take(&mut state.is_writes_turn);
            if is_writes_turn && !state.waiting.is_empty() {
                break;
            }
            if let Some(job) = state.restore.take() {
                state.is_writes_turn = true;
                return Some(Work::Restore(job));
            }
            if !state.waiting.is_empty() {
                break;
            }
            if state.ended.is_some() {
                return None;
            }
            match pause {
                None => self.filled.wait(&mut state),
                Some(pause) => {
                    if pause.is_zero() || self.filled.wait_for(&mut state, pause).timed_out() {
                        return Some(Work::Group(Vec::new()));
                    }
                }
            }
        }
        let mut bytes = 0;
        let count = state.waiting.iter().take_while(|request| {
            bytes += request.bytes;
            bytes <= max_bytes
        });
        let count = count.count().max(1);
        let taken: Vec<_> = state.waiting.drain(..count).collect();
        state.bytes -= taken.iter().map(|request| request.bytes).sum::<usize>();
        Some(Work::Group(taken))
    }

    /// Accepts nothing any more; what waits will still be taken.
    pub(super) fn close(&self) {
        self.state.lock().ended.get_or_insert("engine is closed");
        self.filled.notify_one();
    }

    /// Accepts nothing any more, and refuses what waits: nobody will take it (C11).
    pub(super) fn stop(&self, reason: &'static str) {
        let (refused, restore) = {
            let mut state = self.state.lock();
            state.ended.get_or_insert(reason);
            state.bytes = 0;
            (mem::take(&mut state.waiting), state.restore.take())
        };
        self.filled.notify_one();
        if let Some(job) = restore {
            let _ = job.answer.send(Err(Error::new(ErrorKind::Closed, reason)));
        }
        for request in refused {
            request.refuse(Error::new(ErrorKind::Closed, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::Version;

    fn restore() -> Job {
        Job { version: Version::MIN, parts: mpsc::channel(1).1, answer: oneshot::channel().0 }
    }

    #[test]
    fn writes_get_their_turn_among_restores_however_many_there_are() {
        let queue = Queue::new(&Limits::default());
        let write = Request {
            task: Task::Write(Write {
                batch: Batch::new(),
                durability: Durability::Volatile,
                not_after: None,
                until: None,
                stamped: None,
                answer: oneshot::channel().0,
            }),
            bytes: 1,
            queued: Duration::ZERO,
        };
        queue.push_restore(restore()).unwrap();
        queue.push(write).unwrap();
        assert!(matches!(queue.take(1, None), Some(Work::Restore(_))));
        queue.push_restore(restore()).unwrap();
        assert!(
            matches!(queue.take(1, None), Some(Work::Group(_))),
            "the write waits behind the second restore"
        );
        assert!(matches!(queue.take(1, None), Some(Work::Restore(_))));
    }
}
