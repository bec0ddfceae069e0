//! Watches: what they deliver.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;

use super::Context;
use super::db::{Db, committed, conflicted, key, must, record_of, together, unchanged};
use super::watching::{Effect, Watching, check_told, told, within};
use crate::{
    Batch, Cause, Condition, Key, KeyRange, Op, Outcome, Previous, Record, Scan, Version, Watch, WatchEvent,
};

fn all() -> Watch {
    Watch::new(KeyRange::all())
}

/// What a batch of puts and deletes leaves, where its deletes are of records that are there.
fn effect_of(batch: &Batch, version: Version) -> Effect {
    let effect = batch.ops().iter().map(|(key, op)| {
        let record = match op {
            Op::Put { value, .. } => Some(Record::new(value.clone(), version)),
            Op::Delete => None,
        };
        (key.clone(), record)
    });
    effect.collect()
}

/// C2, C16: whatever a commit does is told, whole and as it is: puts, deletes, swaps, several keys at once, and
/// of two operations on one key the last.
pub(super) async fn c16_a_watch_tells_each_commit_as_it_is(cx: &Context) {
    let db = cx.open().await;
    db.put("before", "v").await;
    let mut watch = Watching::open(&db, all()).await;
    let many = (0..200).fold(Batch::new(), |batch, number| batch.put(key(format!("m{number:03}")), "v"));
    let batches = [
        Batch::new().put(key("a"), "one"),
        Batch::new().put(key("a"), "one"),
        Batch::new().put(key("empty"), ""),
        Batch::new().when(key("a"), Condition::Present).put(key("a"), "two"),
        Batch::new().put(key("z"), "v").put(key("b"), "v").delete(key("a")),
        Batch::new().put(key("twice"), "first").put(key("twice"), "last"),
        Batch::new().delete(key("b")).put(key("b"), "anew"),
        Batch::new().put(key("b"), "for nothing").delete(key("b")),
        Batch::new().delete(key("before")),
        many,
        Batch::new().put(key([0]), vec![0xff; 1_000]).put(key([0xff; 40]), "v"),
    ];
    let mut promised = Vec::new();
    for batch in batches {
        let version = db.commit(batch.clone()).await.version;
        promised.push((version, effect_of(&batch, version)));
    }
    let commits = watch.up_to(promised.last().expect("there were some").0).await;
    check_told(&told(&commits), &promised, "one watch of everything");
    let causes = commits.iter().all(|commit| commit.cause == Cause::Write);
    assert!(causes, "a caller's write is told as one (C16)");
}

/// C4, C16: what is no commit is not told: conflicts, batches that change nothing, and in a batch the deletes
/// of keys that were absent.
pub(super) async fn c16_what_changes_nothing_is_not_told(cx: &Context) {
    let db = cx.open().await;
    db.put("k", "v").await;
    let mut watch = Watching::open(&db, all()).await;
    drop(conflicted(db.put_when("k", Condition::Absent, "w").await));
    let half = Batch::new().put(key("l"), "w").when(key("k"), Condition::Value(Bytes::from_static(b"w")));
    drop(conflicted(db.write(half).await));
    unchanged(db.write(Batch::new().when(key("k"), Condition::Present)).await);
    unchanged(db.delete("absent").await);
    unchanged(db.write(Batch::new().put(key("absent"), "v").delete(key("absent"))).await);
    let last = db.commit(Batch::new().delete(key("absent")).put(key("k"), "w")).await.version;
    let commits = told(&watch.up_to(last).await);
    let promised = [(last, Effect::from([(key("k"), Some(Record::new("w".into(), last)))]))];
    assert_eq!(commits, promised, "what changes nothing is not told (C4, C16)");
}

fn between(start: Bound<&'static [u8]>, end: Bound<&'static [u8]>) -> KeyRange {
    KeyRange::new(start.map(Bytes::from_static), end.map(Bytes::from_static))
}

