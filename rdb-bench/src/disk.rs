use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;

use rdb_engine_api::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};

use crate::Latency;
use crate::machine::file_system;
use crate::recorder::Times;

/// What is appended before each sync.
const PAGE: [u8; 4096] = [0x5a; 4096];

/// How long the disk under a directory takes to make 4 KiB durable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// The file system.
    pub file_system: String,
    /// An append of 4 KiB and `fdatasync`.
    pub sync: Latency,
}

impl Disk {
    /// Appends and syncs so often in a file of its own, which it removes. Blocks the thread.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn measure(directory: &Path, times: u32) -> io::Result<Self> {
        let file = Scratch(directory.join(format!(".rdb-bench-sync-{}", process::id())));
        let mut log = OpenOptions::new().create_new(true).append(true).open(&file.0)?;
        let clock = SystemClock::new();
        let mut sync = Times::new();
        for _ in 0..times {
            let begun = clock.monotonic();
            log.write_all(&PAGE)?;
            log.sync_data()?;
            sync.record(clock.monotonic().saturating_sub(begun));
        }
        Ok(Self { file_system: file_system(directory), sync: sync.latency() })
    }
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // There is nobody to tell, and the figures are right all the same.
        let _ = fs::remove_file(&self.0);
    }
}
