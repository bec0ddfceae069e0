use std::error::Error as StdError;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use rdb_engine_api::{Error, ErrorKind};

/// Names a write that ended [`Unknown`](ErrorKind::Unknown), so that
/// [`Client::what_became_of`](crate::Client::what_became_of) can be asked.
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
