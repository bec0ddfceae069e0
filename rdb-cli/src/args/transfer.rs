use std::path::{Path, PathBuf};
use std::time::Duration;

use rdb_client::Bytes;

use super::Write;
use super::parse::{bytes, ttl};
use crate::failure::{Exit, Failure};
use crate::format::Format;

/// Store all records of a file
///
/// tsv: key, TAB, value, newline, with no escapes. jsonl: one {"key": .., "value": ..} a line, both in
/// base64, for any bytes. Where a key occurs twice, the later line wins. A line that makes no sense ends the
/// import behind the lines before it; what was stored stays. Importing the same file again is safe.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  zcat packages.tsv.gz | rdb import --format tsv -")]
pub(crate) struct Import {
    /// What the file holds; told by its ending if this is not given
    #[arg(long)]
    pub(crate) format: Option<Format>,

    /// The file; `-` for standard input
    pub(crate) file: PathBuf,

    /// Remove the records when so much time has passed since each was stored: 500ms, 30s, 5m, 12h, 7d
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    pub(crate) ttl: Option<Duration>,

    #[command(flatten)]
    pub(crate) write: Write,
}

/// Write all records of one view to a file or standard output
///
/// Formats are those of import. tsv refuses a record that holds a TAB or newline; jsonl carries any bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rdb export --format jsonl --output backup.jsonl")]
pub(crate) struct Export {
    /// What to write; told by the ending of --output if this is not given
    #[arg(long)]
    pub(crate) format: Option<Format>,

    /// Only keys that begin with this
    #[arg(long, value_parser = bytes(), allow_hyphen_values = true)]
    pub(crate) prefix: Option<Bytes>,

    /// The file, which appears only when it is whole; `-`, or without this: standard output.
    /// A device or pipe is written to as it stands
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Write all records of one view, with their versions, to a file that can be restored
///
/// The node goes on meanwhile. The file ends with a SHA-256 over all of it, so that no damage goes unseen.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rdb backup monday.backup && rdb verify monday.backup")]
pub(crate) struct Backup {
    /// The file, which appears only when it is whole, in place of one that is there; `-` for standard output
    pub(crate) file: PathBuf,
}

/// Fill an empty node with a backup: all of it, or nothing
///
/// The file is verified first, from its first byte to its last. Records keep their versions; the node may
/// have another engine than the one that the backup is of.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rdb restore monday.backup --endpoints 127.0.0.1:7441")]
pub(crate) struct Restore {
    /// The file
    pub(crate) file: PathBuf,
}

/// Check a backup, from its first byte to its last; no node is asked
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rdb verify monday.backup -o json")]
pub(crate) struct Verify {
    /// The file
    pub(crate) file: PathBuf,
}

impl Import {
    /// What the file holds.
    pub(crate) fn format(&self) -> Result<Format, Failure> {
        self.format.or_else(|| Format::of(&self.file)).ok_or_else(which_format)
    }
}

impl Export {
    /// What to write.
    pub(crate) fn format(&self) -> Result<Format, Failure> {
        self.format.or_else(|| Format::of(self.file()?)).ok_or_else(which_format)
    }

    /// Where to write; none for standard output.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| !is_standard_output(path))
    }
}

impl Backup {
    /// Where to write; none for standard output.
    pub(crate) fn file(&self) -> Option<&Path> {
        Some(&*self.file).filter(|path| !is_standard_output(path))
    }
}

/// The device would be another name of the stream that is open anyway.
pub(super) fn is_standard_output(path: &Path) -> bool {
    ["-", "/dev/stdout"].map(Path::new).contains(&path)
}

fn which_format() -> Failure {
    Failure::new(Exit::Usage, "which format? give --format tsv or --format jsonl")
}
