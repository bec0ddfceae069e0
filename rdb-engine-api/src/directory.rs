use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// The file that says whose directory it is.
const IDENTITY: &str = "FLAREDB";
/// The file whose lock makes an opener the only one; it holds the opener's process id.
const LOCK: &str = "FLAREDB.lock";

/// An engine's data directory: locked against a second opener (C12), and marked with the engine and the
/// format of what is in it (C13). Every engine that owns a directory opens it through this, first thing.
///
/// The lock is the operating system's advisory lock on a file, so it ends with the process however that
/// ends. Keep the value for as long as the directory is in use, and drop it last.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    lock: File,
}

impl Drop for DataDirectory {
    /// Not left to the closing of the file: a child that is being spawned on another thread has a copy of the
    /// descriptor until it runs its program, and with it the lock.
    fn drop(&mut self) {
        // Whoever cannot unlock closes, at least.
        let _ = self.lock.unlock();
    }
}

impl DataDirectory {
    /// Opens the directory for an engine and a format, making and marking it if it is missing or empty.
    ///
    /// # Errors
    /// - [`Unavailable`](ErrorKind::Unavailable) where another opener holds it; names the directory and
    ///   the holder's process id.
    /// - [`InvalidArgument`](ErrorKind::InvalidArgument) where it belongs to another engine, has another
    ///   format, holds files that are not FlareDB's, or cannot be written.
    /// - [`Corrupt`](ErrorKind::Corrupt) where its mark cannot be read.
    pub fn open(path: impl Into<PathBuf>, engine: &str, format: u32) -> Result<Self> {
        let path = path.into();
        create(&path).map_err(|error| unusable(&path, error))?;
        // Before the lock file is made, so that a stranger's directory is left as it was.
        let is_new = match read_identity(&path)? {
            Some(identity) => {
                identity.check(&path, engine, format)?;
                false
            }
            None => {
                refuse_foreign_files(&path)?;
                true
            }
        };
        let lock = lock(&path)?;
        if is_new {
            // The one who held the lock until now may have been first: look again.
            match read_identity(&path)? {
                Some(identity) => identity.check(&path, engine, format)?,
                None => write_identity(&path, engine, format).map_err(|error| unusable(&path, error))?,
            }
        }
        // An earlier opening may have been killed before its own.
        sync_directory(&path).map_err(|error| unusable(&path, error))?;
        Ok(Self { path, lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the engine keeps its own files: a directory of its own below this one, so that no library's
    /// files can be taken for FlareDB's.
    pub fn store_path(&self) -> PathBuf {
        self.path.join("store")
    }
}

#[derive(Debug)]
struct Identity {
    engine: String,
    format: u32,
}

impl Identity {
    fn check(&self, path: &Path, engine: &str, format: u32) -> Result<()> {
        if self.engine != engine {
            return Err(Error::new(ErrorKind::InvalidArgument, "data directory belongs to another engine")
                .with("path", path.display())
                .with("its_engine", &self.engine)
                .with("this_engine", engine));
        }
        if self.format != format {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "data directory has a format this version cannot read",
            )
            .with("path", path.display())
            .with("its_format", self.format)
            .with("known_format", format));
        }
        Ok(())
    }
}

fn read_identity(path: &Path) -> Result<Option<Identity>> {
    let text = match fs::read_to_string(path.join(IDENTITY)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(damaged(path)),
        Err(error) => return Err(unusable(path, error)),
    };
    let mut lines = text.lines();
    let engine = lines.next().and_then(|line| line.strip_prefix("engine="));
    let format =
        lines.next().and_then(|line| line.strip_prefix("format=")).and_then(|text| text.parse().ok());
    match (engine, format, lines.next()) {
        (Some(engine), Some(format), None) => Ok(Some(Identity { engine: engine.to_owned(), format })),
        _ => Err(damaged(path)),
    }
}

/// Written beside its place, synced and renamed, so that a crash leaves a whole mark or none.
fn write_identity(path: &Path, engine: &str, format: u32) -> io::Result<()> {
    let draft = path.join("FLAREDB.new");
    let mut file = File::create(&draft)?;
    write!(file, "engine={engine}\nformat={format}\n")?;
    file.sync_all()?;
    fs::rename(&draft, path.join(IDENTITY))?;
    sync_directory(path)
}

/// Makes a directory and those above it that are missing, each power-safe in the one above.
fn create(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(parent)?;
            fs::create_dir(path)?;
        }
        Err(_) if path.is_dir() => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
        }
        Err(error) => return Err(error),
    }
    match sync_directory(parent) {
        // Made by someone else, who may go through it but not read it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn refuse_foreign_files(path: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unusable(path, error))? {
        names.push(entry.map_err(|error| unusable(path, error))?.file_name().to_string_lossy().into_owned());
    }
    // Engines note under such a name that their store was made.
    if names.iter().any(|name| name.ends_with(".made")) {
        return Err(Error::new(ErrorKind::Corrupt, "data directory has lost its mark")
            .with("path", path.join(IDENTITY).display()));
    }
    // What a crash may leave of a first opening; `lost+found` is the root of a fresh file system.
    let known = [LOCK, "FLAREDB.new", "lost+found"];
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            Err(Error::new(ErrorKind::InvalidArgument, "data directory holds files that are not FlareDB's")
                .with("path", path.display())
                .with("file", name.escape_debug()))
        }
    }
}

