//! The frames that a backup consists of.

use bytes::{Buf as _, BufMut as _};
use rdb_engine_api::Result;

use super::damaged;

/// What a backup begins with: eight bytes that say what it is, the version of the format, and their
/// checksum.
pub(super) const MAGIC: [u8; 8] = *b"FLAREBAK";
/// The version of the format that is written, and the only one that is read.
pub(super) const FORMAT: u32 = 1;
pub(super) const PREAMBLE_BYTES: usize = 8 + 4 + 4;
/// Kind, number, length, and their checksum.
pub(super) const HEAD_BYTES: usize = 1 + 8 + 4 + 4;
/// The checksum behind a body.
pub(super) const SUM_BYTES: usize = 4;
/// The longest body that is read or written. Records are written in blocks of far less, unless one alone is
/// longer.
pub(super) const MAX_BODY_BYTES: usize = 1 << 30;

/// What a frame's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Where the records are from.
    Meta,
    /// Records.
    Records,
    /// What all of it comes to.
    End,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Meta, Self::Records, Self::End];

    const fn tag(self) -> u8 {
        match self {
            Self::Meta => b'M',
            Self::Records => b'R',
            Self::End => b'E',
        }
    }
}

/// What stands before a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// The frame's place in the file, from 0.
    pub(super) number: u64,
    pub(super) length: u32,
}

impl Head {
    pub(super) fn encode(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        let mut rest = &mut bytes[..];
        rest.put_u8(self.kind.tag());
        rest.put_u64(self.number);
        rest.put_u32(self.length);
        seal(&mut bytes);
        bytes
    }

    /// The length is trusted only once the head's own checksum has vouched for it.
    pub(super) fn decode(bytes: &[u8; HEAD_BYTES]) -> Result<Self> {
        let mut rest = unseal(bytes)?;
        let tag = rest.get_u8();
        let kind = Kind::ALL.into_iter().find(|kind| kind.tag() == tag);
        let kind = kind.ok_or_else(|| damaged("backup has a block of an unknown kind"))?;
        let head = Self { kind, number: rest.get_u64(), length: rest.get_u32() };
        if head.length as usize > MAX_BODY_BYTES {
            return Err(damaged("backup has a block that is too long"));
        }
        Ok(head)
    }
}

pub(super) fn preamble() -> [u8; PREAMBLE_BYTES] {
    let mut bytes = [0; PREAMBLE_BYTES];
    let mut rest = &mut bytes[..];
    rest.put_slice(&MAGIC);
    rest.put_u32(FORMAT);
    seal(&mut bytes);
    bytes
}

/// Fills the last four bytes with the checksum of those before.
fn seal<const N: usize>(bytes: &mut [u8; N]) {
    let (body, sum) = bytes.split_at_mut(N - SUM_BYTES);
    sum.copy_from_slice(&crc32fast::hash(body).to_be_bytes());
}

/// What the checksum at the end vouches for.
pub(super) fn unseal<const N: usize>(bytes: &[u8; N]) -> Result<&[u8]> {
    let (body, sum) = bytes.split_at(N - SUM_BYTES);
    match crc32fast::hash(body).to_be_bytes() == *sum {
        true => Ok(body),
        false => Err(damaged("backup does not match its checksum")),
    }
}
