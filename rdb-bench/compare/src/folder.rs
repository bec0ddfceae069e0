use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::failure::Result;

/// How often, and how long after each other, it is tried to remove a folder.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(10);

/// A new folder; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// One on the disk that is measured.
    pub(crate) fn new(disk: &Path, name: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("rdb-bench-{name}-")).tempdir_in(disk)?;
        Ok(Self(folder.keep()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    /// Patiently: an engine's threads may still write for a moment after the engine was dropped.
    fn drop(&mut self) {
        for _ in 0..TRIES {
            // Where it cannot be removed at all there is nobody to tell.
            let _ = fs::remove_dir_all(&self.0);
            if !self.0.exists() {
                break;
            }
            thread::park_timeout(PAUSE);
        }
    }
}
