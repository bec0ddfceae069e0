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
        if let Ok(mut value) = MetadataValue::<Ascii>::try_from(self.id.text().as_bytes()) {
            keep_out_of_table(&mut value);
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

    pub(crate) const fn id(&self) -> Id {
        self.id
    }

    pub(crate) const fn span(&self) -> &Span {
        &self.span
    }
}

/// Lets HTTP/2 send a value that no other request has again as it is. Else it would go into the table that both
/// sides keep of headers, push out those that come again, and be compared with by all that come later.
pub(crate) fn keep_out_of_table(value: &mut MetadataValue<Ascii>) {
    value.set_sensitive(true);
}

/// Random for each process, then counted: two requests share one as good as never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Id {
    process: u64,
    number: u64,
}

impl Id {
    pub(crate) fn next() -> Self {
        static PROCESS: LazyLock<u64> = LazyLock::new(rand::random);
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { process: *PROCESS, number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// As text, without an allocation.
    pub(crate) fn text(self) -> IdText {
        let (mut bytes, mut start) = ([0; IdText::LONGEST], IdText::LONGEST);
        let mut before = |byte| {
            start -= 1;
            bytes[start] = byte;
        };
        let mut number = self.number;
        loop {
            before(b'0' + (number % 10) as u8);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        before(b'-');
        for place in 0..16 {
            before(b"0123456789abcdef"[(self.process >> (4 * place) & 15) as usize]);
        }
        IdText { bytes, start }
    }
}

/// An id as logs have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdText {
    bytes: [u8; Self::LONGEST],
    start: usize,
}

impl IdText {
    const LONGEST: usize = 16 + 1 + 20;

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) const fn len(&self) -> usize {
        Self::LONGEST - self.start
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.process, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_the_same_however_it_is_written() {
        for (process, number) in [(0, 0), (0xab, 9), (u64::MAX, u64::MAX), (rand::random(), 120)] {
            let id = Id { process, number };
            assert_eq!(id.text().as_bytes(), id.to_string().as_bytes());
        }
    }
}
