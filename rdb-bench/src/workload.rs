use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Distribution;

/// What is asked of a target.
///
/// A to F are the core workloads of YCSB (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB",
/// SoCC 2010; the mixes are those of its `workloads/workload[a-f]` files).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Half reads, half updates; zipfian.
    A,
    /// 95% reads, 5% updates; zipfian.
    B,
    /// Reads only; zipfian.
    C,
    /// 95% reads of the latest records, 5% inserts.
    D,
    /// 95% scans of up to 100 records, 5% inserts; zipfian.
    E,
    /// Half reads, half read-modify-writes; zipfian.
    F,
    /// Reads; uniform.
    Get,
    /// Reads of many keys in one request; uniform.
    GetMany,
    /// Writes of records that exist; uniform.
    Put,
    /// Compare-and-swaps: each caller on keys of its own, whose versions it remembers.
    Cas,
    /// Compare-and-swaps of all callers on one counter: read, swap, and again until it succeeds.
    Counter,
    /// Scans; uniform.
    Scan,
    /// New records in batches.
    Load,
}

impl Workload {
    /// Every workload.
    pub const ALL: [Self; 13] = [
        Self::A,
        Self::B,
        Self::C,
        Self::D,
        Self::E,
        Self::F,
        Self::Get,
        Self::GetMany,
        Self::Put,
        Self::Cas,
        Self::Counter,
        Self::Scan,
        Self::Load,
    ];

    /// The name in `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::C => "c",
            Self::D => "d",
            Self::E => "e",
            Self::F => "f",
            Self::Get => "get",
            Self::GetMany => "get_many",
            Self::Put => "put",
            Self::Cas => "cas",
            Self::Counter => "counter",
            Self::Scan => "scan",
            Self::Load => "load",
        }
    }

    /// What it does, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::A => "50% reads, 50% updates (YCSB A)",
            Self::B => "95% reads, 5% updates (YCSB B)",
            Self::C => "reads (YCSB C)",
            Self::D => "95% reads of the latest, 5% inserts (YCSB D)",
            Self::E => "95% scans, 5% inserts (YCSB E)",
            Self::F => "50% reads, 50% read-modify-writes (YCSB F)",
            Self::Get => "reads",
            Self::GetMany => "reads of many keys in one request",
            Self::Put => "writes of existing records",
            Self::Cas => "compare-and-swaps, each caller on keys of its own",
            Self::Counter => "compare-and-swaps of all callers on one counter",
            Self::Scan => "scans",
            Self::Load => "new records in batches",
        }
    }

    /// How its keys are chosen unless the settings say otherwise.
    pub const fn distribution(self) -> Distribution {
        match self {
            Self::A | Self::B | Self::C | Self::E | Self::F => Distribution::Zipfian,
            Self::D => Distribution::Latest,
            _ => Distribution::Uniform,
        }
    }

    /// Its operations, and how many of a hundred each of them is.
    pub const fn mix(self) -> &'static [(Kind, u32)] {
        match self {
            Self::A => &[(Kind::Get, 50), (Kind::Put, 50)],
            Self::B => &[(Kind::Get, 95), (Kind::Put, 5)],
            Self::C | Self::Get => &[(Kind::Get, 100)],
            Self::D => &[(Kind::Get, 95), (Kind::Insert, 5)],
            Self::E => &[(Kind::Scan, 95), (Kind::Insert, 5)],
            Self::F => &[(Kind::Get, 50), (Kind::ReadModifyWrite, 50)],
            Self::GetMany => &[(Kind::GetMany, 100)],
            Self::Put => &[(Kind::Put, 100)],
            Self::Cas => &[(Kind::Swap, 100)],
            Self::Counter => &[(Kind::Increment, 100)],
            Self::Scan => &[(Kind::Scan, 100)],
            Self::Load => &[(Kind::Load, 100)],
        }
    }

    /// Whether it wants the records to be there before it begins.
    pub const fn needs_records(self) -> bool {
        !matches!(self, Self::Counter | Self::Load)
    }

    /// Whether it adds records to those that were there before.
    pub(crate) const fn inserts(self) -> bool {
        matches!(self, Self::D | Self::E)
    }

    /// Whether it writes.
    pub fn writes(self) -> bool {
        self.mix().iter().any(|(kind, _)| kind.writes())
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|workload| workload.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| format!("unknown workload; known are {}", known()))
    }
}

/// A kind of operation, of which latencies are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One read.
    Get,
    /// One read of many keys.
    GetMany,
    /// A write of a record that exists.
    Put,
    /// A write of a record that is new.
    Insert,
    /// A compare-and-swap from a version that the caller remembers.
    Swap,
    /// A read and the compare-and-swaps that it takes until a counter is one more.
    Increment,
    /// A read, and a write of the same record.
    ReadModifyWrite,
    /// A scan of several records.
    Scan,
    /// A batch of new records.
    Load,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Get,
        Self::GetMany,
        Self::Put,
        Self::Insert,
        Self::Swap,
        Self::Increment,
        Self::ReadModifyWrite,
        Self::Scan,
        Self::Load,
    ];

    /// The name in `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::GetMany => "get_many",
            Self::Put => "put",
            Self::Insert => "insert",
            Self::Swap => "swap",
            Self::Increment => "increment",
            Self::ReadModifyWrite => "read_modify_write",
            Self::Scan => "scan",
            Self::Load => "load",
        }
    }

    /// Whether it writes.
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::GetMany | Self::Scan)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
