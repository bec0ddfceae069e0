//! Directories of others, unknown formats and damaged bytes (C13).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::Context;
use super::db::{Db, committed, drain, filler, key, must, record_of, refused};
use crate::{Batch, Condition, Error, ErrorKind, Key, KeyRange, Result, Scan, Version};

/// The file that [`DataDirectory`](crate::DataDirectory) marks a directory with.
const MARK: &str = "FLAREDB";

/// Writes a little and closes; returns the directory with what was left.
async fn left_behind(cx: &Context) -> PathBuf {
    let db = cx.open().await;
    db.put("k", "v").await;
    cx.stop().await;
    cx.directory()
}

async fn check_refused(cx: &Context, what: &str) -> Error {
    let before = files(&cx.directory());
    let error = refused(cx.open_at(&cx.directory()).await.map(drop), what);
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{what} (C13): {}", error.report());
    let after = files(&cx.directory());
    assert_eq!(after, before, "{what}: a directory that is refused is left as it was (C13)");
    error
}

/// Every file below a directory with its bytes, but for locks, which carry nothing.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("the directory can be read") {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.to_string_lossy().to_ascii_lowercase().ends_with("lock") {
            let bytes = fs::read(&path).expect("the file can be read");
            found.insert(path, bytes);
        }
    }
    found
}

/// C13: a format that the engine does not know is refused.
pub(super) async fn c13_an_unknown_format_is_refused(cx: &Context) {
    let mark = left_behind(cx).await.join(MARK);
    let text = fs::read_to_string(&mark).expect("an engine's directory begins with its mark (C13)");
    let (engine, format) =
        text.trim_end().split_once("\nformat=").expect("the mark names engine and format (C13)");
    let known: u32 = format.parse().expect("a format is a number (C13)");
    fs::write(&mark, format!("{engine}\nformat={}\n", known + 1)).expect("the mark can be written");
    let error = check_refused(cx, "a directory of an unknown format is refused").await;
    let names_it = error.report().contains(&(known + 1).to_string());
    assert!(names_it, "the error names the format that it does not know: {}", error.report());

    fs::write(&mark, text).expect("the mark can be written");
    let db = must(cx.open_again().await, "opening the directory with its own mark");
    assert_eq!(db.text("k").await.as_deref(), Some("v"), "the refusals changed nothing (C13)");
}

/// C13: another engine's directory is refused.
pub(super) async fn c13_another_engines_directory_is_refused(cx: &Context) {
    let mark = left_behind(cx).await.join(MARK);
    let text = fs::read_to_string(&mark).expect("an engine's directory begins with its mark (C13)");
    let (_, format) = text.split_once('\n').expect("the mark names engine and format (C13)");
    fs::write(&mark, format!("engine=other\n{format}")).expect("the mark can be written");
    let error = check_refused(cx, "another engine's directory is refused").await;
    assert!(error.report().contains("other"), "the error names the other engine: {}", error.report());
}

/// C13: a directory with files that are not FlareDB's is refused, and left alone.
pub(super) async fn c13_a_strangers_directory_is_refused(cx: &Context) {
    fs::write(cx.directory().join("holiday.txt"), "mine").expect("the file can be written");
    check_refused(cx, "a directory that holds a stranger's files is refused").await;
}

/// C13: a damaged mark is not taken for that of an empty directory.
pub(super) async fn c13_a_damaged_mark_is_refused(cx: &Context) {
    let mark = left_behind(cx).await.join(MARK);
    let text = fs::read_to_string(&mark).expect("an engine's directory begins with its mark (C13)");
    for damaged in ["", "engine=", "\0\0\0\0", &text[..text.len() / 2], "format=1\n"] {
        fs::write(&mark, damaged).expect("the mark can be written");
        let error =
            refused(cx.open_at(&cx.directory()).await.map(drop), "a directory whose mark is damaged (C13)");
        let known = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::InvalidArgument);
        assert!(known, "a damaged mark is Corrupt (C13): {}: {}", error.kind(), error.report());
    }
    fs::write(&mark, text).expect("the mark can be written");
    let db = must(cx.open_again().await, "opening the directory with its own mark");
    assert_eq!(db.text("k").await.as_deref(), Some("v"), "the refusals changed nothing (C13)");
}

const RECORDS: usize = 120;
/// How many places are damaged, one at a time.
const PLACES: usize = 40;

/// Every commit of a store, in order: key, version, value.
type History = Vec<(String, Version, Bytes)>;
type Found = BTreeMap<String, (Version, Bytes)>;

/// C13: a flipped bit in what an orderly close left makes an error, or no difference. It never gives a wrong
/// value, and not an earlier state either: there is no crash to explain one.
pub(super) async fn c13_a_flipped_bit_never_gives_a_wrong_value(cx: &Context) {
    let noticed = damaged(cx, "a bit flipped", |bytes, offset| bytes[offset] ^= 0x10).await;
    assert!(noticed > 0, "of all the flipped bits at least one is noticed (C13)");
}

/// C13: a file that was cut short after an orderly close makes an error, or no difference, but never gives a
/// wrong value or an earlier state.
pub(super) async fn c13_a_file_cut_short_never_gives_a_wrong_value(cx: &Context) {
    damaged(cx, "cut", Vec::truncate).await;
}

