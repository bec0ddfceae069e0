use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::{Durability, Key, Stamp, Version};

/// The longest life that a record can be given (C15): a hundred years. A put that asks for more is
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument), as is one that asks for none at all.
pub const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What must hold of a key just before a batch is applied (C6).
#[derive(Clone, PartialEq, Eq)]
pub enum Condition {
    /// There is no record under the key.
    Absent,
    /// There is a record under the key, whatever it holds.
    Present,
    /// The record's version is this one. Versions are never given twice (C5), so this condition cannot
    /// be fooled by a value that changed and changed back.
    Version(Version),
    /// The record's value equals these bytes. It also holds when the value was another in between
    /// (A-B-A): use [`Version`](Self::Version) where that matters.
    Value(Bytes),
}

/// Values are user data: only their length is shown.
impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("Absent"),
            Self::Present => f.write_str("Present"),
            Self::Version(version) => write!(f, "Version({version})"),
            Self::Value(value) => write!(f, "Value({} bytes)", value.len()),
        }
    }
}

/// What a batch does to a key.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// Stores a value; always a change, even of an equal value (C4).
    Put {
        /// The value.
        value: Bytes,
        /// How long the record lives, where it shall not live for ever (C15); needs
        /// [`Capabilities::expiry`](crate::Capabilities::expiry).
        ttl: Option<Duration>,
    },
    /// Removes the record; no change where there is none (C4).
    Delete,
}

/// Values are user data: only their length is shown.
impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { value, ttl } => write!(f, "Put({} bytes, ttl {ttl:?})", value.len()),
            Self::Delete => f.write_str("Delete"),
        }
    }
}

/// Conditions on any keys, then operations on any keys: the one primitive write.
///
/// All conditions are judged against the one view just before the batch (C3); where all hold, all
/// operations become visible at once (C2). Of two operations on one key the last wins. A batch of
/// conditions alone is an atomic assertion over many keys.
///
/// ```
/// use rdb_engine_api::{Batch, Condition, Key};
///
/// let (from, to) = (Key::new("a")?, Key::new("b")?);
/// let rename = Batch::new()
///     .when(from.clone(), Condition::Present)
///     .when(to.clone(), Condition::Absent)
///     .put(to, "value")
///     .delete(from);
/// assert_eq!(rename.len(), 4);
/// # Ok::<(), rdb_engine_api::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    conditions: Vec<(Key, Condition)>,
    ops: Vec<(Key, Op)>,
}

impl Batch {
    /// An empty batch.
    pub const fn new() -> Self {
        Self { conditions: Vec::new(), ops: Vec::new() }
    }

    /// Adds a condition. The first that fails, in the order of adding, is the one reported (C3).
    #[must_use]
    pub fn when(mut self, key: Key, condition: Condition) -> Self {
        self.conditions.push((key, condition));
        self
    }

    /// Adds an operation.
    #[must_use]
    pub fn op(mut self, key: Key, op: Op) -> Self {
        self.ops.push((key, op));
        self
    }

    /// Adds a put of a record that does not expire.
    #[must_use]
    pub fn put(self, key: Key, value: impl Into<Bytes>) -> Self {
        self.op(key, Op::Put { value: value.into(), ttl: None })
    }

    /// Adds a put of a record that is removed when this much time has passed (C15): 1 ms to [`MAX_TTL`],
    /// rounded up to milliseconds.
    #[must_use]
    pub fn put_for(self, key: Key, value: impl Into<Bytes>, ttl: Duration) -> Self {
        self.op(key, Op::Put { value: value.into(), ttl: Some(ttl) })
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(self, key: Key) -> Self {
        self.op(key, Op::Delete)
    }

    /// The conditions, in order.
    pub fn conditions(&self) -> &[(Key, Condition)] {
        &self.conditions
    }

    /// The operations, in order.
    pub fn ops(&self) -> &[(Key, Op)] {
        &self.ops
    }

    /// The operations, in order, owned.
    pub fn into_ops(self) -> Vec<(Key, Op)> {
        self.ops
    }

    /// The number of conditions and operations together.
    pub fn len(&self) -> usize {
        self.conditions.len() + self.ops.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty() && self.ops.is_empty()
    }

    /// The bytes of all keys and values in it, of conditions and of operations.
    pub fn size_bytes(&self) -> usize {
        let conditions = self.conditions.iter().map(|(key, condition)| {
            key.len() + if let Condition::Value(value) = condition { value.len() } else { 0 }
        });
        let ops = self
            .ops
            .iter()
            .map(|(key, op)| key.len() + if let Op::Put { value, .. } = op { value.len() } else { 0 });
        conditions.chain(ops).sum()
    }
}

/// How a write is to be done. The default asks for the engine's default durability.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// The least durability that the answer may report (C9); the engine's default where none is asked.
    /// Asking above the engine's best is [`Unsupported`](crate::ErrorKind::Unsupported).
    pub durability: Option<Durability>,
    /// How long the write may wait for its turn. One that has not begun by then fails as
    /// [`Unavailable`](crate::ErrorKind::Unavailable): nothing was applied.
    pub timeout: Option<Duration>,
    /// The write's place in a session (C17); needs [`Capabilities::sessions`](crate::Capabilities::sessions).
    pub stamp: Option<Stamp>,
    /// How long the write may wait for its conditions to hold, where they do not (C20); needs
    /// [`Capabilities::blocking`](crate::Capabilities::blocking). It is judged again whenever a commit
    /// touches the key of the condition that failed. Writes that wait for one key have their turns in the
    /// order in which they came. When the time is over, or the condition can never hold again, the answer is
    /// the conflict.
    pub wait: Option<Duration>,
}

impl WriteOptions {
    /// Asks for at least this durability.
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Bounds the wait for the write's turn.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes the write part of a session.
    #[must_use]
    pub const fn stamp(mut self, stamp: Stamp) -> Self {
        self.stamp = Some(stamp);
        self
    }

    /// Waits for the conditions to hold, at most this long.
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }
}
