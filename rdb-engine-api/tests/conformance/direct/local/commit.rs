//! What `Local` promises whatever its store does: group commit, and what becomes of everyone when a
//! commit is slow, fails or panics. The store is a double that does these things on demand.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures::{StreamExt as _, TryStreamExt as _, poll};
use rdb_engine_api::{
    Batch, Commit, Condition, Durability, Engine, EngineExt as _, Error, ErrorKind, Key, KeyRange, Local,
    LocalOptions, ManualClock, Outcome, Result, Scan, WriteOptions,
};

use crate::double::{Begun, Double, Fate};

pub(super) struct Fixture {
    pub(super) engine: Arc<Local<Double>>,
    pub(super) store: Double,
    pub(super) clock: Arc<ManualClock>,
}

pub(super) fn open() -> Fixture {
    open_with(LocalOptions::default())
}

pub(super) fn open_with(options: LocalOptions) -> Fixture {
    let store = Double::new();
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
    let engine = Local::open(store.clone(), options, clock.clone()).expect("the double opens");
    Fixture { engine: Arc::new(engine), store, clock }
}

pub(super) type Write = Pin<Box<dyn Future<Output = Result<Outcome>> + Send>>;

pub(super) fn key(name: impl Into<String>) -> Key {
    Key::new(name.into()).expect("the tests' keys are keys")
}

impl Fixture {
    /// Makes a write and brings it into the committer's queue.
    async fn queue(&self, batch: Batch, options: WriteOptions) -> Write {
        let engine = Arc::clone(&self.engine);
        let mut write: Write = Box::pin(async move { engine.write(batch, options).await });
        assert!(poll!(&mut write).is_pending(), "a write is not answered before its commit returned (C9)");
        write
    }

    pub(super) async fn queue_put(&self, name: impl Into<String>) -> Write {
        self.queue(Batch::new().put(key(name), "v"), WriteOptions::default()).await
    }

    /// Holds the store, and a first commit in it, so that what is queued next forms one group.
    pub(super) async fn hold_a_commit(&self) -> Write {
        self.store.hold();
        let first = self.queue_put("first").await;
        self.store.wait_for_commits(1);
        first
    }

    async fn is_there(&self, name: &str) -> bool {
        self.engine.get(&key(name)).await.expect("reads go on").is_some()
    }
}

pub(super) fn committed(answer: Result<Outcome>) -> Commit {
    match answer {
        Ok(Outcome::Committed(commit)) => commit,
        other => panic!("a commit was promised, saw {other:?}"),
    }
}

fn refused(answer: Result<Outcome>) -> Error {
    answer.expect_err("this write is refused")
}

/// C9: group commit: what waits while one commit is under way shares the next.
#[tokio::test(flavor = "multi_thread")]
async fn c09_63_writes_that_wait_behind_a_commit_share_the_next() {
    let fixture = open();
    let first = fixture.hold_a_commit().await;
    let mut waiting = Vec::new();
    for number in 0..63 {
        waiting.push(fixture.queue_put(format!("k{number}")).await);
    }
    fixture.store.let_one_go(Fate::Succeed);
    let commits = fixture.store.wait_for_commits(2);
    fixture.store.let_all_go();

    let first = committed(first.await).version;
    let mut versions = Vec::new();
    for write in waiting {
        versions.push(committed(write.await).version);
    }
    assert_eq!(commits.iter().map(|commit| commit.records).collect::<Vec<_>>(), [1, 63]);
    assert_eq!(fixture.store.commits().len(), 2, "one commit for all 63");
    assert!(
        versions.iter().is_sorted_by(|one, next| one < next),
        "in the order of arrival (C4): {versions:?}"
    );
    assert!(versions[0] > first, "after the commit before it (C4)");
}

/// C9: a group is committed once, at the highest level that anyone in it asked for.
#[tokio::test(flavor = "multi_thread")]
async fn c09_a_group_is_committed_at_the_highest_level_asked_for() {
    let fixture = open();
    let first = fixture.hold_a_commit().await;
    let mut waiting = Vec::new();
    for (number, level) in
        [Durability::Volatile, Durability::Process, Durability::Volatile].iter().enumerate()
    {
        let batch = Batch::new().put(key(format!("k{number}")), "v");
        waiting.push(fixture.queue(batch, WriteOptions::default().durability(*level)).await);
    }
    fixture.store.let_one_go(Fate::Succeed);
    let commits = fixture.store.wait_for_commits(2);
    fixture.store.let_all_go();
    assert_eq!(commits[1], Begun { records: 3, level: Durability::Process });
    committed(first.await);
    for write in waiting {
        assert_eq!(committed(write.await).durability, Durability::Process, "the level reached is reported");
    }
}

