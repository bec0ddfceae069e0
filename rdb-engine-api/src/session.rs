use std::num::NonZeroU64;
use std::time::Duration;

/// How a session is to be kept (C17).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// How long the session may be idle before the engine ends it; the engine's default where none is
    /// given.
    pub idle: Option<Duration>,
}

/// An open session: writes that carry its id and a sequence number are applied once however often they
/// arrive (C17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// The session's id.
    pub id: NonZeroU64,
}

/// A write's place in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The session's id.
    pub session: NonZeroU64,
    /// The write's number in the session.
    pub sequence: NonZeroU64,
}
