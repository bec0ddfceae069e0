use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rdb_engine_api::{Error, ErrorKind};
use tonic::metadata::{Ascii, MetadataValue};
use tracing::Span;
use tracing::field::Empty;

/// Where a request carries its id.
const METADATA: &str = "x-request-id";

tokio::task_local! {
    /// The request that this task is sending.
    pub(crate) static CURRENT: Request;
}

/// A request as logs on both sides know it, over all its attempts.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    id: Id,
    span: Span,
}

impl Request {
    /// Begins one with an id of its own.
    pub(crate) fn begin() -> Self {
        let id = Id::next();
        let span = tracing::debug_span!(
            "request",
            request = %id,
            method = Empty,
            attempts = Empty,
            outcome = Empty
        );
        Self { id, span }
    }

    /// The request that this task is sending, or a new one.
    pub(crate) fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_else(|_| Self::begin())
    }

    /// Marks a message as this request's.
    pub(crate) fn mark<T>(&self, message: &mut tonic::Request<T>) {
        if let Ok(value) = MetadataValue::<Ascii>::try_from(self.id.to_string()) {
            message.metadata_mut().insert(METADATA, value);
        }
        message.extensions_mut().insert(self.clone());
    }

    /// Notes what is asked for.
    pub(crate) fn calls(&self, method: &str) {
        self.span.record("method", method);
    }

    /// Notes how it ended. Where only the node's log can tell more, the error names the request.
    pub(crate) fn end<T>(&self, attempts: u32, result: Result<T, Error>) -> Result<T, Error> {
        let outcome = result.as_ref().err().map_or("ok", |error| error.kind().name());
        self.span.record("attempts", attempts).record("outcome", outcome);
        tracing::debug!(parent: &self.span, attempts, outcome, "request ended");
        result.map_err(|error| match error.kind() {
            ErrorKind::Unknown | ErrorKind::Internal => error.with("request", self.id),
            _ => error,
        })
    }

    pub(crate) const fn span(&self) -> &Span {
        &self.span
    }
}

/// Random for each process, then counted: two requests share one as good as never.
#[derive(Clone, Copy, Debug)]
struct Id {
    process: u64,
    number: u64,
}

impl Id {
    fn next() -> Self {
        static PROCESS: LazyLock<u64> = LazyLock::new(rand::random);
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { process: *PROCESS, number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.process, self.number)
    }
}