/// C9: an assertion that asks for more than the view has makes the store reach it.
#[tokio::test(flavor = "multi_thread")]
async fn c09_an_assertion_about_an_unsafe_commit_waits_until_that_is_safe() {
    let fixture = open();
    let unsafe_put = WriteOptions::default().durability(Durability::Volatile);
    committed(fixture.engine.write(Batch::new().put(key("k"), "v"), unsafe_put).await);
    fixture.store.hold();
    let assertion = Batch::new().when(key("k"), Condition::Present);
    let write = fixture.queue(assertion, WriteOptions::default().durability(Durability::Synced)).await;
    let commits = fixture.store.wait_for_commits(1);
    assert_eq!(commits, [Begun { records: 0, level: Durability::Synced }]);
    fixture.store.let_all_go();
    let answer = write.await.expect("the assertion holds");
    assert!(
        matches!(answer, Outcome::Unchanged(Commit { durability: Durability::Synced, .. })),
        "saw {answer:?}"
    );
}

/// C9: nothing is visible, and no answer that depends on it is sent, before the commit returned.
#[tokio::test(flavor = "multi_thread")]
async fn c09_conflicts_and_reads_do_not_run_ahead_of_the_commit() {
    let fixture = open();
    let first = fixture.hold_a_commit().await;
    let mut put = fixture.queue_put("k").await;
    let insert = Batch::new().when(key("k"), Condition::Absent).put(key("k"), "mine");
    let mut conflict = fixture.queue(insert, WriteOptions::default()).await;
    let assertion = Batch::new().when(key("k"), Condition::Present);
    let mut unchanged = fixture.queue(assertion, WriteOptions::default()).await;
    fixture.store.let_one_go(Fate::Succeed);
    fixture.store.wait_for_commits(2);
    committed(first.await);

    // The group is judged and its commit is under way: nobody hears of it.
    for write in [&mut put, &mut conflict, &mut unchanged] {
        assert!(poll!(write).is_pending(), "an answer does not run ahead of the commit it depends on");
    }
    assert!(!fixture.is_there("k").await, "a read does not run ahead of the commit");
    assert!(fixture.is_there("first").await, "reads do not wait for the committer");

    fixture.store.let_all_go();
    let version = committed(put.await).version;
    let Ok(Outcome::Conflict(conflict)) = conflict.await else { panic!("the insert comes second") };
    assert_eq!(conflict.current.map(|record| record.version), Some(version));
    assert!(matches!(unchanged.await, Ok(Outcome::Unchanged(commit)) if commit.version == version));
}

/// C10: when a group's commit fails, every write in it is unknown, and nothing else is claimed.
#[tokio::test(flavor = "multi_thread")]
async fn c10_a_failed_commit_leaves_its_whole_group_unknown() {
    for (fate, applied) in [(Fate::Fail, false), (Fate::FailLate, true), (Fate::FallShort, true)] {
        let fixture = open();
        let first = fixture.hold_a_commit().await;
        let mut group = Vec::new();
        for number in 0..10 {
            group.push(fixture.queue_put(format!("k{number}")).await);
        }
        let insert = Batch::new().when(key("k0"), Condition::Absent).put(key("k0"), "mine");
        let conflict = fixture.queue(insert, WriteOptions::default()).await;
        fixture.store.let_one_go(Fate::Succeed);
        fixture.store.wait_for_commits(2);
        fixture.store.let_one_go(fate);
        committed(first.await);
        for write in group {
            let error = refused(write.await);
            assert_eq!(error.kind(), ErrorKind::Unknown, "after {fate:?}: {}", error.report());
        }
        let error = refused(conflict.await);
        let honest = matches!(error.kind(), ErrorKind::Unknown | ErrorKind::Closed);
        assert!(honest, "no conflict is reported with a record that may not be there: {}", error.report());
        assert_eq!(fixture.is_there("k0").await, applied, "the double did as it was told");
    }
}