/// C16: a watch delivers what touches its range, and of each commit what lies in it: single keys, prefixes,
/// those of `0xff` too, and bounds included or excluded.
pub(super) async fn c16_a_watch_tells_its_range_alone(cx: &Context) {
    use Bound::{Excluded, Included, Unbounded};
    let db = cx.open().await;
    let names: [&[u8]; 12] = [
        &[0],
        b"a",
        b"a\0",
        b"aa",
        b"ab",
        b"b",
        b"b/1",
        b"b/2",
        b"b0",
        &[0xfe, 0xff],
        &[0xff],
        &[0xff, 0xff],
    ];
    let ranges = [
        KeyRange::all(),
        KeyRange::prefix("a"),
        KeyRange::prefix("b/"),
        KeyRange::prefix(vec![0xff]),
        KeyRange::prefix(vec![0xff, 0xff]),
        between(Included(b"a"), Included(b"a")),
        between(Excluded(b"a"), Excluded(b"b")),
        between(Excluded(b"a"), Included(b"b")),
        between(Unbounded, Excluded(b"b/2")),
        between(Included(b"b0"), Unbounded),
        between(Included(&[0xff]), Unbounded),
    ];
    let mut watches = Vec::new();
    for range in &ranges {
        watches.push(Watching::open(&db, Watch::new(range.clone())).await);
    }
    let mut commits = BTreeMap::new();
    let mut write = async |batch: Batch| {
        let version = db.commit(batch.clone()).await.version;
        commits.insert(version, effect_of(&batch, version));
    };
    for name in names {
        write(Batch::new().put(key(name), "v")).await;
    }
    for pair in names.windows(2) {
        write(Batch::new().put(key(pair[0]), "w").put(key(pair[1]), "w")).await;
    }
    for name in &names[..6] {
        write(Batch::new().delete(key(name))).await;
    }
    // Everything again, so that each watch has an end to read up to.
    write(names.iter().fold(Batch::new(), |batch, name| batch.put(key(name), "last"))).await;
    let last = *commits.last_key_value().expect("there were some").0;
    for (range, mut watch) in ranges.iter().zip(watches) {
        let commits_told = told(&watch.up_to(last).await);
        check_told(&commits_told, &within(&commits, range), &format!("a watch of {range:?}"));
    }
}

/// Writers that meet on a few keys; returns what they committed.
async fn write_together(db: &Db, writers: usize, rounds: usize) -> BTreeMap<Version, Effect> {
    let written = together((0..writers).map(|writer| {
        let db = db.clone();
        async move {
            let mut commits = Vec::new();
            for round in 0..rounds {
                let name = |number: usize| key(format!("{}/{}", number % 3, (writer + number) % 5));
                let value = format!("{writer}/{round}");
                let batch = match round % 4 {
                    0 => Batch::new().put(name(round), value),
                    1 => Batch::new().put(name(round), value.clone()).put(name(round + 1), value),
                    2 => (0..6).fold(Batch::new(), |batch, number| batch.put(name(number), value.clone())),
                    _ => Batch::new().when(name(round), Condition::Present).delete(name(round)),
                };
                match db.write(batch.clone()).await {
                    Outcome::Committed(commit) => {
                        commits.push((commit.version, effect_of(&batch, commit.version)));
                    }
                    Outcome::Unchanged(_) => panic!("the batch changes something (C4)"),
                    Outcome::Conflict(_) => {}
                }
            }
            commits
        }
    }))
    .await;
    written.into_iter().flatten().collect()
}

