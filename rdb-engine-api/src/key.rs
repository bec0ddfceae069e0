use std::borrow::Borrow;
use std::fmt;
use std::ops::Bound;

use bytes::Bytes;

use crate::{Error, ErrorKind, Result, Span};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 4096;

/// A key: 1 to [`MAX_KEY_BYTES`] opaque bytes, ordered bytewise.
///
/// ```
/// use rdb_engine_api::{ErrorKind, Key};
///
/// let key = Key::new("user/7")?;
/// assert_eq!(key.as_bytes(), b"user/7");
/// assert_eq!(Key::new("").unwrap_err().kind(), ErrorKind::InvalidArgument);
/// # Ok::<(), rdb_engine_api::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Key {
    /// Checks and wraps the bytes.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for an empty key and for one of more than
    /// [`MAX_KEY_BYTES`] bytes (C14).
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Err(Error::new(ErrorKind::InvalidArgument, "key is empty"));
        }
        if bytes.len() > MAX_KEY_BYTES {
            return Err(Error::new(ErrorKind::InvalidArgument, "key is too long")
                .with("bytes", bytes.len())
                .with("limit", MAX_KEY_BYTES));
        }
        Ok(Self(bytes))
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key's bytes, owned; no copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The key's bytes, shared; no copy.
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// The same key in another buffer, which holds the same bytes.
    pub(crate) fn moved_to(&self, bytes: Bytes) -> Self {
        debug_assert_eq!(self.0, bytes);
        Self(bytes)
    }

    /// The number of bytes, never 0.
    #[allow(clippy::len_without_is_empty)] // a key is never empty
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Escaped, and cut after 64 bytes, so that it is safe in a log line.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_escaped(&self.0, f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_escaped(&self.0, f)
    }
}

fn fmt_escaped(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const SHOWN: usize = 64;
    write!(f, "{}", bytes[..bytes.len().min(SHOWN)].escape_ascii())?;
    if bytes.len() > SHOWN {
        write!(f, "... ({} bytes)", bytes.len())?;
    }
    Ok(())
}

/// A range of keys. Bounds are bytes in key order; they need not be keys themselves.
///
/// A range whose start lies behind its end is empty, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    start: Bound<Bytes>,
    end: Bound<Bytes>,
}

impl KeyRange {
    /// All keys.
    pub const fn all() -> Self {
        Self { start: Bound::Unbounded, end: Bound::Unbounded }
    }

    /// The keys between two bounds.
    pub const fn new(start: Bound<Bytes>, end: Bound<Bytes>) -> Self {
        Self { start, end }
    }

    /// The keys that begin with a prefix, of any bytes: `0xff` and the empty prefix work (C8).
    ///
    /// ```
    /// use bytes::Bytes;
    /// use rdb_engine_api::KeyRange;
    ///
    /// assert!(KeyRange::prefix(vec![0xff]).contains(&[0xff, 0xff]));
    /// assert!(!KeyRange::prefix("user/").contains(b"user0"));
    /// assert_eq!(KeyRange::prefix(Bytes::new()), KeyRange::all());
    /// ```
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let prefix = prefix.into();
        if prefix.is_empty() {
            return Self::all();
        }
        let end = match prefix.iter().rposition(|byte| *byte != 0xff) {
            // Every key that begins with only 0xff bytes sorts behind all others.
            None => Bound::Unbounded,
            Some(last) => {
                let mut end = prefix[..=last].to_vec();
                end[last] += 1;
                Bound::Excluded(Bytes::from(end))
            }
        };
        Self { start: Bound::Included(prefix), end }
    }

    /// Where the range begins.
    pub const fn start(&self) -> &Bound<Bytes> {
        &self.start
    }

    /// Where the range ends.
    pub const fn end(&self) -> &Bound<Bytes> {
        &self.end
    }

    /// Whether a key lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        let after_start = match &self.start {
            Bound::Included(start) => key >= &start[..],
            Bound::Excluded(start) => key > &start[..],
            Bound::Unbounded => true,
        };
        let before_end = match &self.end {
            Bound::Included(end) => key <= &end[..],
            Bound::Excluded(end) => key < &end[..],
            Bound::Unbounded => true,
        };
        after_start && before_end
    }

    /// The same range in the half-open form that a [`Store`](crate::Store) is given; none where the
    /// range is empty by its bounds.
    pub fn to_span(&self) -> Option<Span> {
        let start = match &self.start {
            Bound::Unbounded => Bytes::new(),
            Bound::Included(start) => start.clone(),
            Bound::Excluded(start) => successor(start),
        };
        let end = match &self.end {
            Bound::Unbounded => None,
            Bound::Included(end) => Some(successor(end)),
            Bound::Excluded(end) => Some(end.clone()),
        };
        let empty = end.as_ref().is_some_and(|end| *end <= start);
        (!empty).then_some(Span { start, end })
    }
}

/// The first byte string behind `bytes`.
fn successor(bytes: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(bytes.len() + 1);
    next.extend_from_slice(bytes);
    next.push(0);
    Bytes::from(next)
}