/// C10: a panic in the store's commit is an unknown outcome, and nobody waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn c10_a_panic_in_the_commit_is_an_unknown_outcome() {
    let fixture = open();
    let first = fixture.hold_a_commit().await;
    fixture.store.let_one_go(Fate::Panic);
    assert_eq!(refused(first.await).kind(), ErrorKind::Unknown);
    let late = fixture.engine.put(&key("k"), "v").await;
    assert_eq!(late.expect_err("the engine has stopped").kind(), ErrorKind::Closed);
    fixture.engine.close().await.expect("a stopped engine closes");
}

/// C10: a write whose time runs out while it waits is certainly not applied.
#[tokio::test(flavor = "multi_thread")]
async fn c10_a_write_whose_time_runs_out_in_the_queue_is_not_applied() {
    let fixture = open();
    let first = fixture.hold_a_commit().await;
    let timeout = |seconds| WriteOptions::default().timeout(Duration::from_secs(seconds));
    let late = fixture.queue(Batch::new().put(key("late"), "v"), timeout(1)).await;
    let patient = fixture.queue(Batch::new().put(key("patient"), "v"), timeout(3)).await;
    fixture.clock.advance(Duration::from_secs(2));
    fixture.store.let_all_go();
    committed(first.await);
    assert_eq!(refused(late.await).kind(), ErrorKind::Unavailable);
    committed(patient.await);
    assert!(!fixture.is_there("late").await);
}

/// C11: after a failed commit no write is accepted, and the store is not asked to commit again.
#[tokio::test(flavor = "multi_thread")]
async fn c11_nothing_is_committed_after_a_failed_commit() {
    let fixture = open();
    let first = fixture.hold_a_commit().await;
    fixture.store.let_one_go(Fate::Fail);
    assert_eq!(refused(first.await).kind(), ErrorKind::Unknown);
    fixture.store.let_all_go();
    for _ in 0..3 {
        let put = fixture.engine.put(&key("k"), "v").await.expect_err("the engine has stopped");
        assert_eq!(put.kind(), ErrorKind::Closed, "{}", put.report());
        let assertion = Batch::new().when(key("first"), Condition::Absent);
        let assertion = refused(fixture.engine.write(assertion, WriteOptions::default()).await);
        assert_eq!(assertion.kind(), ErrorKind::Closed, "{}", assertion.report());
    }
    assert_eq!(fixture.store.commits().len(), 1, "a failed commit is not tried again");
}

/// C11: what waits behind a commit that fails is refused, and certainly not applied.
#[tokio::test(flavor = "multi_thread")]
async fn c11_writes_that_wait_behind_a_failed_commit_are_refused() {
    let fixture = open();
    let first = fixture.hold_a_commit().await;
    let mut waiting = Vec::new();
    for number in 0..5 {
        waiting.push(fixture.queue_put(format!("k{number}")).await);
    }
    fixture.store.let_one_go(Fate::Fail);
    assert_eq!(refused(first.await).kind(), ErrorKind::Unknown);
    for write in waiting {
        let error = refused(write.await);
        assert_eq!(error.kind(), ErrorKind::Closed, "{}", error.report());
    }
    for number in 0..5 {
        assert!(!fixture.is_there(&format!("k{number}")).await, "what was refused is not applied (C10)");
    }
}

/// C11: reads of what was committed go on after a failed commit.
#[tokio::test(flavor = "multi_thread")]
async fn c11_reads_go_on_after_a_failed_commit() {
    let fixture = open();
    let before = fixture.engine.put(&key("before"), "v").await.expect("nothing fails yet");
    let first = fixture.hold_a_commit().await;
    fixture.store.let_one_go(Fate::Fail);
    assert_eq!(refused(first.await).kind(), ErrorKind::Unknown);
    assert!(fixture.is_there("before").await);
    let many = fixture.engine.get_many(&[key("before"), key("first")]).await.expect("reads go on");
    assert_eq!(many.version, before.version);
    let scan = fixture.engine.scan(Scan::new(KeyRange::all())).await.expect("reads go on");
    let entries = scan.data.try_concat().await.expect("reads go on");
    assert_eq!(entries.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>(), [key("before")]);
}

