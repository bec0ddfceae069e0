use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::controls::{CONTROLS, Control};

const BEGIN: &str = "<!-- the table of defects: begin -->\n";
const END: &str = "<!-- the table of defects: end -->";
/// Set to write the table instead of comparing it.
const BLESS: &str = "FLAREDB_BLESS";

/// A row a defect.
fn table() -> String {
    let mut table = "| clause | defect | the case that catches it |\n|---|---|---|\n".to_owned();
    for Control { clause, defect, case, .. } in CONTROLS {
        writeln!(table, "| {clause} | {defect} | `{case}` |").expect("text can be appended to");
    }
    table
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md")
}

#[test]
fn the_document_has_a_row_for_each_defect() {
    let text = fs::read_to_string(path()).expect("the document can be read");
    let (before, rest) = text.split_once(BEGIN).expect("the document says where the table begins");
    let (kept, after) = rest.split_once(END).expect("the document says where the table ends");
    let table = table();
    if env::var_os(BLESS).is_some() {
        fs::write(path(), format!("{before}{BEGIN}{table}{END}{after}"))
            .expect("the document can be written");
        return;
    }
    assert!(
        kept == table,
        "the table in docs/conformance.md is not what the controls say: \
         run this test with {BLESS}=1 to write it anew, and read what changed"
    );
}
