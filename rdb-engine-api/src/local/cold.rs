//! Reads of records that are not in memory: they queue, and blocking threads take one after the other.
//!
//! To wake a thread for each read, and its caller for each answer, costs more than the read where the system has the
//! block in its cache. So as long as reads are fast, few threads take them, and answer several together. Where reads
//! wait for a disk, each has a thread, up to the bound, so that the disk has many to serve.

use std::collections::VecDeque;
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::available_parallelism;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::{spawn, time};
use tokio_util::sync::CancellationToken;

use super::{BLOCKING_READS, Home, closed, panicked, shutting_down};
use crate::{Clock, Error, ErrorKind, Key, Result, Store};

/// A read that takes longer has waited for a disk, or for a processor.
const FAST: Duration = Duration::from_micros(60);
/// The most that are answered together.
const TOGETHER: usize = 16;
/// Another thread is woken for no fewer, while reads are fast.
const WORTH_A_THREAD: usize = 8;
/// How often it is looked whether all threads are stuck.
const LOOK: Duration = Duration::from_millis(2);

/// What the reads that were slow have weighed of late: with one of nine slow, reads count as slow.
const SLOW_WEIGHT: usize = 8;
const SLOW_FROM: usize = 2 * SLOW_WEIGHT;
const SLOW_MOST: usize = 8 * SLOW_WEIGHT;

type Row = Result<Option<Bytes>>;
type Answer = oneshot::Sender<Row>;

/// Whoever dropped the future does not want to know.
fn send(answers: impl IntoIterator<Item = (Answer, Row)>) {
    answers.into_iter().for_each(|(answer, row)| drop(answer.send(row)));
}

/// The reads that wait, and who works on them.
#[derive(Debug)]
pub(super) struct Cold {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    /// Shared with other reads that may wait for a disk.
    places: Arc<Semaphore>,
    /// How many of those wait for one.
    others: Arc<AtomicUsize>,
    processors: usize,
    closing: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Key, Answer)>,
    /// What was read, and is answered with what is read next.
    read: Vec<(Answer, Row)>,
    /// Whether a thread was asked for that has not come yet.
    starting: bool,
    /// Threads at work.
    working: usize,
    /// How often a thread has taken something.
    taken: u64,
    /// Whether somebody looks after threads that are stuck.
    watched: bool,
    slowness: usize,
}

impl State {
    const fn is_slow(&self) -> bool {
        self.slowness >= SLOW_FROM
    }

    /// Whether another thread has to come, which is then on its way.
    fn calls(&mut self, processors: usize) -> bool {
        let worth = match self.working {
            0 => 1,
            _ if self.is_slow() => 1,
            _ => WORTH_A_THREAD,
        };
        let most = if self.is_slow() { BLOCKING_READS } else { processors };
        let calls = !self.starting && self.working < most && self.waiting.len() >= worth;
        self.starting |= calls;
        calls
    }

    /// A read came to its end.
    fn done(&mut self, answer: Answer, row: Row, is_fast: bool) {
        self.slowness = match is_fast {
            true => self.slowness.saturating_sub(1),
            false => (self.slowness + SLOW_WEIGHT).min(SLOW_MOST),
        };
        self.read.push((answer, row));
    }

    /// What is to be answered now, by a thread that goes on or not.
    fn ready(&mut self, goes_on: bool) -> Vec<(Answer, Row)> {
        let waits = goes_on && !self.is_slow() && self.read.len() < TOGETHER;
        if waits { Vec::new() } else { std::mem::take(&mut self.read) }
    }
}

impl Cold {
    /// For reads in these places, for which so many others wait.
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        places: Arc<Semaphore>,
        others: Arc<AtomicUsize>,
        closing: CancellationToken,
    ) -> Self {
        let processors = available_parallelism().map_or(2, Into::into).min(BLOCKING_READS);
        Self { state: Mutex::default(), clock, places, others, processors, closing }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Reads a row, which may wait for a disk. Refused where so many wait already.
    pub(super) async fn get<S: Store>(
        self: &Arc<Self>,
        home: &Weak<Home<S>>,
        key: Key,
        limit: usize,
    ) -> Result<Option<Bytes>> {
        let (answer, answered) = oneshot::channel();
        let (calls, watches) = {
            let mut state = self.state.lock();
            if state.waiting.len() >= limit {
                let error = Error::new(ErrorKind::Exhausted, "too many reads are waiting");
                return Err(error.with("limit", limit));
            }
            state.waiting.push_back((key, answer));
            (state.calls(self.processors), !std::mem::replace(&mut state.watched, true))
        };
        if calls {
            Thread::called(self, home).start();
        }
        if watches {
            let watch = Watch { cold: Arc::clone(self), ended: false };
            spawn(watch.run(Weak::clone(home)));
        }
        answered.await.unwrap_or_else(|_| Err(shutting_down()))
    }
}

/// Lets another thread come where those that there are have taken nothing for a while: one slow read must not hold
/// up those behind it.
struct Watch {
    cold: Arc<Cold>,
    ended: bool,
}

