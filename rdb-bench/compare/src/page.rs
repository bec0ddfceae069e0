//! Pages of the library's report: written, and drawn again from its JSON.

use std::fs::{self, OpenOptions};
use std::path::Path;

use rdb_bench::Report;

use crate::failure::Result;

/// Finds out before anything is measured whether a file can be written; what it holds stays.
pub(crate) fn writable(file: &Path) -> Result<()> {
    let is_new = !file.exists();
    OpenOptions::new().append(true).create(true).open(file).map_err(|error| named(file, &error))?;
    if is_new {
        fs::remove_file(file)?;
    }
    Ok(())
}

/// Writes a file.
pub(crate) fn write(file: &Path, text: &str) -> Result<()> {
    Ok(fs::write(file, text).map_err(|error| named(file, &error))?)
}

/// Draws the page of a report's JSON beside it.
pub(crate) fn draw(json: &Path) -> Result<()> {
    let text =
        fs::read_to_string(json).map_err(|error| format!("cannot read {}: {error}", json.display()))?;
    let report: Report =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", json.display()))?;
    write(&json.with_extension("html"), &report.html())
}

fn named(file: &Path, error: &std::io::Error) -> String {
    format!("cannot write {}: {error}", file.display())
}
