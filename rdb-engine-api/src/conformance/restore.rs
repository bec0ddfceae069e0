//! Restores: all of a view or nothing, its versions kept, and a line that goes on above them.

use std::time::{Duration, UNIX_EPOCH};

use futures::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Context;
use super::db::{Db, committed, conflicted, drain, filler, key, must, refused, text_of, until};
use crate::{
    Batch, Clock as _, Commit, Condition, Durability, Entry, EntryStream, Error, ErrorKind, KeyRange, Limits,
    Record, Result, Scan, SystemClock, Version, View, WriteOptions,
};

/// Every entry and the view that shows it.
async fn all(db: &Db) -> View<Vec<Entry>> {
    db.scan(Scan::new(KeyRange::all())).await
}

/// A view of these entries, in chunks of some hundred.
fn view_of(version: Version, entries: &[Entry]) -> View<EntryStream> {
    let chunks: Vec<_> = entries.chunks(300).map(|chunk| Ok(chunk.to_vec())).collect();
    View { version, data: stream::iter(chunks).boxed() }
}

async fn restored(db: &Db, view: View<EntryStream>) -> Commit {
    must(db.engine().restore(view).await, "a restore into an empty engine")
}

/// So many entries of a view of this version, each with a version of its own below it. With 10,000, an engine
/// that writes a restore as it comes has something to remove when that breaks off.
fn entries(count: u64, bytes: usize, view: Version) -> Vec<Entry> {
    let entry = |number: u64| {
        let name = format!("k{number:05}");
        let version = Version::new((view.get() - count + number).max(1)).expect("not 0");
        Entry::new(key(&name), Some(Record::new(filler(&name, bytes), version)))
    };
    (0..count).map(entry).collect()
}

fn version(number: u64) -> Version {
    Version::new(number).expect("not 0")
}

/// The wall clock as the line of versions counts it.
fn micros() -> u64 {
    let now = SystemClock::new().wall().duration_since(UNIX_EPOCH);
    now.expect("the clock is not set back to before 1970").as_micros() as u64
}

async fn assert_nothing_was_restored(db: &Db, after: &str) {
    // The engine may be busy for a while with removing what it had taken in.
    let found = until(async || match db.engine().scan(Scan::new(KeyRange::all())).await {
        Err(error) if error.kind() == ErrorKind::Unavailable => None,
        opened => Some(drain(must(opened, "opening a scan").data).await),
    });
    let found = must(found.await, "a scan").len();
    assert_eq!(
        found, 0,
        "all of a view is restored, or nothing ever is (C19): {found} records after {after}"
    );
}

/// A restore under way whose stream the case feeds, and can let rest.
struct UnderWay {
    chunks: mpsc::Sender<Result<Vec<Entry>>>,
    restore: JoinHandle<Result<Commit>>,
}

impl UnderWay {
    /// Begins a restore, and waits until the engine is seen to be in it.
    async fn begin(db: &Db, view: Version, first: &[Entry]) -> Self {
        let (chunks, received) = mpsc::channel(1);
        let chunks_of = stream::unfold(received, |mut received: mpsc::Receiver<_>| async {
            received.recv().await.map(|chunk| (chunk, received))
        });
        let (engine, data) = (db.engine_arc(), chunks_of.boxed());
        let restore = tokio::spawn(async move { engine.restore(View { version: view, data }).await });
        let under_way = Self { chunks, restore };
        under_way.feed(first).await;
        until(async || match db.engine().get(&key("k00000")).await {
            Ok(None) => None,
            Ok(Some(_)) => panic!("nothing of a restore is visible before all of it is (C19)"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
                Some(())
            }
        })
        .await;
        under_way
    }

    /// Returns when the engine has taken all but the last few.
    async fn feed(&self, entries: &[Entry]) {
        for chunk in entries.chunks(50) {
            // An engine that takes no more says why in its answer.
            let _ = self.chunks.send(Ok(chunk.to_vec())).await;
        }
    }

    async fn finish(self) -> Result<Commit> {
        drop(self.chunks);
        self.restore.await.expect("a restore does not panic")
    }

    /// Goes on with an error of the stream's.
    async fn break_off(self, error: Error) -> Result<Commit> {
        let _ = self.chunks.send(Err(error)).await;
        self.finish().await
    }
}

