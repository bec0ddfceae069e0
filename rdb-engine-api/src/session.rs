use std::num::NonZeroU64;
use std::time::Duration;

/// How a session is to be kept (C17).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// How long the session may be idle before the engine ends it;
    /// [`session_idle`](crate::Limits::session_idle), which is also the most, where none is given.
    pub idle: Option<Duration>,
}

impl SessionOptions {
    /// Asks for this idle time.
    #[must_use]
    pub const fn idle(mut self, idle: Duration) -> Self {
        self.idle = Some(idle);
        self
    }
}

/// An open session: writes that carry its id and a sequence number are applied once however often they
/// arrive (C17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// The session's id, which no other session of the engine ever had or will have.
    pub id: NonZeroU64,
    /// The engine's present life, which every write has to name: another one after each opening. So a copy
    /// of a write that the network kept back over a restart is refused, and never judged a second time.
    pub life: NonZeroU64,
    /// Sequence numbers are above the greatest acknowledged one by at most this.
    pub window: NonZeroU64,
    /// The session is ended when no write and no call of it came for this long. Opening the engine begins
    /// it anew.
    pub idle: Duration,
}

impl Session {
    /// A session.
    pub const fn new(id: NonZeroU64, life: NonZeroU64, window: NonZeroU64, idle: Duration) -> Self {
        Self { id, life, window, idle }
    }

    /// The stamp of a write of this session. All writes up to the number `acknowledged` are of no more
    /// interest to the caller, who will neither send them again nor ask about them.
    pub const fn stamp(&self, sequence: NonZeroU64, acknowledged: u64) -> Stamp {
        Stamp { session: self.id, life: self.life, sequence, acknowledged }
    }
}

/// A write's place in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The session's id.
    pub session: NonZeroU64,
    /// The life of the engine that this arrival is meant for: [`Session::life`].
    pub life: NonZeroU64,
    /// The write's number in the session.
    pub sequence: NonZeroU64,
    /// The engine may forget the outcomes of all writes up to this number, 0 for none of them. Not part of
    /// the write's identity: it may differ each time the write is sent.
    pub acknowledged: u64,
}
