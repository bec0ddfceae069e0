//! What `docs/engine-authors.md` shows is this crate, whole and word for word.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The lines that are not blank, without their indentation.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// What the tutorial shows of each file: its blocks of Rust or TOML in order. A block's first line names the file.
fn shown() -> BTreeMap<String, String> {
    let tutorial = fs::read_to_string(Path::new(HERE).join("../../docs/engine-authors.md")).unwrap();
    let mut files = BTreeMap::<String, String>::new();
    for block in tutorial.split("\n```").skip(1).step_by(2) {
        let (language, code) = block.split_once('\n').unwrap();
        if ["rust", "toml"].contains(&language) {
            let (name, code) = code.split_once('\n').unwrap();
            files
                .entry(name.trim_start_matches(['/', '#', ' ']).to_owned())
                .or_default()
                .extend([code, "\n"]);
        }
    }
    files
}

#[test]
fn the_tutorial_shows_every_file_whole_and_word_for_word() {
    let shown = shown();
    let names: Vec<&str> = shown.keys().map(String::as_str).collect();
    let files =
        ["Cargo.toml", "src/lib.rs", "src/main.rs", "src/store.rs", "tests/conformance.rs", "tests/power.rs"];
    assert_eq!(names, files);
    for (name, code) in shown {
        let real = lines(&fs::read_to_string(Path::new(HERE).join(&name)).unwrap());
        for (number, (shown, real)) in lines(&code).iter().zip(&real).enumerate() {
            assert_eq!(shown, real, "line {} of {name} that is not blank", number + 1);
        }
        assert_eq!(lines(&code).len(), real.len(), "the tutorial shows {name} to its end, and no more");
    }
}

#[test]
fn a_store_takes_250_lines_at_most_and_a_program_ten_of_code() {
    let source = |name| fs::read_to_string(Path::new(HERE).join("src").join(name)).unwrap();
    assert!(source("store.rs").lines().count() <= 250);
    let main = source("main.rs");
    assert!(main.lines().filter(|line| !line.is_empty() && !line.starts_with("//")).count() <= 10);
}
