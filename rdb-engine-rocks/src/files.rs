use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rdb_engine_api::{DataDirectory, Error, ErrorKind, Result};

/// Where a database is built. It gets its name when it is whole.
const DRAFT: &str = "store.new";
/// An empty file: the database was whole once, and may have been written to.
const MADE: &str = "store.made";
/// RocksDB's file that names its manifest. A database without it would be made anew, empty, if RocksDB
/// were asked to create what is missing.
const CURRENT: &str = "CURRENT";

/// Returns where the database is, having made it where it never was.
///
/// A missing database is made only where none was ever opened: one that is gone is damage, and an empty
/// one in its place would lose what was acknowledged and give versions a second time (C5, C13). So the
/// database is built under another name, renamed when it is whole, and a file is set beside it before
/// anyone can write to it. A crash leaves a draft, which is thrown away, or a whole database.
pub(crate) fn prepare(directory: &DataDirectory, build: impl Fn(&Path) -> Result<()>) -> Result<PathBuf> {
    let store = directory.store_path();
    let made = directory.path().join(MADE);
    let draft = directory.path().join(DRAFT);

    if !exists(&store)? {
        if exists(&made)? {
            return Err(lost("data directory has lost its database", &store));
        }
        if exists(&draft)? {
            fs::remove_dir_all(&draft).map_err(|error| unusable(&draft, error))?;
        }
        build(&draft)?;
        sync(&draft)
            .and_then(|()| fs::rename(&draft, &store))
            .and_then(|()| sync(directory.path()))
            .map_err(|error| unusable(&store, error))?;
    }
    let current = store.join(CURRENT);
    if !exists(&current)? {
        return Err(lost("database has lost a file", &current));
    }
    if !exists(&made)? {
        File::create(&made)
            .and_then(|file| file.sync_all())
            .and_then(|()| sync(directory.path()))
            .map_err(|error| unusable(&made, error))?;
    }
    Ok(store)
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|error| unusable(path, error))
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn lost(message: &str, path: &Path) -> Error {
    Error::new(ErrorKind::Corrupt, message).with("path", path.display())
}

fn unusable(path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "cannot use database directory").with("path", path.display()).because(error)
}
