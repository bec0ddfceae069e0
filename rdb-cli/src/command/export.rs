use std::io::Write;
use std::path::{Path, PathBuf};

use futures::TryStreamExt as _;
use rdb_client::{Engine, KeyRange, Scan, Version};
use serde_json::json;
use tempfile::NamedTempFile;

use crate::args;
use crate::failure::{Exit, Failure};
use crate::format::Format;
use crate::output::{Output, Print};
use crate::progress::Progress;

/// Writes all records of one view.
pub(crate) async fn export(engine: &dyn Engine, args: args::Export, out: &mut Output) -> Result<(), Failure> {
    let format = args.format()?;
    let scan = Scan::new(KeyRange::prefix(args.prefix.unwrap_or_default()));
    let (count, version) = match args.output {
        None => records(engine, scan, format, |lines| out.bytes(lines)).await?,
        Some(path) => {
            let mut file = UnfinishedFile::create(path)?;
            let done = records(engine, scan, format, |lines| file.write(lines)).await?;
            file.finish()?;
            if out.print == Print::Json {
                out.json(&json!({ "records": done.0, "version": done.1.get() }))?;
            }
            done
        }
    };
    out.finish()?;
    eprintln!("exported {count} records at version {version}");
    Ok(())
}

async fn records(
    engine: &dyn Engine,
    scan: Scan,
    format: Format,
    mut write: impl FnMut(&[u8]) -> Result<(), Failure> + Send,
) -> Result<(u64, Version), Failure> {
    let progress = Progress::begin(None);
    let mut view = engine.scan(scan).await?;
    let (mut count, mut lines) = (0, Vec::new());
    while let Some(entries) = view.data.try_next().await? {
        lines.clear();
        for entry in &entries {
            let Some(record) = &entry.record else {
                return Err(Failure::new(Exit::Error, "node sent a key without its record"));
            };
            let encoded = format.encode(&entry.key, &record.value, &mut lines);
            encoded.map_err(|reason| Failure::new(Exit::Error, format!("export is not whole: {reason}")))?;
            count += 1;
        }
        write(&lines)?;
        progress.advance(lines.len() as u64, count);
    }
    Ok((count, view.version))
}

/// A file under a temporary name, which takes its own name only when it is whole, and goes away otherwise.
struct UnfinishedFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl UnfinishedFile {
    fn create(path: PathBuf) -> Result<Self, Failure> {
        // In the same directory: a rename does not cross file systems.
        let directory = match path.parent() {
            Some(directory) if directory != Path::new("") => directory,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".rdb-export-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // As any other new file: the process's mask decides.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(directory);
        let file = file.map_err(|error| Failure::io(&format!("cannot write {}", path.display()), &error))?;
        Ok(Self { file, path })
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), Failure> {
        let written = self.file.write_all(lines);
        written.map_err(|error| Failure::io(&format!("cannot write {}", self.path.display()), &error))
    }

    /// Makes it safe, then gives it its name.
    fn finish(self) -> Result<(), Failure> {
        let Self { file, path } = self;
        let done = file.as_file().sync_all().and_then(|()| {
            file.persist(&path)?;
            Ok(())
        });
        done.map_err(|error| Failure::io(&format!("cannot write {}", path.display()), &error))
    }
}
