use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::{Answer, History, Note, Operation, Outcome, Request};

/// Records what any number of callers do to a store, for any client library.
///
/// ```
/// use rdb_checker::{Answer, Recorder, Request, wgl};
/// # fn send(_: &Request) -> Option<Answer> { Some(Answer::Record(None)) }
///
/// let recorder = Recorder::new();
/// let mut caller = recorder.caller(); // one for each task or thread
/// let call = caller.call(Request::Get { key: "k".into() });
/// if let Some(answer) = send(call.request()) {
///     call.returned(answer); // else it is dropped: its outcome stays unknown
/// }
/// let history = recorder.history();
/// assert!(wgl::check(&history, std::time::Duration::from_secs(10)).is_linearizable());
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
        let process = self.shared.callers.fetch_add(1, Relaxed);
        Caller { shared: Arc::clone(&self.shared), process }
    }

    /// Notes that something happened to the store: a kill, a partition, a step of the clock.
    pub fn note(&self, text: impl Into<String>) {
        let mut history = self.shared.history();
        let at = self.shared.now();
        history.notes.push(Note { at, text: text.into() });
    }

    /// What was recorded so far. Calls that are still open are in it with their outcome unknown.
    pub fn history(&self) -> History {
        self.shared.history().clone()
    }
}

/// One of the callers of a [`Recorder`]: it makes one call at a time.
#[derive(Debug)]
pub struct Caller {
    shared: Arc<Shared>,
    process: u64,
}

impl Caller {
    /// Records that a call begins. To be called before the first byte of the request is sent.
    pub fn call(&mut self, request: Request) -> Call<'_> {
        let shared = Arc::clone(&self.shared);
        let mut history = shared.history();
        let place = history.operations.len();
        // Under the lock, so that operations are in the order of their calls.
        let called = shared.now();
        let operation = Operation { process: self.process, request: request.clone(), called, outcome: None };
        history.operations.push(operation);
        Call { caller: self, place, request, open: true }
    }
}

/// A call that has begun. Dropped without an answer, its outcome stays unknown.
#[derive(Debug)]
pub struct Call<'a> {
    caller: &'a mut Caller,
    place: usize,
    request: Request,
    open: bool,
}

impl Call<'_> {
    /// What is asked.
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// Records the answer. To be called as soon as it is decoded.
    pub fn returned(mut self, answer: Answer) {
        let returned = self.caller.shared.now();
        let mut history = self.caller.shared.history();
        history.operations[self.place].outcome = Some(Outcome { returned, answer });
        self.open = false;
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.open {
            self.caller.process = self.caller.shared.callers.fetch_add(1, Relaxed);
        }
    }
}
