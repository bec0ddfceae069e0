use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// Where an export or a backup goes that does not go to standard output.
pub(crate) struct Destination {
    sink: Sink,
    /// As the user wrote it.
    path: PathBuf,
}

enum Sink {
    /// A file under a temporary name, which takes its own name only when it is whole, and goes away
    /// otherwise.
    Unfinished { file: NamedTempFile, path: PathBuf },
    /// A device or a pipe, which is there and stays what it is.
    Direct(File),
}

impl Destination {
    /// Opens it. A pipe that nobody reads keeps the caller waiting.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let sink = Sink::open(path).map_err(|error| failure(path, &error))?;
        Ok(Self { sink, path: path.to_owned() })
    }

    pub(crate) fn write(&mut self, lines: &[u8]) -> Result<(), Failure> {
        self.sink.writer().write_all(lines).map_err(|error| failure(&self.path, &error))
    }

    /// Makes it safe, then gives it its name.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        self.sink.finish().map_err(|error| failure(&self.path, &error))
    }
}

/// For what says itself where it cannot be written.
impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.writer().flush()
    }
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure::io(&format!("cannot write {}", path.display()), error)
}

impl Sink {
    fn open(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(there) if !there.is_file() => Ok(Self::Direct(OpenOptions::new().write(true).open(path)?)),
            // What a link leads to is replaced, not the link.
            Ok(there) => Self::beside(path.canonicalize()?, Some(&there)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::beside(end_of_links(path)?, None),
            Err(error) => Err(error),
        }
    }

    /// Begins a file that takes the place of `there`.
    fn beside(path: PathBuf, there: Option<&Metadata>) -> io::Result<Self> {
        // In the same directory: a rename does not cross file systems.
        let directory = match path.parent() {
            Some(directory) if directory != Path::new("") => directory,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".rdb-unfinished-");
        #[cfg(unix)]
        if there.is_none() {
            use std::os::unix::fs::PermissionsExt as _;
            // As any other new file: the process's mask decides.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(directory)?;
        if let Some(there) = there {
            // What others must not read they must not read afterwards.
            file.as_file().set_permissions(there.permissions())?;
        }
        Ok(Self::Unfinished { file, path })
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Unfinished { file, .. } => file,
            Self::Direct(file) => file,
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Unfinished { file, path } => {
                file.as_file().sync_all()?;
                file.persist(&path)?;
                Ok(())
            }
            Self::Direct(file) => match file.sync_all() {
                // There is nothing to make safe behind a pipe or a terminal.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
                done => done,
            },
        }
    }
}

/// Where a file is to be made that a link may stand for: links to nothing are followed, as a shell does.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    const MOST: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MOST {
        match fs::read_link(&path) {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "too many links"))
}
