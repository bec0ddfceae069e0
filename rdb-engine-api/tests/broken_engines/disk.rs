use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use rdb_engine_api::{DataDirectory, Durability, Error, ErrorKind, Floor, Key, Record, Result, Version};

use super::log::{Changes, frame};
use super::state::Records;

/// What the sound engine does with its directory and its log: each method is a place to break it. What is
/// not overridden is done soundly.
pub(crate) trait Disk: fmt::Debug + Send + 'static {
    /// Makes the directory this opener's own (C12, C13).
    fn claim(&self, directory: &Path) -> Result<Option<DataDirectory>> {
        DataDirectory::open(directory, "sound", 1).map(Some)
    }

    /// The best level that it answers (C9).
    fn best(&self) -> Durability {
        Durability::Process
    }

    /// Whether a commit whose checksum is wrong is believed, or left out, or an error (C13).
    fn judge_damage(&self) -> Result<Damage> {
        Err(Error::new(ErrorKind::Corrupt, "log does not match its checksum"))
    }

    /// What to make of a last commit that a crash cut short: nothing, since it was answered to nobody (C2).
    fn salvage(&self, _: &[u8], _: usize) -> Option<Vec<u8>> {
        None
    }

    /// What a log of which so many bytes are whole must not be shorter than (C13).
    fn floor(&self, claim: &DataDirectory, whole: u64) -> Result<Option<Floor>> {
        Floor::check(claim, whole).map(Some)
    }

    /// Takes one change from the log.
    fn replay(&self, records: &mut Records, key: Key, record: Option<Record>) {
        match record {
            Some(record) => drop(records.insert(key, record)),
            None => drop(records.remove(&key)),
        }
    }

    /// The version to go on from: above all in the log, and above the wall clock in microseconds (C5).
    fn counter(&self, _: &Records, logged: Version, wall: Version) -> Version {
        logged.max(wall)
    }

    /// The version that a restore ends with: above the last one, the restored view's and the wall clock's
    /// (C5, C19).
    fn line_after_restore(&self, last: Version, view: Version, wall: Version) -> Version {
        Version::new(last.max(view).max(wall).get() + 1).expect("not 0")
    }

    /// Logs a commit; returns how safe it is then, which is at least what was asked (C9).
    fn append(&mut self, log: &mut File, changes: &Changes, _: Option<Durability>) -> Durability {
        hand_over(log, &frame(changes));
        Durability::Process
    }

    /// Makes all commits until now as safe as asked; returns how safe they are (C9).
    fn vouch(&mut self, _: &mut File, _: Option<Durability>) -> Durability {
        Durability::Process
    }

    /// Writes what is still to be written, and frees the directory (C12).
    fn close(&mut self, _: &mut File, claim: Option<DataDirectory>) {
        drop(claim);
    }
}

/// What to do with a commit whose checksum is wrong.
#[derive(Debug)]
pub(crate) enum Damage {
    Believed,
    LeftOut,
}

/// Hands bytes to the operating system, from where they survive the process.
pub(crate) fn hand_over(log: &mut File, bytes: &[u8]) {
    log.write_all(bytes).expect("the log can be written");
}

/// A disk without a defect.
#[derive(Debug)]
pub(crate) struct Healthy;

impl Disk for Healthy {}

/// A disk without a defect that is synced for whoever asks for that, or for nothing.
#[derive(Debug)]
pub(crate) struct Syncing;

impl Disk for Syncing {
    fn best(&self) -> Durability {
        Durability::Synced
    }

    fn append(&mut self, log: &mut File, changes: &Changes, asked: Option<Durability>) -> Durability {
        hand_over(log, &frame(changes));
        self.vouch(log, asked)
    }

    fn vouch(&mut self, log: &mut File, asked: Option<Durability>) -> Durability {
        if asked.unwrap_or(Durability::Synced) < Durability::Synced {
            return Durability::Process;
        }
        log.sync_data().expect("the log can be synced");
        Durability::Synced
    }
}
