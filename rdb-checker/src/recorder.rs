use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::{
    Answer, Blob, Delivered, History, Note, Operation, Outcome, Request, Watch, WatchEnd, WatchEvent,
};

/// Records what any number of callers do to a store, for any client library.
///
/// ```
/// use rdb_checker::{Answer, Recorder, Request, wgl};
/// # fn send(_: Request) -> Option<Answer> { Some(Answer::Record(None)) }
///
/// let recorder = Recorder::new();
/// let mut caller = recorder.caller(); // one for each task or thread
/// let request = Request::Get { key: "k".into() };
/// let call = caller.call(request.clone());
/// if let Some(answer) = send(request) {
///     call.answered(answer); // else it is dropped: its outcome stays unknown
/// }
/// let history = recorder.history();
/// println!("{}", wgl::check(&history, std::time::Duration::from_secs(10)));
/// ```
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The one clock of all callers.
    start: Instant,
    callers: AtomicU64,
    history: Mutex<History>,
}

impl Shared {
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Recording changes the history by pushes and plain assignments, so that a panic elsewhere while it
    /// is locked leaves it whole.
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// A recorder with nothing in it; its clock starts now.
    pub fn new() -> Self {
        #[allow(clippy::disallowed_methods)] // the clock of a measurement, not of behaviour
        let start = Instant::now();
        let history = Mutex::default();
        Self { shared: Arc::new(Shared { start, callers: AtomicU64::new(0), history }) }
    }

    /// One more caller.
    pub fn caller(&self) -> Caller {
        let process = Arc::new(AtomicU64::new(self.shared.callers.fetch_add(1, Relaxed)));
        Caller { shared: Arc::clone(&self.shared), process }
    }

    /// Notes that something happened to the store: a kill, a partition, a step of the clock.
    pub fn note(&self, text: impl Into<String>) {
        let mut history = self.shared.history();
        let at = self.shared.now();
        history.notes.push(Note { at, text: text.into() });
    }

    /// Records that a watch of a range is asked for, behind a version or from the present on. To be called
    /// before the first byte of the request is sent.
    pub fn watch(&self, start: Blob, end: Option<Blob>, after: Option<u64>) -> Watching {
        let mut history = self.shared.history();
        let place = history.watches.len();
        let (called, events) = (self.shared.now(), Vec::new());
        history.watches.push(Watch { start, end, after, called, began: None, events, ended: None });
        Watching { shared: Arc::clone(&self.shared), place }
    }

    /// What was recorded so far. Calls that are still open are in it with their outcome unknown.
    pub fn history(&self) -> History {
        self.shared.history().clone()
    }
}

/// One of the callers of a [`Recorder`]. It makes one call at a time, and the next one after the last has
/// returned or was given up.
#[derive(Debug)]
pub struct Caller {
    shared: Arc<Shared>,
    process: Arc<AtomicU64>,
}

impl Caller {
    /// Records that a call begins. To be called before the first byte of the request is sent.
    pub fn call(&mut self, request: Request) -> Call {
        let process = self.process.load(Relaxed);
        let mut history = self.shared.history();
        let place = history.operations.len();
        // Under the lock, so that operations are in the order of their calls.
        let called = self.shared.now();
        history.operations.push(Operation { process, request, called, outcome: None });
        drop(history);
        let (shared, process) = (Arc::clone(&self.shared), Arc::clone(&self.process));
        Call { shared, process, place, returned: None, open: true }
    }
}

/// A watch that was asked for. Dropped, it counts as left by its reader.
#[derive(Debug)]
pub struct Watching {
    shared: Arc<Shared>,
    place: usize,
}

impl Watching {
    /// Records that the watch has begun, behind this version.
    pub fn began(&self, version: u64) {
        let at = self.shared.now();
        self.shared.history().watches[self.place].began = Some((at, version));
    }

    /// Records what the watch delivered. To be called as soon as it is decoded.
    pub fn delivered(&self, delivered: Delivered) {
        let at = self.shared.now();
        self.shared.history().watches[self.place].events.push(WatchEvent { at, delivered });
    }

    /// Records that the store ended the watch, with the version up to which it says to have delivered all.
    pub fn ended(self, why: impl Into<String>, version: Option<u64>) {
        let at = self.shared.now();
        self.shared.history().watches[self.place].ended = Some(WatchEnd { at, why: why.into(), version });
    }
}

/// A call that has begun. Dropped without an answer, its outcome stays unknown, and its caller goes on
/// under a new number.
#[derive(Debug)]
pub struct Call {
    shared: Arc<Shared>,
    process: Arc<AtomicU64>,
    place: usize,
    returned: Option<u64>,
    open: bool,
}

impl Call {
    /// Records that the call has returned by now, where the answer is read only later: a scan takes effect
    /// before its first record is there.
    pub fn has_returned(&mut self) {
        self.returned = Some(self.shared.now());
    }

    /// Records the answer. To be called as soon as it is decoded.
    pub fn answered(mut self, answer: Answer) {
        let returned = self.returned.unwrap_or_else(|| self.shared.now());
        self.shared.history().operations[self.place].outcome = Some(Outcome { returned, answer });
        self.open = false;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.open {
            self.process.store(self.shared.callers.fetch_add(1, Relaxed), Relaxed);
        }
    }
}
