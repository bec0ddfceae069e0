use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{DataDirectory, Error, ErrorKind, Result};

/// The file that holds the last commit of the last orderly close, in decimal.
const NOTE: &str = "store.closed";
/// In place of a commit that is not safe to note: no commit has this number.
const UNKNOWN: u64 = 0;

/// The commit that a store must not fall behind (C13).
///
/// Many a store takes damage at the end of its log for what a crash leaves there, and quietly goes on from
/// an earlier state. After an orderly close there was no crash: so the last commit is noted then, in a file
/// of the data directory, and a store that is found behind it at an opening is damaged, not recovered.
///
/// The note is written when this is dropped. That has to come after the store's files are closed, with all
/// commits on stable storage, and before the [`DataDirectory`] is dropped: make it the field between.
#[derive(Debug)]
pub struct Floor {
    directory: PathBuf,
    last: AtomicU64,
}

impl Floor {
    /// The floor of a store that was found with `recovered` as its last commit, by whatever number of the
    /// store's own that grows with each.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) where the store has fallen behind the note, or the note is damaged.
    pub fn check(directory: &DataDirectory, recovered: u64) -> Result<Self> {
        let path = directory.path().join(NOTE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let noted: u64 = text.trim_end().parse().map_err(|_| damaged(&path))?;
                if recovered < noted {
                    return Err(Error::new(ErrorKind::Corrupt, "store has lost commits")
                        .with("path", directory.path().display())
                        .with("last_found", recovered)
                        .with("last_known", noted));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(damaged(&path)),
            Err(error) => {
                return Err(Error::new(ErrorKind::Unavailable, "cannot read note of the last orderly close")
                    .with("path", path.display())
                    .because(error));
            }
        }
        Ok(Self { directory: directory.path().to_owned(), last: AtomicU64::new(UNKNOWN) })
    }

    /// The store's last commit is this, and an orderly close may note it.
    pub fn set(&self, last: u64) {
        self.last.store(last, Ordering::Release);
    }

    /// Nobody knows the store's last commit, or whether it is safe: the earlier note stays, which is true.
    pub fn forget(&self) {
        self.set(UNKNOWN);
    }

    /// Written beside its place and renamed, so that a crash leaves a whole note.
    fn note(&self, last: u64) -> io::Result<()> {
        let draft = self.directory.join("store.closed.new");
        let mut file = File::create(&draft)?;
        writeln!(file, "{last}")?;
        file.sync_all()?;
        fs::rename(&draft, self.directory.join(NOTE))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let last = self.last.load(Ordering::Acquire);
        if last != UNKNOWN {
            // A note that cannot be written leaves the older one, which is true as well.
            let _ = self.note(last);
        }
    }
}

fn damaged(path: &Path) -> Error {
    Error::new(ErrorKind::Corrupt, "note of the last orderly close is damaged").with("path", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_behind_its_last_orderly_close_is_corrupt_and_one_beyond_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(dir.path(), "test", 1).unwrap();
        Floor::check(&directory, 0).unwrap().set(7);
        for recovered in [7, 8] {
            drop(Floor::check(&directory, recovered).unwrap());
        }
        let behind = Floor::check(&directory, 6).unwrap_err();
        assert_eq!(behind.kind(), ErrorKind::Corrupt);
        assert!(behind.to_string().contains("last_known=`7`"), "{behind}");
    }

    #[test]
    fn what_is_not_safe_to_note_leaves_the_earlier_note() {
        let dir = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(dir.path(), "test", 1).unwrap();
        Floor::check(&directory, 0).unwrap().set(7);
        let floor = Floor::check(&directory, 7).unwrap();
        floor.set(9);
        floor.forget();
        drop(floor);
        drop(Floor::check(&directory, 7).unwrap());
    }

    #[test]
    fn a_damaged_note_is_corrupt() {
        let dir = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(dir.path(), "test", 1).unwrap();
        for damage in [&b""[..], b"seven\n", b"\xff\xfe"] {
            fs::write(dir.path().join(NOTE), damage).unwrap();
            assert_eq!(Floor::check(&directory, 7).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