/// C16: with many writers, several watches each tell every commit of their range once, whole and in order.
pub(super) async fn c16_watches_among_many_writers_miss_and_repeat_nothing(cx: &Context) {
    let db = cx.open().await;
    let ranges = [KeyRange::all(), KeyRange::prefix("0/"), KeyRange::prefix("1/"), KeyRange::prefix("2/3")];
    let mut watchers = Vec::new();
    for range in ranges {
        for read_at_once in [true, false] {
            let watch = Watch::new(range.clone()).progress(Duration::from_millis(1));
            watchers.push((range.clone(), read_at_once, Watching::open(&db, watch).await));
        }
    }
    let (stop, stopped) = tokio::sync::watch::channel(None::<Version>);
    let readers: Vec<_> = watchers
        .into_iter()
        .map(|(range, read_at_once, mut watch)| {
            let mut stopped = stopped.clone();
            tokio::spawn(async move {
                if !read_at_once {
                    drop(stopped.wait_for(Option::is_some).await);
                }
                let mut events = Vec::new();
                // Progress is told beyond the last commit, too.
                while stopped.borrow().is_none_or(|last| watch.version < last) {
                    events.push(must(watch.event().await, "a watch"));
                }
                (range, events)
            })
        })
        .collect();
    let commits = write_together(&db, 6, 60).await;
    let last = db.put("the end", "v").await;
    stop.send_replace(Some(last));
    for reader in readers {
        let (range, events) =
            reader.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let promised = within(&commits, &range);
        let mut seen: Vec<(Version, Effect)> = Vec::new();
        for event in &events {
            match event {
                WatchEvent::Commit(commit) if commit.version < last => {
                    seen.extend(told(std::slice::from_ref(commit)));
                }
                WatchEvent::Commit(_) => {}
                WatchEvent::Progress(version) => {
                    let due = promised.iter().take_while(|(commit, _)| commit <= version).count();
                    assert!(
                        seen.len() >= due,
                        "progress is told when every commit up to it was delivered (C16): {} of {due}",
                        seen.len()
                    );
                }
            }
        }
        check_told(&seen, &promised, &format!("a watch of {range:?} among writers"));
    }
}

