use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdb_engine_api::{Error, ErrorKind, Result, Session, Stamp};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::numbers::Numbers;
use super::turnstile::Turnstile;
use super::{HOLD, Link, WriteId};
use crate::call::Deadline;

/// The most numbers that are open at once, whatever the engine's window is: each takes some bytes here.
const MAX_WINDOW: u64 = 65_536;

/// A session as its client keeps it: the engine's present life, and a line of numbers.
#[derive(Debug)]
pub(super) struct Line {
    id: NonZeroU64,
    idle: Duration,
    state: Mutex<State>,
    /// A permit for each number that the window has room for. Closed once the session has ended.
    room: Semaphore,
    resuming: Turnstile,
    has_ended: AtomicBool,
}

#[derive(Debug)]
struct State {
    session: Session,
    /// The session was there when what was sent at this instant arrived; none where that is in doubt.
    seen: Option<Instant>,
    numbers: Numbers,
}

impl Line {
    pub(super) fn new(session: Session, asked: Instant) -> Self {
        let window = session.window.get().min(MAX_WINDOW);
        let state = State { session, seen: Some(asked), numbers: Numbers::new(window) };
        Self {
            id: session.id,
            idle: session.idle,
            state: Mutex::new(state),
            room: Semaphore::new(usize::try_from(window).unwrap_or(usize::MAX)),
            resuming: Turnstile::default(),
            has_ended: AtomicBool::new(false),
        }
    }

    pub(super) const fn id(&self) -> NonZeroU64 {
        self.id
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Whether the window has no room for another number.
    pub(super) fn is_full(&self) -> bool {
        self.over(|_| ());
        self.room.available_permits() == 0
    }

    /// Gives a number once the window has room for it; none where the session has ended.
    pub(super) async fn number(self: &Arc<Self>, deadline: Deadline) -> Result<Option<Number>> {
        self.over(|_| ());
        let room = deadline.bound(async { Ok(self.room.acquire().await) }).await.map_err(|_| {
            Error::new(ErrorKind::Unavailable, "too many writes are under way for another to begin in time")
        })?;
        let Ok(room) = room else { return Ok(None) };
        room.forget();
        let sequence = self.state.lock().numbers.give();
        let sequence = NonZeroU64::new(sequence)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "numbers of a session begin at 0"))?;
        Ok(Some(Number { line: Arc::clone(self), sequence, is_held: false }))
    }

    /// Changes the numbers, and makes room for as many as are over by that.
    fn over(&self, change: impl FnOnce(&mut Numbers)) {
        let mut state = self.state.lock();
        let before = state.numbers.acknowledged();
        change(&mut state.numbers);
        state.numbers.give_up(Instant::now());
        let after = state.numbers.acknowledged();
        self.room.add_permits(usize::try_from(after - before).unwrap_or(0));
    }

    /// What was sent at this instant was answered from within the session.
    pub(super) fn was_seen(&self, sent: Instant) {
        // A doubt goes away only by asking: the answer may be older than what raised it.
        if let Some(seen) = &mut self.state.lock().seen {
            *seen = sent.max(*seen);
        }
    }

    /// Whether the session goes on, and in which life, is to be asked before anything is sent again: unless
    /// that was done since the attempt for this life.
    pub(super) fn doubt(&self, life: NonZeroU64) {
        let mut state = self.state.lock();
        if state.session.life == life {
            state.seen = None;
        }
    }

    /// Whether the session may have ended or changed its life.
    pub(super) fn is_in_doubt(&self) -> bool {
        // Well before the end: an attempt takes its time to arrive.
        self.state.lock().seen.is_none_or(|seen| seen.elapsed() > self.idle.mul_f64(0.75))
    }

    /// Asks for the session, unless another has just done it: whether it goes on.
    pub(super) async fn resume(&self, link: &Link, deadline: Deadline) -> Result<bool> {
        let known = || match self.has_ended() {
            true => Some(false),
            false => (!self.is_in_doubt()).then_some(true),
        };
        let ask = async {
            let asked = Instant::now();
            let Some(session) = link.resume(self.id, deadline).await? else {
                tracing::debug!(session = self.id, "session has ended");
                self.has_ended.store(true, Ordering::Release);
                self.room.close();
                return Ok(false);
            };
            let mut state = self.state.lock();
            state.session.life = session.life;
            state.seen = Some(asked);
            Ok(true)
        };
        self.resuming.pass(deadline, known, ask).await
    }
}

/// A number of a session. When it is dropped, it is over, unless it is held: nobody can ask for its write.
#[derive(Debug)]
pub(super) struct Number {
    line: Arc<Line>,
    sequence: NonZeroU64,
    is_held: bool,
}

impl Number {
    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    pub(super) fn id(&self) -> WriteId {
        WriteId { session: self.line.id, sequence: self.sequence }
    }

    /// The stamp of an attempt that is made now.
    pub(super) fn stamp(&self) -> Stamp {
        let state = self.line.state.lock();
        state.session.stamp(self.sequence, state.numbers.acknowledged())
    }

    /// Keeps the number for some time, so that its write can be asked about.
    pub(super) fn hold(mut self) {
        self.is_held = true;
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        let sequence = self.sequence.get();
        self.line.over(|numbers| match self.is_held {
            true => numbers.hold(sequence, Instant::now() + HOLD),
            false => numbers.release(sequence),
        });
    }
}
