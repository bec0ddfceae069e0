use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdb_checker::Recorder;
use tempfile::TempDir;

use super::db::Db;
use super::disk::Disk;
use super::{Harness, Recorded, Running};
use crate::{EngineInfo, Limits, Result};

/// How long the engine of a case that failed may take to end.
const ABANDONED: Duration = Duration::from_secs(5);

/// What a case works with: a directory of its own, and the means to open, reopen and crash the engine.
pub(super) struct Context {
    harness: Arc<dyn Harness>,
    recorder: Option<Recorder>,
    home: TempDir,
    state: Mutex<State>,
}

struct State {
    /// The directory in use; a crash goes on in a copy.
    directory: PathBuf,
    copies: u32,
    limits: Limits,
    running: Option<Running>,
    /// The disk that the directory is on, where its power is to be cut. Behind the engine, which has files
    /// of it open.
    disk: Option<Disk>,
}

impl Context {
    /// A case's surroundings; what its callers see is recorded where there is a recorder.
    pub(super) fn new(harness: Arc<dyn Harness>, recorder: Option<Recorder>) -> Self {
        let home = tempfile::Builder::new().prefix("flaredb-conformance-").tempdir();
        let home = home.expect("the suite can make a temporary directory");
        let directory = home.path().join("data");
        fs::create_dir(&directory).expect("the suite can write in its temporary directory");
        let state = State { directory, copies: 0, limits: Limits::default(), running: None, disk: None };
        Self { harness, recorder, home, state: Mutex::new(state) }
    }

    /// Another context, with a directory of its own.
    pub(super) fn fresh(&self) -> Self {
        Self::new(Arc::clone(&self.harness), None)
    }

    pub(super) fn harness(&self) -> &dyn Harness {
        &*self.harness
    }

    /// What the engine declares, from one that is opened elsewhere for that.
    pub(super) async fn declared(&self) -> EngineInfo {
        let directory = self.home.path().join("declared");
        fs::create_dir_all(&directory).expect("the suite can write in its temporary directory");
        let running = self.harness.open(&directory, Limits::default()).await;
        let running =
            running.unwrap_or_else(|error| panic!("a fresh engine did not open: {}", error.report()));
        let info = running.engine().info().clone();
        stop(running).await;
        info
    }

    /// Opens a fresh engine with its usual limits.
    pub(super) async fn open(&self) -> Db {
        self.open_with(Limits::default()).await
    }

    /// Opens a fresh engine with these limits.
    pub(super) async fn open_with(&self, limits: Limits) -> Db {
        self.state.lock().limits = limits;
        let opened = self.open_again().await;
        opened.unwrap_or_else(|error| panic!("a fresh engine did not open: {}", error.report()))
    }

    /// Brings the engine to an orderly end and opens what it left.
    pub(super) async fn reopen(&self) -> Db {
        self.stop().await;
        let opened = self.open_again().await;
        opened.unwrap_or_else(|error| panic!("the engine did not open what it left: {}", error.report()))
    }

    /// Lets the process die, as far as the engine's files can tell: they are copied as the operating
    /// system has them at this instant, and the copy is opened. Nothing may be written meanwhile.
    pub(super) async fn crash(&self) -> Db {
        let copy = self.copy().await;
        self.stop().await;
        self.state.lock().directory = copy;
        let opened = self.open_again().await;
        opened.unwrap_or_else(|error| panic!("the engine did not open after a crash: {}", error.report()))
    }

    /// Goes on in a directory on a disk whose power can be cut.
    pub(super) async fn move_to_disk(&self) {
        let home = self.home.path().to_owned();
        let made = tokio::task::spawn_blocking(move || {
            let disk = Disk::new(&home)?;
            let directory = disk.path().join("data");
            fs::create_dir(&directory)?;
            fs::File::open(disk.path())?.sync_all()?;
            io::Result::Ok((disk, directory))
        });
        let (disk, directory) =
            made.await.expect("making a disk does not panic").expect("a disk can be made");
        let mut state = self.state.lock();
        state.directory = directory;
        state.disk = Some(disk);
    }