/// Damages the files of an engine, in a copy for each place, and checks what is there then; returns how
/// often that was noticed.
async fn damaged(cx: &Context, what: &str, damage: fn(&mut Vec<u8>, usize)) -> usize {
    let db = cx.open().await;
    let mut history = History::new();
    for number in 0..RECORDS {
        let name = format!("k{number:03}");
        for value in [filler("an older value", 40), filler(&name, 300 + number)] {
            history.push((name.clone(), db.put(&name, value.clone()).await, value));
        }
    }
    cx.stop().await;
    let places = places(&cx.directory());
    // Every n-th, so that all files have their share.
    let step = places.len().div_ceil(PLACES);
    let mut noticed = 0;
    for (file, offset) in places.into_iter().step_by(step) {
        let image = cx.copy().await;
        let path = image.join(&file);
        let mut bytes = fs::read(&path).expect("the file can be read");
        damage(&mut bytes, offset);
        fs::write(&path, bytes).expect("the file can be written");
        let place = format!("{what} at {offset} of {}", file.display());
        match cx.open_at(&image).await {
            Err(_) => noticed += 1,
            Ok(running) => {
                noticed += check_all(&Db::new(Arc::clone(running.engine())), &history, &place).await;
                // Even an orderly close may stumble over the damage.
                drop(running.stop().await);
            }
        }
        fs::remove_dir_all(&image).expect("the copy can be removed");
    }
    noticed
}

/// Places worth some damage: in every file that carries data, its ends and points between.
fn places(directory: &Path) -> Vec<(PathBuf, usize)> {
    const POINTS: usize = 24;
    let mut places = Vec::new();
    for (path, bytes) in files(directory) {
        let file = path.strip_prefix(directory).expect("the file is below the directory").to_owned();
        if file.as_os_str() == MARK || bytes.is_empty() {
            continue;
        }
        let last = bytes.len() - 1;
        let mut offsets: Vec<usize> = (0..=POINTS).map(|point| point * last / POINTS).collect();
        offsets.dedup();
        places.extend(offsets.into_iter().map(|offset| (file.clone(), offset)));
    }
    places
}

/// Reads everything in all three ways and compares it with what was written; returns how many reads failed.
async fn check_all(db: &Db, history: &History, place: &str) -> usize {
    let mut failed = 0;
    let mut found = Found::new();
    let names: BTreeSet<&String> = history.iter().map(|(name, ..)| name).collect();
    let keys: Vec<Key> = names.iter().map(key).collect();
    // First, so that nothing is in memory yet.
    let at_once = db.engine().get_many(&keys).await;
    for name in names {
        match db.engine().get(&key(name)).await {
            Ok(Some(record)) => drop(found.insert(name.clone(), (record.version, record.value))),
            Ok(None) => {}
            Err(error) => failed += honest(&error, place),
        }
    }
    match at_once {
        Ok(view) => {
            let many = keys.iter().zip(view.data);
            let many: Found = many
                .filter_map(|(key, record)| Some((key.to_string(), record?)))
                .map(|(name, record)| (name, (record.version, record.value)))
                .collect();
            assert!(failed > 0 || many == found, "{place}: a get of several keys and gets disagree (C13)");
        }
        Err(error) => failed += honest(&error, place),
    }
    match scan(db).await {
        Ok(scanned) => assert!(failed > 0 || scanned == found, "{place}: a scan and gets disagree (C13)"),
        Err(error) => failed += honest(&error, place),
    }
    for (name, (version, value)) in &found {
        let written =
            history.iter().any(|commit| (&commit.0, &commit.1, &commit.2) == (name, version, value));
        assert!(written, "{place}: `{name}` has a value that was never written (C13)");
    }
    if failed == 0 {
        let all: Found =
            history.iter().map(|(name, version, value)| (name.clone(), (*version, value.clone()))).collect();
        let lost = all.iter().filter(|(name, record)| found.get(*name) != Some(*record)).count();
        assert!(
            lost == 0,
            "{place}: {lost} of {} records that were there at an orderly close are missing or older, and \
             nothing says so (C13, C9)",
            all.len(),
        );
    }
    failed
}

async fn scan(db: &Db) -> Result<Found> {
    let entries = drain(db.engine().scan(Scan::new(KeyRange::all())).await?.data).await?;
    let found = entries.iter().map(|entry| (entry.key.to_string(), record_of(entry)));
    Ok(found.map(|(name, record)| (name, (record.version, record.value.clone()))).collect())
}

fn honest(error: &Error, place: &str) -> usize {
    let report = error.report();
    assert_eq!(
        error.kind(),
        ErrorKind::Corrupt,
        "{place}: bytes that fail validation are Corrupt (C13): {report}"
    );
    1
}

/// C13: a copy of the files is the same engine: nothing that counts is kept elsewhere.
pub(super) async fn c13_a_copied_directory_opens_with_everything_in_it(cx: &Context) {
    let db = cx.open().await;
    let version = db.put("k", "v").await;
    committed(db.write(Batch::new().when(key("k"), Condition::Version(version)).put(key("l"), "w")).await);
    let before = db.scan(Scan::new(KeyRange::all())).await;
    cx.stop().await;
    let copy = cx.copy().await;
    let running = must(cx.open_at(&copy).await, "opening a copy");
    let after = Db::new(Arc::clone(running.engine())).scan(Scan::new(KeyRange::all())).await;
    assert_eq!(after.data, before.data, "a copied directory holds the same records (C13)");
    must(running.stop().await, "close");
}