impl Watch {
    async fn run<S: Store>(mut self, home: Weak<Home<S>>) {
        let mut taken = None;
        loop {
            time::sleep(LOOK).await;
            let (calls, read) = {
                let mut state = self.cold.state.lock();
                if state.waiting.is_empty() && state.working == 0 && !state.starting {
                    state.watched = false;
                    self.ended = true;
                    return;
                }
                if taken.replace(state.taken) != Some(state.taken) {
                    continue;
                }
                let calls = !state.waiting.is_empty() && !state.starting && state.working < BLOCKING_READS;
                state.starting |= calls;
                (calls, std::mem::take(&mut state.read))
            };
            send(read);
            if calls {
                Thread::called(&self.cold, &home).start();
            }
        }
    }
}

impl Drop for Watch {
    /// With its runtime, maybe.
    fn drop(&mut self) {
        if !self.ended {
            self.cold.state.lock().watched = false;
        }
    }
}

/// Where a thread is that was called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Called,
    Works,
    Gone,
}

/// A thread that reads.
struct Thread<S: Store> {
    cold: Arc<Cold>,
    /// Who is on his way must not hold up the closing.
    home: Weak<Home<S>>,
    stage: Stage,
}

impl<S: Store> Thread<S> {
    fn called(cold: &Arc<Cold>, home: &Weak<Home<S>>) -> Self {
        Self { cold: Arc::clone(cold), home: Weak::clone(home), stage: Stage::Called }
    }

    fn start(self) {
        match Arc::clone(&self.cold.places).try_acquire_owned() {
            Ok(place) => drop(spawn_blocking(move || self.work(place))),
            // Other reads have all the places.
            Err(_) => drop(spawn(async move {
                let place = Arc::clone(&self.cold.places).acquire_owned();
                if let Some(Ok(place)) = self.cold.closing.run_until_cancelled(place).await {
                    spawn_blocking(move || self.work(place));
                }
            })),
        }
    }

    fn work(mut self, place: OwnedSemaphorePermit) {
        let Some(home) = self.home.upgrade() else { return };
        let mut last = None;
        while let Some((key, answer)) = self.next(last.take()) {
            let begun = self.cold.clock.monotonic();
            // After a panic nothing is used of the read, and the store sees to itself.
            let row = catch_unwind(AssertUnwindSafe(|| home.get(&key))).unwrap_or_else(|_| Err(panicked()));
            let is_fast = self.cold.clock.monotonic().saturating_sub(begun) <= FAST;
            last = Some((answer, row, is_fast));
        }
        drop((home, place));
        // Where it made room for others, someone has to come back.
        if self.cold.state.lock().calls(self.cold.processors) {
            Self::called(&self.cold, &self.home).start();
        }
    }

    /// Whether other reads wait for this thread's place: it must not keep it for as long as reads come.
    fn is_in_the_way(&self) -> bool {
        self.cold.others.load(Ordering::Relaxed) > 0 && self.cold.places.available_permits() == 0
    }

    /// What this thread has to read next, if anything, when it has read the last.
    fn next(&mut self, last: Option<(Answer, Row, bool)>) -> Option<(Key, Answer)> {
        let ends = self.cold.closing.is_cancelled() || (last.is_some() && self.is_in_the_way());
        let (next, calls, ready) = {
            let mut state = self.cold.state.lock();
            if self.stage == Stage::Called {
                state.starting = false;
                state.working += 1;
                self.stage = Stage::Works;
            }
            if let Some((answer, row, is_fast)) = last {
                state.done(answer, row, is_fast);
            }
            state.taken += 1;
            // Nobody waits any more for those whose answer is closed.
            let next = match ends {
                true => None,
                false => iter::from_fn(|| state.waiting.pop_front()).find(|(_, answer)| !answer.is_closed()),
            };
            if next.is_none() {
                // At once: whoever comes next must not count on it.
                state.working -= 1;
                self.stage = Stage::Gone;
            }
            let calls = next.is_some() && state.calls(self.cold.processors);
            let ready = state.ready(next.is_some());
            (next, calls, ready)
        };
        send(ready);
        if calls {
            Self::called(&self.cold, &self.home).start();
        }
        next
    }
}

impl<S: Store> Drop for Thread<S> {
    /// Where the engine closes, or the runtime of a thread that was called shuts down, nobody else may be there.
    fn drop(&mut self) {
        let left = {
            let mut state = self.cold.state.lock();
            match self.stage {
                Stage::Called => state.starting = false,
                Stage::Works => state.working -= 1,
                Stage::Gone => {}
            }
            let is_last = state.working == 0 && !state.starting;
            let is_left = self.stage != Stage::Gone || self.cold.closing.is_cancelled();
            if is_last && is_left { std::mem::take(&mut state.waiting) } else { VecDeque::new() }
        };
        let closes = self.cold.closing.is_cancelled();
        let refusal = || if closes { closed() } else { shutting_down() };
        send(left.into_iter().map(|(_, answer)| (answer, Err(refusal()))));
    }
}
