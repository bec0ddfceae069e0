//! Watches: where they may begin, how many there may be, and how they end.

use std::time::Duration;

use super::Context;
use super::db::{Db, filler, key, must, refused, until};
use super::watching::{Watching, told};
use crate::{Batch, Error, ErrorKind, KeyRange, Limits, Scan, Version, Watch};

fn all() -> Watch {
    Watch::new(KeyRange::all())
}

async fn refusal(db: &Db, watch: Watch, what: &str) -> Error {
    refused(Watching::try_open(db, watch).await.map(drop), what)
}

/// C16: a start beyond the present is an error.
pub(super) async fn c16_a_start_beyond_the_present_is_refused(cx: &Context) {
    let db = cx.open().await;
    db.put("k", "v").await;
    let present = db.version().await;
    let next = Version::new(present.get() + 1).expect("not 0");
    let far = Version::new(u64::MAX).expect("not 0");
    for start in [next, far] {
        let what = "a watch from beyond the present on (C16)";
        let error = refusal(&db, all().after(start), what).await;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{what}: {}", error.report());
    }
    Watching::open(&db, all().after(present)).await;
}

/// C14, C16: progress is told from every millisecond to once a day; what is beyond is refused.
pub(super) async fn c16_progress_too_often_or_too_seldom_is_refused(cx: &Context) {
    let db = cx.open().await;
    let day = Duration::from_secs(24 * 3600);
    for every in [Duration::ZERO, Duration::from_micros(999), day + Duration::from_millis(1)] {
        let what = "progress too often or too seldom (C16)";
        let error = refusal(&db, all().progress(every), what).await;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{what}: {}", error.report());
    }
    for every in [Duration::from_millis(1), day] {
        Watching::open(&db, all().progress(every)).await;
    }
}

/// Checks that the start is refused with the oldest version there is, and that a watch from there on tells
/// what came since.
async fn check_compacted(db: &Db, first: Version, written: &[Version]) {
    let what = "a watch from before the kept history (C16)";
    let error = refusal(db, all().after(first), what).await;
    assert_eq!(error.kind(), ErrorKind::Compacted, "{what}: {}", error.report());
    let oldest = error.version();
    let oldest = oldest.expect("a start that was compacted is refused with the oldest that can be had (C16)");
    let last = *written.last().expect("there were some");
    assert!(first < oldest && oldest <= last, "the oldest start is one there is (C16): {oldest}");
    let mut watch = must(
        Watching::try_open(db, all().after(oldest)).await,
        "a watch from the oldest version that can be had (C16)",
    );
    let seen: Vec<Version> = told(&watch.up_to(last).await).into_iter().map(|(version, _)| version).collect();
    let promised: Vec<Version> = written.iter().copied().filter(|version| *version > oldest).collect();
    assert_eq!(seen, promised, "a watch from the oldest version on misses nothing (C16)");
}

/// C14, C16: the history keeps no more changes and no more bytes than the limits say; a start before it is
/// refused with the oldest that can be had, from which on nothing is missed.
pub(super) async fn c16_a_start_before_the_history_is_refused_with_the_oldest(cx: &Context) {
    for (limits, bytes) in [
        (Limits { max_history_ops: 64, ..Limits::default() }, 10),
        (Limits { max_history_bytes: 64 << 10, ..Limits::default() }, 4_000),
    ] {
        let cx = cx.fresh();
        let db = cx.open_with(limits).await;
        let mut written = Vec::new();
        for number in 0..300 {
            written.push(db.put(format!("k{}", number % 20), filler("v", bytes)).await);
        }
        check_compacted(&db, written[0], &written).await;
        let error = refusal(&db, all().after(Version::MIN), "a watch from the first version on (C16)").await;
        assert_eq!(error.kind(), ErrorKind::Compacted, "{}", error.report());
        cx.stop().await;
    }
}

/// C14, C16: the history keeps no commit for longer than the limit says.
pub(super) async fn c16_the_history_forgets_what_is_old(cx: &Context) {
    let db = cx.open_with(Limits { history_age: Duration::from_millis(100), ..Limits::default() }).await;
    let first = db.put("k", "first").await;
    let second = db.put("k", "second").await;
    let error = until(async || {
        // What is old may go when something new comes.
        db.put("k", "later").await;
        Watching::try_open(&db, all().after(first)).await.err()
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::Compacted, "what is old is compacted (C16): {}", error.report());
    let oldest = error.version().expect("with the oldest version that can be had (C16)");
    assert!(oldest >= second, "the commit that was forgotten is before it (C16)");
}

/// C8, C14, C16: a watcher that does not read holds up nobody, and is told when it has missed something: it
/// gets everything up to a version, and then the error with that version.
pub(super) async fn c16_a_slow_watcher_is_ended_and_told_so(cx: &Context) {
    const OPS: usize = 16;
    /// What lies between a writer and a watcher may hold some megabytes more than the history.
    const MOST: usize = 48 << 20;
    let limits = Limits { max_history_ops: 64, max_history_bytes: 2 << 20, ..Limits::default() };
    let db = cx.open_with(limits).await;
    let mut watch = Watching::open(&db, all()).await;
    let mut written = Vec::new();
    let value = filler("value", 16 << 10);
    let mut seen = Vec::new();
    let error = loop {
        // What was sent before it fell behind comes first.
        if written.len() * OPS * value.len() < MOST {
            for _ in 0..16 {
                let puts = (0..OPS).map(|number| key(format!("k{number:02}")));
                let batch = puts.fold(Batch::new(), |batch, key| batch.put(key, value.clone()));
                written.push(db.commit(batch).await.version);
            }
        }
        match watch.event().await {
            Ok(event) => seen.push(event.version()),
            Err(error) => break error,
        }
        assert!(
            seen.last() < written.last(),
            "a watcher that falls behind is ended, and not waited for (C14, C16)"
        );
    };
    assert_eq!(
        error.kind(),
        ErrorKind::Exhausted,
        "a watcher that fell behind is told so (C16): {}",
        error.report()
    );
    let last = error.version().expect("with the last version that it was delivered (C16)");
    seen.retain(|version| written.contains(version));
    let promised: Vec<Version> = written.iter().copied().filter(|version| *version <= last).collect();
    assert_eq!(
        seen, promised,
        "a slow watcher was delivered everything up to the version it is ended with (C16)"
    );
}

/// C16: a watcher that reads slowly misses nothing: what was told is without a gap, however it ends.
pub(super) async fn c16_a_slow_watcher_sees_no_gap(cx: &Context) {
    let limits = Limits { max_history_ops: 256, ..Limits::default() };
    let db = cx.open_with(limits).await;
    let mut watch = Watching::open(&db, all()).await;
    let (mut written, mut seen) = (Vec::new(), Vec::new());
    for round in 0..100 {
        for number in 0..10 {
            written.push(db.put(format!("k{number}"), format!("{round}")).await);
        }
        match watch.event().await {
            Ok(event) => seen.push(event.version()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Exhausted, "{}", error.report());
                break;
            }
        }
    }
    seen.retain(|version| written.contains(version));
    assert_eq!(seen, written[..seen.len()], "what a slow watcher is told has no gap (C16)");
}