/// C19: what is restored is the view, record for record, with its versions.
pub(super) async fn c19_a_restore_keeps_keys_values_and_versions(cx: &Context) {
    let elsewhere = cx.fresh();
    let source = elsewhere.open().await;
    let names = source.fill("k", 3_000, 50).await;
    source.put([0xff; 300], "").await;
    source.put([0], filler("long", 60_000)).await;
    source.commit(names[10..90].iter().fold(Batch::new(), |batch, name| batch.delete(key(name)))).await;
    source.put(&names[20], "again").await;
    let before = all(&source).await;
    let target = cx.open().await;
    let commit = restored(&target, source.open_scan(Scan::new(KeyRange::all())).await).await;
    let after = all(&target).await;
    assert!(
        after.data == before.data,
        "a restore keeps keys, values and versions (C19): {} records then, {} now",
        before.data.len(),
        after.data.len()
    );
    assert_eq!(
        commit.version, after.version,
        "a restore answers with the version of the view after it (C19)"
    );
    let best = target.engine().info().best_durability;
    assert_eq!(commit.durability, best, "a restore is as safe as the engine's best (C9, C19)");
    let kept = before.data[0].record.as_ref().expect("a record").version;
    committed(target.put_when([0], Condition::Version(kept), "next").await);
    conflicted(target.put_when([0xff; 300], Condition::Version(kept), "next").await);
    elsewhere.stop().await;
}

/// C5, C19: the line goes on above the restored view, even where that is ahead of the clock.
pub(super) async fn c19_the_line_goes_on_above_a_view_from_the_future(cx: &Context) {
    let db = cx.open().await;
    let view = version(micros() + 1_000_000_000_000);
    let commit = restored(&db, view_of(view, &entries(10, 10, view))).await;
    let put = db.put("new", "v").await;
    assert!(
        commit.version > view && put > commit.version,
        "the line goes on above every version restored (C5, C19): view {view}, restored as {}, put {put}",
        commit.version
    );
    let db = cx.reopen().await;
    let put_then = db.put("new", "w").await;
    let kept = db.engine().info().best_durability > Durability::Volatile;
    assert!(!kept || put_then > put, "a reopen gives no version twice (C5): {put_then} after {put}");
}

/// C5, C19: the line goes on above what the engine had shown, and above the clock, by which the line that
/// the view is from may have gone on.
pub(super) async fn c19_the_line_never_goes_back_to_an_older_views(cx: &Context) {
    let db = cx.open().await;
    db.put("k", "v").await;
    let shown = committed(db.delete("k").await).version;
    let (view, now) = (version(1_000), micros());
    let commit = restored(&db, view_of(view, &entries(10, 10, view))).await;
    assert!(
        commit.version > shown && commit.version.get() > now,
        "a restore ends above every version shown and above the clock (C5, C19): shown {shown}, now {now}, \
         restored as {}",
        commit.version
    );
}

/// C19: an engine that holds a record refuses; one whose records were deleted does not.
pub(super) async fn c19_an_engine_that_is_not_empty_refuses(cx: &Context) {
    let db = cx.open().await;
    let put = db.put("there", "v").await;
    let view = version(1_000);
    let error = refused(
        db.engine().restore(view_of(view, &entries(10, 10, view))).await,
        "a restore into an engine that is not empty (C19)",
    );
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{}", error.report());
    assert_eq!(db.dump().await, [("there".to_owned(), "v".to_owned())], "a refused restore changes nothing");
    assert_eq!(db.version().await, put, "a refused restore takes no version (C10, C19)");
    committed(db.delete("there").await);
    restored(&db, view_of(view, &entries(10, 10, view))).await;
    assert_eq!(db.dump().await.len(), 10, "an engine whose records were deleted is empty (C19)");
}

/// C19: an empty view can be restored, too.
pub(super) async fn c19_an_empty_view_is_restored(cx: &Context) {
    let db = cx.open().await;
    let commit = restored(&db, view_of(version(1_000), &[])).await;
    assert_eq!(db.version().await, commit.version, "the view after a restore has its version (C19)");
    assert_nothing_was_restored(&db, "the restore of an empty view").await;
}

/// C19: records out of order, newer than their view, without a value or beyond the limits are refused.
pub(super) async fn c19_a_view_that_cannot_be_one_is_refused_and_nothing_restored(cx: &Context) {
    let db = cx.open().await;
    let limit = db.engine().info().limits.max_value_bytes;
    let view = version(1_000_000);
    let good = entries(10_000, 20, view);
    let with = |last: Entry| {
        let mut bad = good.clone();
        bad.push(last);
        bad
    };
    let record = |bytes: usize, version: Version| Some(Record::new(filler("v", bytes), version));
    let newer = version(view.get() + 1);
    for (what, bad) in [
        ("a key out of order", with(Entry::new(key("a"), record(1, view)))),
        ("a key that comes twice", with(Entry::new(key("k00999"), record(1, view)))),
        ("a record newer than its view", with(Entry::new(key("z"), record(1, newer)))),
        ("a key without a record", with(Entry::new(key("z"), None))),
        ("a value beyond the limit", with(Entry::new(key("z"), record(limit + 1, view)))),
    ] {
        let error = refused(db.engine().restore(view_of(view, &bad)).await, what);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{what}: {}", error.report());
        assert_nothing_was_restored(&db, what).await;
    }
    restored(&db, view_of(view, &good)).await;
    assert!(all(&db).await.data == good, "after a refused restore the next one is whole (C19)");
}