/// C16: a scan, and a watch from the scan's version on, miss nothing and tell nothing twice.
pub(super) async fn c16_a_scan_and_a_watch_from_its_version_miss_nothing(cx: &Context) {
    let db = cx.open().await;
    let writers = tokio::spawn({
        let db = db.clone();
        async move { write_together(&db, 4, 100).await }
    });
    let mut copies = Vec::new();
    for number in 0..8 {
        let range = if number % 2 == 0 { KeyRange::all() } else { KeyRange::prefix("1/") };
        let view = db.scan(Scan::new(range.clone())).await;
        let watch = Watching::open(&db, Watch::new(range.clone()).after(view.version)).await;
        let records: BTreeMap<Key, Record> =
            view.data.iter().map(|entry| (entry.key.clone(), record_of(entry).clone())).collect();
        copies.push((range, records, watch));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(writers.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    let last = db.commit(Batch::new().put(key("0/end"), "v").put(key("1/end"), "v")).await.version;
    for (range, mut records, mut watch) in copies {
        let begin = watch.version;
        for commit in watch.up_to(last).await {
            for op in commit.ops {
                match op.record {
                    Some(record) => drop(records.insert(op.key, record)),
                    None => {
                        let there = records.remove(&op.key);
                        assert!(there.is_some(), "a delete removes what is there (C4, C16): {}", op.key);
                    }
                }
            }
        }
        let now = db.scan(Scan::new(range.clone())).await.data;
        let now: BTreeMap<Key, Record> =
            now.iter().map(|entry| (entry.key.clone(), record_of(entry).clone())).collect();
        assert!(
            records == now,
            "a scan and a watch from its version miss nothing (C16): from {begin} on in {range:?}"
        );
    }
}

/// C9, C16: what a watch tells is committed: whoever reads then sees it, or something later.
pub(super) async fn c16_what_is_told_is_committed(cx: &Context) {
    let db = cx.open().await;
    let mut watch = Watching::open(&db, all()).await;
    let writer = tokio::spawn({
        let db = db.clone();
        async move {
            let mut last = Version::MIN;
            for number in 0..60 {
                last = db.put(format!("k{}", number % 3), format!("{number}")).await;
            }
            last
        }
    });
    for _ in 0..60 {
        let commit = watch.commit().await;
        for op in commit.ops {
            let there = db.get(op.key.as_bytes()).await.map(|record| record.version);
            assert!(
                there.is_some_and(|version| version >= commit.version),
                "what a watch tells is committed, and seen by every later read (C9, C16): {} was told, \
                 {there:?} read",
                commit.version
            );
        }
    }
    let last = writer.await.expect("writing does not panic");
    assert_eq!(watch.version, last, "60 commits were told (C16)");
}

/// C16: a watch that begins now tells nothing of what was before, and says from where on it tells.
pub(super) async fn c16_a_watch_from_now_on_tells_nothing_earlier(cx: &Context) {
    let db = cx.open().await;
    for number in 0..5 {
        let before = db.put("k", format!("{number}")).await;
        let mut watch = Watching::open(&db, all()).await;
        assert!(watch.version >= before, "a watch begins in the present (C16)");
        assert_eq!(watch.version, before, "and says which view that is (C16)");
        let next = db.put("k", "next").await;
        assert_eq!(watch.commit().await.version, next, "a watch tells what is later (C16)");
    }
}

/// C16: a watch from an earlier version tells what came since then, whatever it was begun for, and goes on.
pub(super) async fn c16_a_watch_from_an_earlier_version_tells_what_came_since(cx: &Context) {
    let db = cx.open().await;
    let mut commits = BTreeMap::new();
    let mut versions = vec![db.version().await];
    for number in 0..40 {
        let batch =
            Batch::new().put(key(format!("k{}", number % 7)), "v").put(key("all"), format!("{number}"));
        let version = db.commit(batch.clone()).await.version;
        commits.insert(version, effect_of(&batch, version));
        versions.push(version);
    }
    let last = *versions.last().expect("there were some");
    for range in [KeyRange::all(), KeyRange::prefix("k3")] {
        for after in versions.iter().step_by(6) {
            let mut watch = Watching::open(&db, Watch::new(range.clone()).after(*after)).await;
            let later = commits.split_off(&Version::new(after.get() + 1).expect("not 0"));
            let promised = within(&later, &range);
            commits.extend(later);
            let end = promised.last().map_or(*after, |(version, _)| *version);
            check_told(&told(&watch.up_to(end).await), &promised, &format!("a watch from {after} on"));
        }
    }
    let mut watch = Watching::open(&db, all().after(last)).await;
    let next = db.put("k", "next").await;
    assert_eq!(watch.commit().await.version, next, "a watch from the last commit on tells the next (C16)");
}

/// C16: whoever asks is told what each commit replaced.
pub(super) async fn c16_what_was_there_before_is_told_to_whoever_asks(cx: &Context) {
    let db = cx.open().await;
    db.put("there", "long ago").await;
    let mut records: BTreeMap<Key, Record> =
        db.get("there").await.map(|record| (key("there"), record)).into_iter().collect();
    let mut watch = Watching::open(&db, all().previous()).await;
    let mut promised = Vec::new();
    let batches = [
        Batch::new().put(key("there"), "now"),
        Batch::new().put(key("new"), "one"),
        Batch::new().put(key("new"), "two").put(key("there"), "then").put(key("third"), "v"),
        Batch::new().delete(key("there")),
        Batch::new().put(key("there"), "anew"),
        Batch::new().put(key("new"), "first").put(key("new"), "last"),
        Batch::new().delete(key("new")).put(key("new"), "deleted first"),
        Batch::new().put(key("third"), "for nothing").delete(key("third")),
    ];
    for batch in batches {
        let version = db.commit(batch.clone()).await.version;
        for (key, record) in effect_of(&batch, version) {
            let before = match &record {
                Some(record) => records.insert(key.clone(), record.clone()),
                None => records.remove(&key),
            };
            promised.push((version, key, before.map_or(Previous::Absent, Previous::Record)));
        }
    }
    let commits = watch.up_to(promised.last().expect("there were some").0).await;
    let seen: Vec<_> = commits
        .into_iter()
        .flat_map(|commit| commit.ops.into_iter().map(move |op| (commit.version, op.key, op.previous)))
        .collect();
    assert_eq!(seen, promised, "a watch tells what each commit replaced to whoever asks (C16)");
}

/// C16: of what a commit replaced, a part may be left out where it is too much, and is then said to be.
pub(super) async fn c16_what_is_left_out_of_what_was_there_is_said_to_be(cx: &Context) {
    let limits = crate::Limits { max_batch_bytes: 100_000, max_value_bytes: 30_000, ..Default::default() };
    let db = cx.open_with(limits).await;
    let declared = db.engine().info().limits.clone();
    let value = super::db::filler("value", declared.max_value_bytes);
    // Written one by one, replaced together: more than the limit.
    let count = declared.max_batch_bytes / value.len() + 2;
    let names: Vec<String> = (0..count).map(|number| format!("k{number:02}")).collect();
    let mut watch = Watching::open(&db, all().previous()).await;
    let mut records = BTreeMap::new();
    for name in &names {
        let version = db.put(name, value.clone()).await;
        records.insert(key(name), Record::new(value.clone(), version));
        assert_eq!(watch.commit().await.version, version);
    }
    let batch = names.iter().fold(Batch::new(), |batch, name| batch.put(key(name), "short"));
    committed(must(db.engine().write(batch, Default::default()).await, "a batch of short values"));
    let commit = watch.commit().await;
    assert_eq!(commit.ops.len(), names.len(), "the commit itself is told whole (C16)");
    let mut left_out = 0;
    for op in commit.ops {
        match op.previous {
            Previous::Omitted => left_out += 1,
            Previous::Record(record) => {
                assert_eq!(Some(&record), records.get(&op.key), "what was there before is told (C16)");
            }
            other => panic!("what was there is told, or said to be left out (C16): {other:?}"),
        }
    }
    assert!(
        left_out > 0,
        "what was replaced is together beyond the limit, and a part is left out (C14, C16)"
    );
}

/// C16: progress is told where no commit of the range tells it, so that an idle watcher can go on near the
/// present; and a watch from there on misses nothing.
pub(super) async fn c16_progress_is_told_to_an_idle_watcher(cx: &Context) {
    let db = cx.open().await;
    let watch = Watch::new(KeyRange::prefix("quiet/")).progress(Duration::from_millis(5));
    let mut watching = Watching::open(&db, watch.clone()).await;
    for round in 0..5 {
        let elsewhere = db.put("busy", format!("{round}")).await;
        while watching.version < elsewhere {
            let event = must(watching.event().await, "a watch");
            assert!(matches!(event, WatchEvent::Progress(_)), "nothing is told of a quiet range (C16)");
        }
        let mut resumed = Watching::open(&db, watch.clone().after(watching.version)).await;
        let next = db.put("quiet/k", format!("{round}")).await;
        assert_eq!(
            resumed.commit().await.version,
            next,
            "a watch from a mark of progress on misses nothing (C16)"
        );
        assert_eq!(watching.commit().await.version, next, "and neither does the one that was told (C16)");
    }
}

/// C15, C16: a removal is told as the engine's own commit, when it is one.
pub(super) async fn c15_c16_a_removal_is_told_as_an_expiry(cx: &Context) {
    let db = cx.open().await;
    let mut watch = Watching::open(&db, all().previous()).await;
    for number in 0..10 {
        let name = format!("k{number}");
        let ttl = Duration::from_millis(20);
        let put = db.put_for(&name, "v", ttl).await;
        let record = watch.commit().await.ops.remove(0).record.expect("a put leaves a record (C16)");
        assert_eq!(record.version, put);
        assert!(record.expires_at.is_some(), "a watch tells when a record expires (C15, C16)");
        db.gone(&name).await;
        let next = db.put("next", "v").await;
        let removal = watch.commit().await;
        assert_eq!(removal.cause, Cause::Expiry, "a removal is told as an expiry (C15, C16): {removal:?}");
        let op = &removal.ops[0];
        let told = (removal.ops.len(), &op.key, &op.record, &op.previous);
        let promised = (1, &key(&name), &None, &Previous::Record(record));
        assert_eq!(told, promised, "a removal is told like a delete (C15, C16)");
        assert!(
            put < removal.version && removal.version < next,
            "a removal is a commit like any other (C4, C15)"
        );
        assert_eq!(watch.commit().await.version, next);
    }
}