/// C5, C11: a reopen after a failed commit writes again, and gives no version that was given before.
#[tokio::test(flavor = "multi_thread")]
async fn c11_a_reopen_after_a_failed_commit_writes_again() {
    for fate in [Fate::Fail, Fate::FailLate] {
        let fixture = open();
        let mut last = fixture.engine.put(&key("k"), "v").await.expect("nothing fails yet").version;
        let failed = fixture.hold_a_commit().await;
        fixture.store.let_one_go(fate);
        assert_eq!(refused(failed.await).kind(), ErrorKind::Unknown);
        fixture.store.let_all_go();
        fixture.engine.close().await.expect("a stopped engine closes");

        let again = Local::open(fixture.store.clone(), LocalOptions::default(), fixture.clock.clone());
        let again = again.expect("the double opens again");
        if let Some(record) = again.get(&key("first")).await.expect("a read") {
            last = last.max(record.version);
        }
        let put = again.put(&key("k"), "w").await.expect("a reopened engine writes");
        assert!(put.version > last, "{} after {last}", put.version);
    }
}

/// C12: close finishes every accepted write, and returns only then.
#[tokio::test(flavor = "multi_thread")]
async fn c12_close_finishes_every_accepted_write() {
    let fixture = open();
    let first = fixture.hold_a_commit().await;
    let mut waiting = Vec::new();
    for number in 0..5 {
        waiting.push(fixture.queue_put(format!("k{number}")).await);
    }
    let engine = Arc::clone(&fixture.engine);
    let mut closing = Box::pin(async move { engine.close().await });
    assert!(poll!(&mut closing).is_pending(), "close waits for accepted writes");
    let late =
        refused(fixture.engine.write(Batch::new().put(key("late"), "v"), WriteOptions::default()).await);
    assert_eq!(late.kind(), ErrorKind::Closed, "a closing engine accepts nothing");
    fixture.store.let_all_go();
    closing.await.expect("close");
    committed(first.await);
    for write in waiting {
        committed(write.await);
    }
}

/// C14: a full queue answers `Exhausted`, by entries and by bytes, and what it refused is not applied.
#[tokio::test(flavor = "multi_thread")]
async fn c14_a_full_queue_refuses_writes() {
    let mut by_count = LocalOptions::default();
    by_count.limits.max_queued_writes = 4;
    let mut by_bytes = LocalOptions::default();
    by_bytes.limits.max_value_bytes = 1_000;
    by_bytes.limits.max_batch_bytes = 6_000;
    by_bytes.limits.max_queued_bytes = 6_000;
    for (options, value) in [(by_count, 1), (by_bytes, 1_000)] {
        let fixture = open_with(options);
        let first = fixture.hold_a_commit().await;
        let put = |number: usize| Batch::new().put(key(format!("k{number}")), vec![b'v'; value]);
        let mut waiting = Vec::new();
        let refused_at = loop {
            let number = waiting.len();
            let engine = Arc::clone(&fixture.engine);
            let batch = put(number);
            let mut write: Write =
                Box::pin(async move { engine.write(batch, WriteOptions::default()).await });
            match poll!(&mut write) {
                std::task::Poll::Pending => waiting.push(write),
                std::task::Poll::Ready(answer) => {
                    assert_eq!(refused(answer).kind(), ErrorKind::Exhausted);
                    break number;
                }
            }
            assert!(waiting.len() < 100, "the queue has a bound");
        };
        assert!((4..=6).contains(&refused_at), "the bound is the one in the limits: {refused_at}");
        fixture.store.let_all_go();
        committed(first.await);
        for write in waiting {
            committed(write.await);
        }
        assert!(!fixture.is_there(&format!("k{refused_at}")).await, "what was refused is not applied (C10)");
        committed(fixture.engine.write(put(refused_at), WriteOptions::default()).await);
    }
}

/// C8: a scan that is open while its engine stops still shows its view.
#[tokio::test(flavor = "multi_thread")]
async fn c08_an_open_scan_outlives_a_failed_commit() {
    let fixture = open();
    fixture.engine.put(&key("a"), "v").await.expect("nothing fails yet");
    let mut scan = fixture.engine.scan(Scan::new(KeyRange::all())).await.expect("a scan");
    let failed = fixture.hold_a_commit().await;
    fixture.store.let_one_go(Fate::FailLate);
    assert_eq!(refused(failed.await).kind(), ErrorKind::Unknown);
    let chunk = scan.data.next().await.expect("an entry").expect("the scan goes on");
    assert_eq!(chunk.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>(), [key("a")]);
    assert!(scan.data.next().await.is_none());
}
