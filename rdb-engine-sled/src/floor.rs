use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rdb_engine_api::{Error, ErrorKind, Result};

use crate::codec::Sequence;
use crate::error::damaged;

/// The file that holds the last commit of the last orderly close, in decimal.
const FLOOR: &str = "sled.closed";

/// The commit that a store must not fall behind.
///
/// sled takes the first damaged message in its log for the log's end, and quietly goes on from there. So
/// an orderly close notes the last commit, once sled has synced everything, in a file of its own; an
/// older state than that is damage, not recovery.
#[derive(Debug)]
pub(crate) struct Floor {
    directory: PathBuf,
    /// The store's last commit; none while it is not safe to note.
    published: Arc<AtomicU64>,
}

/// No commit has this number.
pub(crate) const UNKNOWN: Sequence = 0;

impl Floor {
    /// The floor of a store that was found with `recovered` as its last commit.
    ///
    /// Its drop notes what `published` says then: it must come after sled's.
    pub(crate) fn check(directory: &Path, recovered: Sequence, published: Arc<AtomicU64>) -> Result<Self> {
        let path = directory.join(FLOOR);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let floor: Sequence = text.trim_end().parse().map_err(|_| {
                    damaged("note of the last orderly close is damaged").with("path", path.display())
                })?;
                if recovered < floor {
                    return Err(damaged("sled database has lost commits")
                        .with("path", directory.display())
                        .with("last_found", recovered)
                        .with("last_known", floor));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Error::new(ErrorKind::Unavailable, "cannot read note of the last orderly close")
                    .with("path", path.display())
                    .because(error));
            }
        }
        Ok(Self { directory: directory.to_owned(), published })
    }

    /// Written beside its place and renamed, so that a crash leaves a whole note.
    fn note(&self, sequence: Sequence) -> io::Result<()> {
        let draft = self.directory.join("sled.closed.new");
        let mut file = File::create(&draft)?;
        writeln!(file, "{sequence}")?;
        file.sync_all()?;
        fs::rename(&draft, self.directory.join(FLOOR))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let sequence = self.published.load(Ordering::Acquire);
        if sequence != UNKNOWN {
            // A note that cannot be written leaves the older one, which is true as well.
            let _ = self.note(sequence);
        }
    }
}
