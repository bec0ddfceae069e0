//! Backups: one view of everything, versions kept, in one file (`docs/backup-format.md`).
//!
//! A backup is what a scan of everything returns, written down; what [`Backup::into_view`] gives is what
//! [`Engine::restore`](crate::Engine::restore) takes, of any engine (C19). A file is verified as a whole
//! before it is restored: any flipped bit and any cut, anywhere, is [`Corrupt`](crate::ErrorKind::Corrupt).
//!
//! ```
//! use rdb_client::backup::{Backup, Meta, write};
//! use rdb_client::{Client, Engine, KeyRange, Result, Scan};
//! use tokio::fs::File;
//!
//! async fn move_node(from: &Client, to: &Client) -> Result<()> {
//!     let view = from.scan(Scan::new(KeyRange::all())).await?;
//!     let mut file = File::create("all.backup").await.expect("a file can be made");
//!     write(view, &Meta::of(from), &mut file, |_| {}).await?;
//!     file.sync_all().await.expect("the file can be made safe");
//!
//!     let file = File::open("all.backup").await.expect("the file is there");
//!     let backup = Backup::verify(file, |_| {}).await?;
//!     to.restore(backup.into_view().await?).await?;
//!     Ok(())
//! }
//! ```

mod frame;
mod meta;
mod reader;
mod record;
mod writer;

pub use meta::Meta;
pub use reader::Backup;
pub use writer::write;

use std::io;

use rdb_engine_api::{Error, ErrorKind, Version};

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The version of the view.
    pub version: Version,
    /// How many records it has.
    pub records: u64,
    /// The bytes of their keys and values.
    pub record_bytes: u64,
    /// The bytes of the file.
    pub file_bytes: u64,
    /// The SHA-256 that the file ends with, over all that is before it.
    pub sha256: [u8; 32],
}

/// How far the writing or reading of a backup is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The records until now.
    pub records: u64,
    /// The bytes of the file until now.
    pub file_bytes: u64,
}

/// Of the file, not of an engine: nothing was applied anywhere.
fn failed(what: &str, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ErrorKind::Exhausted
        }
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, what).because(error)
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, what)
}

#[cfg(test)]
mod tests;
