use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::Version;

/// What FlareDB's operations return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller should do about an [`Error`].
///
/// From a write, every kind but [`Unknown`](Self::Unknown) certifies that nothing was applied (C10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Fix the request: it breaks a limit or makes no sense, and will fail again as it is.
    InvalidArgument,
    /// This engine does not do that; ask [`EngineInfo`](crate::EngineInfo) what it does (C18).
    Unsupported,
    /// Nothing was applied; sending the same request again is safe.
    Unavailable,
    /// The write may have been applied: read to find out.
    Unknown,
    /// Nothing was applied: a limit is reached or the disk is full. Shed load, then try again.
    Exhausted,
    /// Stored bytes failed validation: restore from a backup.
    Corrupt,
    /// The engine is closed, or stopped after a failed commit (C11): open it again.
    Closed,
    /// A bug in FlareDB.
    Internal,
    /// The history of commits no longer reaches back to where a watch was to begin (C16):
    /// [`Error::version`] is the oldest version that a watch can begin after. Scan, then watch after the
    /// scan's version.
    Compacted,
    /// This arrival of a write was meant for an earlier life of the engine (C17), and did nothing: resume
    /// the session, then send the write again under its new life.
    Stale,
}

impl ErrorKind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 10] = [
        Self::InvalidArgument,
        Self::Unsupported,
        Self::Unavailable,
        Self::Unknown,
        Self::Exhausted,
        Self::Corrupt,
        Self::Closed,
        Self::Internal,
        Self::Compacted,
        Self::Stale,
    ];

    /// The kind's name in `snake_case`, as the wire and scripts see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::Unsupported => "unsupported",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Exhausted => "exhausted",
            Self::Corrupt => "corrupt",
            Self::Closed => "closed",
            Self::Internal => "internal",
            Self::Compacted => "compacted",
            Self::Stale => "stale",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A failed operation: a kind that says what to do, a message, and the source where there is one.
///
/// A conflict is not an error: it is an [`Outcome`](crate::Outcome).
///
/// ```
/// use rdb_engine_api::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Unsupported, "cannot watch").with("engine", "sled");
/// assert_eq!(error.to_string(), "cannot watch. engine=`sled`");
/// assert!(!error.may_have_been_applied());
/// ```
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    has_data: bool,
    version: Option<Version>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error. The message is lowercase and has no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), has_data: false, version: None, source: None }
    }

    /// Appends a piece of data to the message: ``. name=`value` ``.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        let separator = if self.has_data { ", " } else { ". " };
        self.message.push_str(&format!("{separator}{name}=`{value}`"));
        self.has_data = true;
        self
    }

    /// Attaches a version for the caller to go on with. It is not part of the message.
    #[must_use]
    pub fn at(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    /// Attaches what caused this error. Its text is not repeated in the message.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// What the caller should do.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The version to go on with, where there is one: for [`Compacted`](ErrorKind::Compacted) the oldest
    /// that a watch can begin after, for a watch that was ended the last that it delivered everything up to.
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// Whether the same request can be sent again without doing anything twice, with a chance that it
    /// succeeds: [`Unavailable`](ErrorKind::Unavailable) and [`Exhausted`](ErrorKind::Exhausted).
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Exhausted)
    }

    /// Whether a write that ended in this error may have taken effect (C10). False certifies that it
    /// did not and will not.
    pub const fn may_have_been_applied(&self) -> bool {
        matches!(self.kind, ErrorKind::Unknown)
    }

    /// The whole chain of causes in one line, for logs and command lines.
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut source = StdError::source(self);
        while let Some(error) = source {
            text.push_str(&format!(": {error}"));
            source = error.source();
        }
        text
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.kind).field("message", &self.message);
        if let Some(source) = &self.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