/// C19: a stream that breaks off leaves nothing, and the engine can be used.
pub(super) async fn c19_a_stream_that_breaks_off_leaves_nothing(cx: &Context) {
    let db = cx.open().await;
    let view = version(1_000_000);
    let good = entries(10_000, 20, view);
    for round in 0..2 {
        let under_way = UnderWay::begin(&db, view, &good).await;
        let broken = Error::new(ErrorKind::Corrupt, "this stream breaks off");
        let error = refused(under_way.break_off(broken).await, "a restore whose stream breaks off (C19)");
        assert!(!error.may_have_been_applied(), "nothing was restored, and the engine knows (C10): {error}");
        assert_nothing_was_restored(&db, "a stream that broke off").await;
        if round == 0 {
            db.put("used", "v").await;
            committed(db.delete("used").await);
        }
    }
    restored(&db, view_of(view, &good)).await;
    assert!(all(&db).await.data == good, "after a restore that failed the next one is whole (C19)");
}

/// C10, C19: a restore that its caller gives up leaves nothing.
pub(super) async fn c19_a_restore_given_up_leaves_nothing(cx: &Context) {
    let db = cx.open().await;
    let view = version(1_000_000);
    let under_way = UnderWay::begin(&db, view, &entries(10_000, 20, view)).await;
    under_way.restore.abort();
    assert_nothing_was_restored(&db, "a restore that was given up").await;
    db.put("used", "v").await;
    drop(under_way.chunks);
}

/// C14, C19: a stream at rest does not hold the engine for ever, nor does one whose chunks hold nothing.
pub(super) async fn c19_a_stream_at_rest_is_given_up(cx: &Context) {
    let limits = Limits { scan_idle: Duration::from_millis(200), ..Limits::default() };
    let db = cx.open_with(limits).await;
    let view = version(1_000_000);
    let empty = stream::repeat_with(|| Ok(Vec::new())).then(|chunk| async {
        tokio::task::yield_now().await;
        chunk
    });
    for (what, rest) in [("rests", stream::pending().boxed()), ("holds nothing", empty.boxed())] {
        let some = view_of(view, &entries(500, 10, view));
        let resting = View { version: view, data: some.data.chain(rest).boxed() };
        let error =
            refused(db.engine().restore(resting).await, &format!("a restore whose stream {what} (C14, C19)"));
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{}", error.report());
        assert_nothing_was_restored(&db, &format!("a stream that {what}")).await;
    }
}

/// C19: during a restore every call but the close answers `Unavailable` and does nothing; a scan that was
/// open before keeps its view.
pub(super) async fn c19_reads_and_writes_during_a_restore_are_unavailable(cx: &Context) {
    let db = cx.open().await;
    let earlier = db.open_scan(Scan::new(KeyRange::all())).await;
    let view = version(1_000_000);
    let records = entries(1_000, 100, view);
    let under_way = UnderWay::begin(&db, view, &records[..500]).await;
    let write = Batch::new().put(key("written"), "v");
    let assertion = Batch::new().when(key("k00000"), Condition::Absent);
    let engine = db.engine();
    for (what, result) in [
        ("a get", engine.get(&key("k00000")).await.map(drop)),
        ("a get of several keys", engine.get_many(&[key("k00000")]).await.map(drop)),
        ("a scan", engine.scan(Scan::new(KeyRange::all())).await.map(drop)),
        ("a write", engine.write(write, WriteOptions::default()).await.map(drop)),
        ("an assertion", engine.write(assertion, WriteOptions::default()).await.map(drop)),
        ("another restore", engine.restore(view_of(view, &records)).await.map(drop)),
    ] {
        let error = refused(result, &format!("{what} during a restore (C19)"));
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{what} during a restore (C19): {}", error.report());
    }
    under_way.feed(&records[500..]).await;
    must(under_way.finish().await, "a restore");
    assert!(all(&db).await.data == records, "what was refused during a restore did nothing (C10, C19)");
    let kept = must(drain(earlier.data).await, "a scan that was open before").len();
    assert_eq!(kept, 0, "a scan that was open before a restore keeps its view (C8, C19): {kept} records");
}