    /// Cuts the power of the disk, and opens what is on it. What the engine says when it is stopped without
    /// a disk does not matter.
    pub(super) async fn cut_power(&self) -> Db {
        let (running, disk) = {
            let mut state = self.state.lock();
            (state.running.take(), state.disk.take())
        };
        let disk = disk.expect("a case that cuts the power is on a disk");
        let disk = blocking(move || disk.cut().map(|()| disk)).await;
        if let Some(running) = running {
            drop(running.stop().await);
        }
        let disk = blocking(move || disk.restore().map(|()| disk)).await;
        self.state.lock().disk = Some(disk);
        let opened = self.open_again().await;
        opened.unwrap_or_else(|error| panic!("the engine did not open after a power cut: {}", error.report()))
    }

    /// The directory in use.
    pub(super) fn directory(&self) -> PathBuf {
        self.state.lock().directory.clone()
    }

    /// Copies the directory in use as it is at one instant.
    pub(super) async fn copy(&self) -> PathBuf {
        let (from, to) = {
            let mut state = self.state.lock();
            state.copies += 1;
            (state.directory.clone(), self.home.path().join(format!("copy-{}", state.copies)))
        };
        let target = to.clone();
        let copied = tokio::task::spawn_blocking(move || copy_of_an_instant(&from, &target)).await;
        copied.expect("copying does not panic").expect("the suite can copy the engine's directory");
        to
    }

    /// Opens the engine over another directory, for cases in which that is meant to fail.
    pub(super) async fn open_at(&self, directory: &Path) -> Result<Running> {
        let limits = self.state.lock().limits.clone();
        self.harness.open(directory, limits).await
    }

    /// Opens the directory in use again, for cases in which that may fail.
    pub(super) async fn open_again(&self) -> Result<Db> {
        let running = self.open_at(&self.directory()).await?;
        let engine = Arc::clone(running.engine());
        let db = Db::new(match &self.recorder {
            Some(recorder) => Arc::new(Recorded::new(engine, recorder.clone())),
            None => engine,
        });
        self.state.lock().running = Some(running);
        Ok(db)
    }

    /// Brings the engine in use to an orderly end.
    pub(super) async fn stop(&self) {
        let running = self.state.lock().running.take();
        if let Some(running) = running {
            stop(running).await;
        }
    }

    /// After a case that failed: lets the engine end before its directory is removed, if it can. A store that
    /// loses its files while it is open may hang, and sled's locks are the whole process's.
    pub(super) async fn abandon(&self) {
        let running = self.state.lock().running.take();
        if let Some(running) = running {
            let _ = tokio::time::timeout(ABANDONED, running.stop()).await;
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("home", &self.home.path()).finish_non_exhaustive()
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await.expect("working on the disk does not panic");
    done.unwrap_or_else(|error| panic!("the suite's disk did not do as it was told: {error}"))
}

async fn stop(running: Running) {
    if let Err(error) = running.stop().await {
        panic!("close finishes what was accepted and frees the engine (C12), but failed: {}", error.report());
    }
}

/// How often a directory that changes meanwhile is copied again.
const COPIES: u32 = 1_000;

/// Copies a directory in which a store may be at work behind its callers' backs. A copy that equals the
/// directory once more when it is whole is one of the instant between: no file had changed since it was
/// copied. Without that, a crash would mix files of different times, as no crash does.
fn copy_of_an_instant(from: &Path, to: &Path) -> io::Result<()> {
    for _ in 0..COPIES {
        if copy_all(from, to)? && equals(from, to)? {
            return Ok(());
        }
        fs::remove_dir_all(to)?;
    }
    Err(io::Error::other(format!("nobody writes, but the files changed during each of {COPIES} copies")))
}

/// Whether everything was still there when it was copied.
fn copy_all(from: &Path, to: &Path) -> io::Result<bool> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let copied = if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).map(|_| true)
        };
        if !there(copied)?.unwrap_or(false) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equals(one: &Path, other: &Path) -> io::Result<bool> {
    let names = |directory: &Path| -> io::Result<BTreeSet<OsString>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
    };
    let Some(found) = there(names(one))? else { return Ok(false) };
    if found != names(other)? {
        return Ok(false);
    }
    for name in found {
        let (one, other) = (one.join(&name), other.join(&name));
        let equal = if other.is_dir() {
            equals(&one, &other)?
        } else {
            there(fs::read(&one))? == Some(fs::read(&other)?)
        };
        if !equal {
            return Ok(false);
        }
    }
    Ok(true)
}

/// None where a store tidied up behind itself meanwhile.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
