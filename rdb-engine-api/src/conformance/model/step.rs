use std::fmt;
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;

use super::super::db::filler;
use crate::{Direction, Durability, Key, KeyRange, MAX_KEY_BYTES, Projection, Scan};

/// Names a step of a sequence, also when others around it are gone.
pub(super) type Id = usize;

/// One step of a sequence. It means the same on every engine and in every run: what only a run can tell,
/// such as a version, is said by where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) id: Id,
    pub(super) act: Act,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Get(Name),
    GetMany(Vec<Name>),
    Scan(Look),
    /// Opens a scan, to be read by a later step.
    OpenScan(Look),
    /// Reads the scan that a step opened to its end; nothing where there is none.
    Drain(Id),
    Write(Write),
    /// A request that the engine has to refuse.
    Refuse(Beyond, Name),
    /// Closes the engine; until it is opened again it answers with `Closed`.
    Close,
    Reopen,
    Crash,
}

/// What a scan looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look(pub(super) Scan);

/// A batch, and how it is to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) checks: Vec<(Name, Check)>,
    /// What to put under a name; none to delete it.
    pub(super) ops: Vec<(Name, Option<Data>)>,
    pub(super) level: Option<Durability>,
    pub(super) timeout: Option<Duration>,
}

/// A condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Present,
    Absent,
    Value(Data),
    Version(Which),
}

/// A version, by where it comes from. What has no version there counts as never given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// That of the record under a name when the step is taken.
    Current(Name),
    /// That of the commit that an earlier step made.
    Of(Id),
    /// One that the engine has not given yet.
    Never,
}

/// What is beyond the limits, or not declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beyond {
    ValueTooLong,
    BatchTooLong,
    BatchTooLarge,
    TooManyKeys,
    TimeToLive,
    Stamp,
    Session,
    Watch,
}

impl Beyond {
    pub(super) const ALL: [Self; 8] = [
        Self::ValueTooLong,
        Self::BatchTooLong,
        Self::BatchTooLarge,
        Self::TooManyKeys,
        Self::TimeToLive,
        Self::Stamp,
        Self::Session,
        Self::Watch,
    ];
}

/// A key out of a small pool, by its place in it: the lower, the simpler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(pub(super) usize);

impl Name {
    /// Prefixes of each other, the ends of the byte order, and the longest there are.
    const POOL: [fn() -> Vec<u8>; 11] = [
        || b"k".to_vec(),
        || b"kk".to_vec(),
        || b"l".to_vec(),
        || b"k\0".to_vec(),
        || b"k\xff".to_vec(),
        || vec![0],
        || vec![0, 0xff],
        || vec![0xff],
        || vec![0xff; 40],
        || vec![b'k'; MAX_KEY_BYTES],
        || vec![0xff; MAX_KEY_BYTES],
    ];

    pub(super) const COUNT: usize = Self::POOL.len();

    pub(super) fn bytes(self) -> Vec<u8> {
        Self::POOL[self.0]()
    }

    pub(super) fn key(self) -> Key {
        Key::new(self.bytes()).expect("the pool holds keys")
    }
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Small(u8),
    Empty,
    Large(u8),
}

impl Data {
    /// As bytes, of which there are at most so many in a large one.
    pub(super) fn bytes(self, large: usize) -> Bytes {
        match self {
            Self::Small(number) => format!("v{number}").into(),
            Self::Empty => Bytes::new(),
            Self::Large(number) => filler(&format!("large {number}"), large),
        }
    }
}

/// Bytes as a reader can tell them apart.
pub(super) fn shown(bytes: &[u8]) -> String {
    const SHOWN: usize = 12;
    if bytes.len() <= SHOWN {
        return format!("`{}`", bytes.escape_ascii());
    }
    format!("`{}..` ({} bytes)", bytes[..SHOWN].escape_ascii(), bytes.len())
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>4}  {}", self.id, self.act)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(name) => write!(f, "get {name}"),
            Self::GetMany(names) => {
                write!(f, "get at once [{}]", list(names.iter().map(ToString::to_string)))
            }
            Self::Scan(look) => write!(f, "scan {look}"),
            Self::OpenScan(look) => write!(f, "open a scan of {look}"),
            Self::Drain(id) => write!(f, "read the scan of step {id} to its end"),
            Self::Write(write) => write!(f, "write: {write}"),
            Self::Refuse(beyond, name) => write!(f, "ask for too much: {beyond:?} at {name}"),
            Self::Close => f.write_str("close"),
            Self::Reopen => f.write_str("reopen"),
            Self::Crash => f.write_str("crash, and open what the files hold"),
        }
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = |bound: &Bound<Bytes>, none: &str| match bound {
            Bound::Unbounded => none.to_owned(),
            Bound::Included(bytes) => format!("{} included", shown(bytes)),
            Bound::Excluded(bytes) => format!("{} excluded", shown(bytes)),
        };
        if self.0.range == KeyRange::all() {
            f.write_str("everything")?;
        } else {
            let (start, end) =
                (bound(self.0.range.start(), "the first"), bound(self.0.range.end(), "the last"));
            write!(f, "keys from {start} to {end}")?;
        }
        if self.0.direction == Direction::Reverse {
            f.write_str(", in reverse")?;
        }
        if let Some(limit) = self.0.limit {
            write!(f, ", at most {limit}")?;
        }
        if self.0.projection == Projection::Keys {
            f.write_str(", keys only")?;
        }
        Ok(())
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks = self.checks.iter().map(|(name, check)| match check {
            Check::Present => format!("if {name} is present"),
            Check::Absent => format!("if {name} is absent"),
            Check::Value(data) => format!("if {name} holds {data}"),
            Check::Version(which) => format!("if the version of {name} is {which}"),
        });
        let ops = self.ops.iter().map(|(name, op)| match op {
            Some(data) => format!("put {name} = {data}"),
            None => format!("delete {name}"),
        });
        let options = [
            self.level.map(|level| format!("at {level}")),
            self.timeout.map(|timeout| format!("within {timeout:?}")),
        ];
        let text = list(checks.chain(ops).chain(options.into_iter().flatten()));
        f.write_str(if text.is_empty() { "nothing" } else { &text })
    }
}

fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.bytes()))
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small(number) => write!(f, "`v{number}`"),
            Self::Empty => f.write_str("the empty value"),
            Self::Large(number) => write!(f, "large value {number}"),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current(name) => write!(f, "what {name} has"),
            Self::Of(id) => write!(f, "that of step {id}"),
            Self::Never => f.write_str("one never given"),
        }
    }
}