/// C2, C19: readers see nothing of the view or all of it.
pub(super) async fn c19_readers_among_a_restore_see_all_or_nothing(cx: &Context) {
    const COUNT: usize = 4_000;
    let db = cx.open().await;
    let view = version(1_000_000);
    let records = entries(COUNT as u64, 200, view);
    let readers: Vec<_> = (0..4)
        .map(|reader| {
            let db = db.clone();
            tokio::spawn(async move {
                let (first, last) = (key("k00000"), key(format!("k{:05}", COUNT - 1)));
                loop {
                    let seen = match reader % 2 {
                        0 => match db.engine().get_many(&[last.clone(), first.clone()]).await {
                            Ok(read) => Ok(read.data.iter().flatten().count() * COUNT / 2),
                            Err(error) => Err(error),
                        },
                        _ => match db.engine().scan(Scan::new(KeyRange::all())).await {
                            Ok(scan) => drain(scan.data).await.map(|entries| entries.len()),
                            Err(error) => Err(error),
                        },
                    };
                    match seen {
                        Ok(COUNT) => break,
                        Ok(0) => {}
                        Ok(some) => panic!("all of a view is seen, or nothing (C2, C19): {some} of {COUNT}"),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
                        }
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    restored(&db, view_of(view, &records)).await;
    for reader in readers {
        if let Err(error) = reader.await {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// C12, C19: a close ends a restore, and what is opened then is empty.
pub(super) async fn c19_a_close_ends_a_restore_and_leaves_nothing(cx: &Context) {
    let db = cx.open().await;
    let view = version(1_000_000);
    let UnderWay { chunks, restore } = UnderWay::begin(&db, view, &entries(10_000, 20, view)).await;
    let db = cx.reopen().await;
    let error = refused(restore.await.expect("a restore does not panic"), "a restore during a close (C12)");
    assert!(!error.may_have_been_applied(), "a close ends a restore before its end (C10, C19): {error}");
    assert_nothing_was_restored(&db, "a close").await;
    drop(chunks);
}

/// C9, C19: what was restored is there after a reopen and after a crash.
pub(super) async fn c19_what_was_restored_survives_a_reopen_and_a_crash(cx: &Context) {
    let db = cx.open().await;
    let view = version(micros());
    let records = entries(10_000, 20, view);
    let commit = restored(&db, view_of(view, &records)).await;
    let mut db = cx.crash().await;
    for end in ["a crash", "a reopen"] {
        let found = all(&db).await;
        assert!(
            found.data == records,
            "what was restored is there after {end} (C9, C19): {} records of {}",
            found.data.len(),
            records.len()
        );
        assert!(found.version >= commit.version, "the view's version never goes back after {end} (C5)");
        db = cx.reopen().await;
    }
    let put = db.put("new", "v").await;
    assert!(put > commit.version, "no version is given twice (C5): {put} after {}", commit.version);
}

/// C2, C19: a crash in the middle of a restore leaves nothing.
pub(super) async fn c19_a_crash_in_the_middle_of_a_restore_leaves_nothing(cx: &Context) {
    let db = cx.open().await;
    let shown = db.version().await;
    let view = version(1_000_000);
    // Enough that an engine which writes it as it comes has written some, and handed it to the operating system.
    let records = entries(2_500, 16 << 10, view);
    let UnderWay { chunks, restore } = UnderWay::begin(&db, view, &records).await;
    let db = cx.crash().await;
    drop(restore.await);
    assert_nothing_was_restored(&db, "a crash in the middle").await;
    let put = db.put("used", "v").await;
    assert!(put > shown, "no version is given twice (C5): {put} after {shown}");
    committed(db.delete("used").await);
    let db = cx.reopen().await;
    assert_nothing_was_restored(&db, "a crash in the middle and a reopen").await;
    restored(&db, view_of(view, &records)).await;
    assert!(all(&db).await.data == records, "after a crash the next restore is whole (C19)");
    drop(chunks);
}

/// C19: an engine that was moved to another one and back is the same.
pub(super) async fn c19_an_engine_moved_there_and_back_is_equal(cx: &Context) {
    let (first, second) = (cx.fresh(), cx.fresh());
    let source = first.open().await;
    source.fill("k", 1_000, 100).await;
    committed(source.delete("k00500").await);
    let before = all(&source).await;
    let between = second.open().await;
    let moved = restored(&between, source.open_scan(Scan::new(KeyRange::all())).await).await;
    let back = cx.open().await;
    let again = restored(&back, between.open_scan(Scan::new(KeyRange::all())).await).await;
    assert!(all(&back).await.data == before.data, "an engine moved there and back is equal (C19)");
    assert!(
        again.version > moved.version && moved.version > before.version,
        "each move goes on above the one before (C5, C19): {}, {}, {}",
        before.version,
        moved.version,
        again.version
    );
    let current = back.get("k00001").await.map(|record| text_of(&record));
    assert!(current.is_some(), "what was moved can be read by its key");
    first.stop().await;
    second.stop().await;
}
