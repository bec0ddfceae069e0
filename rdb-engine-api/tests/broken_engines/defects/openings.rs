//! Directories taken without asking (C12, C13), and damage that is passed over (C13).

use std::fs::{self, File};
use std::path::Path;

use rdb_engine_api::{DataDirectory, Floor, Result};

use crate::disk::{Damage, Disk, Healthy};

/// Opens a directory without taking its lock.
#[derive(Debug)]
pub(crate) struct SecondOpenerAdmitted;

impl Disk for SecondOpenerAdmitted {
    fn claim(&self, _: &Path) -> Result<Option<DataDirectory>> {
        Ok(None)
    }
}

/// Keeps the directory after close.
#[derive(Debug)]
pub(crate) struct CloseKeepsTheDirectory;

impl Disk for CloseKeepsTheDirectory {
    fn close(&mut self, _: &mut File, claim: Option<DataDirectory>) {
        std::mem::forget(claim);
    }
}

/// Puts its own mark on whatever directory it is given.
#[derive(Debug)]
pub(crate) struct TakesAnyDirectory;

impl Disk for TakesAnyDirectory {
    fn claim(&self, directory: &Path) -> Result<Option<DataDirectory>> {
        fs::write(directory.join("FLAREDB"), "engine=sound\nformat=1\n").expect("the mark can be written");
        DataDirectory::open(directory, "sound", 1).map(Some)
    }
}

/// Reads a commit whose checksum is wrong as if it were right.
#[derive(Debug)]
pub(crate) struct ChecksumIgnored;

impl Disk for ChecksumIgnored {
    fn judge_damage(&self) -> Result<Damage> {
        Ok(Damage::Believed)
    }
}

/// Takes what is missing of a last commit for zeros, as where a file is made longer before it is written.
#[derive(Debug)]
pub(crate) struct CutLogFilledUp;

impl Disk for CutLogFilledUp {
    fn salvage(&self, cut: &[u8], length: usize) -> Option<Vec<u8>> {
        let mut body = cut.to_vec();
        body.resize(length, 0);
        Some(body)
    }

    fn floor(&self, claim: &DataDirectory, whole: u64) -> Result<Option<Floor>> {
        // At least the beginning has to be there.
        if whole == 0 { Healthy.floor(claim, whole) } else { Ok(None) }
    }
}

/// Takes a log that lost its end for one that a crash cut short, whatever was noted at its close.
#[derive(Debug)]
pub(crate) struct EveryEndIsACrash;

impl Disk for EveryEndIsACrash {
    fn floor(&self, _: &DataDirectory, _: u64) -> Result<Option<Floor>> {
        Ok(None)
    }
}

/// Passes over a commit whose checksum is wrong: what it wrote is absent, or as it was before.
#[derive(Debug)]
pub(crate) struct DamageIsAbsence;

impl Disk for DamageIsAbsence {
    fn judge_damage(&self) -> Result<Damage> {
        Ok(Damage::LeftOut)
    }
}