/// C14, C16: one watch too many answers `Exhausted`; one that is dropped frees its place.
pub(super) async fn c16_a_watch_too_many_is_refused_until_one_is_dropped(cx: &Context) {
    let db = cx.open_with(Limits { max_watches: 8, ..Limits::default() }).await;
    let most = db.engine().info().limits.max_watches;
    assert_eq!(most, 8, "the harness opens with the limits it is given, or skips this case");
    let mut open = Vec::new();
    for _ in 0..most {
        open.push(Watching::open(&db, all()).await);
    }
    let error = refusal(&db, all(), "one watch more than the limit").await;
    assert_eq!(error.kind(), ErrorKind::Exhausted, "a full place to watch from (C14): {}", error.report());
    drop(open.pop());
    // Whoever held the place may need a moment to notice.
    open.push(until(async || Watching::try_open(&db, all()).await.ok()).await);
    let version = db.put("k", "v").await;
    for mut watch in open {
        assert_eq!(watch.commit().await.version, version, "the others go on (C16)");
    }
}

/// C12, C16: close ends watches with `Closed`, and tells everything before.
pub(super) async fn c12_c16_close_ends_watches_with_closed(cx: &Context) {
    let db = cx.open().await;
    let mut idle = Watching::open(&db, Watch::new(KeyRange::prefix("quiet/"))).await;
    let mut busy = Watching::open(&db, all()).await;
    let reader = tokio::spawn(async move { idle.end().await });
    db.put("k", "v").await;
    must(db.engine().close().await, "close");
    for error in [reader.await.expect("a watch does not panic"), busy.end().await] {
        assert_eq!(
            error.kind(),
            ErrorKind::Closed,
            "close ends watches with Closed (C12): {}",
            error.report()
        );
    }
    let error = refusal(&db, all(), "a watch of a closed engine (C12)").await;
    assert_eq!(error.kind(), ErrorKind::Closed, "{}", error.report());
}

/// C16: over a reopen a watch from a version before it misses nothing, or is told that it would.
pub(super) async fn c16_a_watch_over_a_reopen_misses_nothing_or_is_told(cx: &Context) {
    let db = cx.open().await;
    let start = db.put("k", "start").await;
    let mut written = Vec::new();
    for number in 0..10 {
        written.push(db.put(format!("k{number}"), "v").await);
    }
    let db = cx.reopen().await;
    let last = db.put("k", "last").await;
    written.push(last);
    match Watching::try_open(&db, all().after(start)).await {
        Ok(mut watch) => {
            let seen: Vec<_> = watch.up_to(last).await.into_iter().map(|commit| commit.version).collect();
            assert_eq!(seen, written, "a watch over a reopen misses nothing (C16)");
        }
        Err(_) => check_compacted(&db, start, &written).await,
    }
}

/// C16, C19: a restore, which changes everything at once, ends watches; one from its version on goes on.
pub(super) async fn c16_c19_a_restore_ends_watches(cx: &Context) {
    let elsewhere = cx.fresh();
    let source = elsewhere.open().await;
    source.fill("k", 20, 10).await;
    let db = cx.open().await;
    let mut watch = Watching::open(&db, all()).await;
    let before = watch.version;
    let view = source.open_scan(Scan::new(KeyRange::all())).await;
    let restored = must(db.engine().restore(view).await, "a restore into an empty engine").version;
    let error = watch.end().await;
    assert_eq!(error.kind(), ErrorKind::Compacted, "a restore ends watches (C16): {}", error.report());
    let error = refusal(&db, all().after(before), "a watch from before a restore (C16)").await;
    assert_eq!(error.kind(), ErrorKind::Compacted, "{}", error.report());
    let mut watch = Watching::open(&db, all().after(restored)).await;
    let next = db.put("k00000", "next").await;
    assert_eq!(watch.commit().await.version, next, "a watch from the restore on misses nothing (C16)");
    elsewhere.stop().await;
}
