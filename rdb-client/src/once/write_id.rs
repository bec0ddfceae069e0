use std::error::Error as StdError;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use rdb_engine_api::{Engine as _, Error, ErrorKind, Outcome, Result};

use crate::Client;
use crate::call::Deadline;

/// Names a write that ended [`Unknown`](ErrorKind::Unknown), so that
/// [`Client::what_became_of`] can be asked.
///
/// ```
/// use rdb_client::{Client, EngineExt, Key, Result, WriteId};
///
/// /// Whether the value was stored; an error where nobody can tell.
/// async fn store(client: &Client, key: &Key) -> Result<bool> {
///     match client.put(key, "value").await {
///         Ok(_) => Ok(true),
///         Err(error) => match WriteId::of(&error) {
///             Some(id) => Ok(client.what_became_of(id).await?.is_some()),
///             None => Err(error),
///         },
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WriteId {
    pub(crate) session: NonZeroU64,
    pub(crate) sequence: NonZeroU64,
}

impl WriteId {
    /// The write that this error leaves unknown. None for every other error, and for a write that was sent
    /// without a session ([`exactly_once`](crate::ClientBuilder::exactly_once)) or with the caller's own
    /// stamp.
    pub fn of(error: &Error) -> Option<Self> {
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(unknown) = error.downcast_ref::<UnknownWrite>() {
                return Some(unknown.id);
            }
            cause = error.source();
        }
        None
    }

    /// What the application is told of this write.
    pub(super) fn unknown(self, message: &str, cause: Option<Error>) -> Error {
        let error = Error::new(ErrorKind::Unknown, message).with("write", self);
        error.because(UnknownWrite { id: self, cause: cause.map(Arc::new) })
    }
}

impl Client {
    /// Asks what became of a write that ended [`Unknown`](ErrorKind::Unknown): its outcome. None where it was
    /// not executed, and then it never will be.
    ///
    /// The node keeps the outcome for five minutes, and for as long as not more than some hundred other writes
    /// are begun in the session meanwhile.
    ///
    /// # Errors
    /// [`Unknown`](ErrorKind::Unknown) where nobody knows any more: the session has ended (as with a volatile
    /// node that was restarted), or the outcome was forgotten. [`Unavailable`](ErrorKind::Unavailable) where
    /// the node does not answer: ask again.
    pub async fn what_became_of(&self, write: WriteId) -> Result<Option<Outcome>> {
        let deadline = Deadline::after(self.timeout());
        loop {
            let Some(session) = self.resume_session(write.session).await? else {
                return Err(
                    Error::new(ErrorKind::Unknown, "session of the write has ended").with("write", write)
                );
            };
            match self.settle(session.stamp(write.sequence, 0)).await {
                // The node has restarted in between.
                Err(error) if error.kind() == ErrorKind::Stale && !deadline.has_passed() => {}
                Err(error) if error.kind() == ErrorKind::Stale => {
                    return Err(
                        Error::new(ErrorKind::Unavailable, "node restarts again and again").because(error)
                    );
                }
                settled => return settled,
            }
        }
    }
}

/// Session and number.
impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.session, self.sequence)
    }
}

/// Carries the id through the error's chain of causes, in which it stands for the last attempt's error.
#[derive(Debug)]
struct UnknownWrite {
    id: WriteId,
    cause: Option<Arc<Error>>,
}

impl fmt::Display for UnknownWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Some(cause) => cause.fmt(f),
            None => f.write_str("no answer in time"),
        }
    }
}

impl StdError for UnknownWrite {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_ref().and_then(|cause| cause.source())
    }
}