fn lock(path: &Path) -> Result<File> {
    let name = path.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&name)
        .map_err(|error| unusable(path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let error =
                Error::new(ErrorKind::Unavailable, "data directory is in use").with("path", path.display());
            // The holder may not have written its process id yet.
            let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
            return Err(if known { error.with("holder_pid", holder.trim()) } else { error });
        }
        Err(TryLockError::Error(error)) => return Err(unusable(path, error)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(|error| unusable(path, error))?;
    Ok(file)
}

fn unusable(path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
        io::ErrorKind::AlreadyExists
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::InvalidArgument,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "cannot use data directory").with("path", path.display()).because(error)
}

fn damaged(path: &Path) -> Error {
    Error::new(ErrorKind::Corrupt, "data directory's mark is damaged")
        .with("path", path.join(IDENTITY).display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_opener_is_told_the_directory_and_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDirectory::open(dir.path(), "mem", 1).unwrap();
        let error = DataDirectory::open(dir.path(), "mem", 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
        assert!(error.to_string().contains(&format!("holder_pid=`{}`", std::process::id())), "{error}");
        drop(held);
        DataDirectory::open(dir.path(), "mem", 1).unwrap();
    }

    #[test]
    fn a_copy_of_the_descriptor_in_a_child_does_not_keep_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDirectory::open(dir.path(), "mem", 1).unwrap();
        let copy = held.lock.try_clone().unwrap();
        drop(held);
        drop(DataDirectory::open(dir.path(), "mem", 1).unwrap());
        drop(copy);
    }

    #[test]
    fn other_engine_other_format_and_foreign_files_are_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(dir.path(), "rocks", 1).unwrap());
        let other = DataDirectory::open(dir.path(), "sled", 1).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::InvalidArgument);
        assert!(other.to_string().contains("its_engine=`rocks`"), "{other}");
        let future = DataDirectory::open(dir.path(), "rocks", 2).unwrap_err();
        assert_eq!(future.kind(), ErrorKind::InvalidArgument);
        assert!(future.to_string().contains("its_format=`1`"), "{future}");

        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("thesis.tex"), "do not lose").unwrap();
        let foreign = DataDirectory::open(home.path(), "rocks", 1).unwrap_err();
        assert_eq!(foreign.kind(), ErrorKind::InvalidArgument);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn damaged_mark_is_corrupt() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(dir.path(), "rocks", 1).unwrap());
        for damage in [&b""[..], b"engine=rocks\n", b"engine=rocks\nformat=one\n", b"\xff\xfe"] {
            fs::write(dir.path().join(IDENTITY), damage).unwrap();
            assert_eq!(DataDirectory::open(dir.path(), "rocks", 1).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn lost_mark_is_corrupt_and_not_a_strangers_directory() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("store.made"), "").unwrap();
        fs::create_dir(dir.path().join("store")).unwrap();
        assert_eq!(DataDirectory::open(dir.path(), "rocks", 1).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn missing_directories_above_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");
        DataDirectory::open(&path, "rocks", 1).unwrap();
        assert!(path.join(IDENTITY).is_file());
    }

    #[test]
    fn unwritable_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DataDirectory::open(file.join("below"), "rocks", 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("file/below"), "{error}");
    }
}
