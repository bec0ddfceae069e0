//! What `Local` makes of records that expire (C15), over a store that can be held and looked into.

#![allow(clippy::unwrap_used)] // in the helpers of tests, as in tests

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures::future::join_all;
use futures::poll;
use rdb_engine_api::{
    Batch, Condition, Durability, Engine, EngineExt as _, Entry, ErrorKind, KeyRange, Local, LocalOptions,
    MAX_TTL, ManualClock, Outcome, Scan, Snapshot as _, Space, Store as _, WriteOptions,
};
use tokio::time::{Instant, sleep};

use super::commit::{Fixture, key, open};
use super::metrics::{number, observed};
use crate::double::{Double, Fate};

/// The most records that one commit removes.
const AT_ONCE: usize = 256;
const SECOND: Duration = Duration::from_secs(1);
/// What expires has an entry with a key that begins so.
pub(super) const INDEX: &[u8] = b"x";

/// Waits until something holds.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}, in vain");
        sleep(Duration::from_millis(1)).await;
    }
}

pub(super) async fn until_gone(engine: &Local<Double>, name: &str) {
    until("waited for a removal", async || engine.get(&key(name)).await.unwrap().is_none()).await;
}

pub(super) async fn entries(engine: &Local<Double>) -> Vec<Entry> {
    let view = engine.scan(Scan::new(KeyRange::all())).await.unwrap();
    futures::TryStreamExt::try_concat(view.data).await.unwrap()
}

/// The index says what the records say, and nothing else.
pub(super) async fn assert_index_agrees(engine: &Local<Double>, store: &Double) {
    let entry = |entry: Entry| {
        let since = entry.record?.expires_at?.duration_since(UNIX_EPOCH).unwrap();
        let millis = u64::try_from(since.as_millis()).unwrap().to_be_bytes();
        Some([INDEX, &millis, entry.key.as_bytes()].concat())
    };
    let mut expected: Vec<_> = entries(engine).await.into_iter().filter_map(entry).collect();
    expected.sort();
    assert_eq!(store.system_keys(INDEX), expected);
}

/// Puts many records that live as long, in few writes.
pub(super) async fn put_many(engine: &Local<Double>, count: usize, ttl: Duration) {
    let names: Vec<_> = (0..count).map(|number| format!("r{number:06}")).collect();
    for names in names.chunks(5_000) {
        let put = |batch: Batch, name: &String| batch.put_for(key(name), "v", ttl);
        let batch = names.iter().fold(Batch::new(), put);
        let _ = engine.write(batch, WriteOptions::default()).await.unwrap();
    }
}

/// The same store with another clock, as after a crash.
pub(super) fn reopen(store: &Double, wall: Duration) -> Local<Double> {
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH + wall));
    Local::open(store.crashed(), LocalOptions::default(), clock).expect("the double opens")
}

const START: Duration = Duration::from_secs(1_700_000_000);

#[tokio::test(flavor = "multi_thread")]
async fn c15_a_record_is_there_until_its_instant_and_then_removed_though_nobody_writes() {
    let Fixture { engine, store, clock } = open();
    let put = engine.put_for(&key("k"), "v", SECOND).await.unwrap();
    let (record, left) = engine.get_with_ttl(&key("k")).await.unwrap().unwrap();
    assert_eq!(record.expires_at, Some(UNIX_EPOCH + START + SECOND));
    assert_eq!((record.version, left), (put.version, Some(SECOND)));
    clock.advance(Duration::from_millis(999));
    // A group at this time, after which nothing of before is still to be done.
    let other = engine.put(&key("other"), "v").await.unwrap();
    let left = engine.get_with_ttl(&key("k")).await.unwrap().unwrap().1;
    assert_eq!(left, Some(Duration::from_millis(1)));
    clock.advance(Duration::from_millis(1));
    until_gone(&engine, "k").await;
    let view = engine.get_many(&[key("k")]).await.unwrap();
    assert!(view.version > other.version, "a removal is a commit");
    assert_eq!((number(&*engine, "expired", ""), observed(&*engine, "expiry_lateness", "")), (1.0, (1, 0.0)));
    until("the index is known to be empty", async || number(&*engine, "expiring_records", "") == 0.0).await;
    assert_eq!(store.system_keys(INDEX).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_a_record_whose_time_is_over_is_there_for_reads_and_conditions_until_its_removal() {
    let Fixture { engine, store, clock } = open();
    let put = engine.put_for(&key("k"), "v", SECOND).await.unwrap();
    store.hold();
    clock.advance(2 * SECOND);
    // The removal begins, and is held.
    store.wait_for_commits(1);
    let (record, left) = engine.get_with_ttl(&key("k")).await.unwrap().unwrap();
    assert_eq!((record.version, left), (put.version, Some(Duration::ZERO)));
    assert_eq!(number(&*engine, "accepts_writes", ""), 1.0);
    store.let_all_go();
    // Judged behind it.
    assert!(engine.put_if_absent(&key("k"), "new").await.unwrap().succeeded());
    assert_eq!(observed(&*engine, "expiry_lateness", ""), (1, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_a_touch_moves_the_end_and_a_put_without_a_time_to_live_clears_it() {
    let Fixture { engine, store, clock } = open();
    for name in ["touched", "cleared", "shortened", "deleted"] {
        engine.put_for(&key(name), "v", 10 * SECOND).await.unwrap();
    }
    clock.advance(5 * SECOND);
    engine.put_for(&key("touched"), "v", 10 * SECOND).await.unwrap();
    engine.put(&key("cleared"), "v").await.unwrap();
    engine.put_for(&key("shortened"), "v", SECOND).await.unwrap();
    let _ = engine.delete(&key("deleted")).await.unwrap();
    assert_index_agrees(&engine, &store).await;
    assert_eq!(store.system_keys(INDEX).len(), 2);
    clock.advance(SECOND);
    until_gone(&engine, "shortened").await;
    clock.advance(8 * SECOND);
    engine.put(&key("other"), "v").await.unwrap();
    assert!(engine.get(&key("touched")).await.unwrap().is_some());
    clock.advance(SECOND);
    until_gone(&engine, "touched").await;
    clock.advance(100 * SECOND);
    engine.put(&key("other"), "v").await.unwrap();
    assert!(engine.get(&key("cleared")).await.unwrap().unwrap().expires_at.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_the_index_agrees_with_the_records_whatever_is_done_to_them() {
    let Fixture { engine, store, clock } = open();
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut below = |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    for _ in 0..300 {
        let mut writes = Vec::new();
        // Several at once, so that a group changes a key more than once.
        for _ in 0..1 + below(6) {
            let mut batch = Batch::new();
            for _ in 0..1 + below(4) {
                let name = key(format!("k{}", below(12)));
                batch = match below(5) {
                    0 => batch.delete(name),
                    1 => batch.put(name, "v"),
                    2 => batch.when(name.clone(), Condition::Present).put_for(name, "v", SECOND),
                    _ => batch.put_for(name, "v", Duration::from_millis(1 + below(50))),
                };
            }
            writes.push(engine.write(batch, WriteOptions::default()));
        }
        for outcome in join_all(writes).await {
            let _ = outcome.unwrap();
        }
        engine.put(&key("other"), "v").await.unwrap();
        let before = entries(&engine).await;
        // Then the clock stands still, so what is due goes in one group.
        clock.advance(Duration::from_millis(below(20)));
        engine.put(&key("other"), "v").await.unwrap();
        assert_index_agrees(&engine, &store).await;
        let now = engine.time().await.unwrap();
        let is_over = |entry: &Entry| entry.record.as_ref().unwrap().expires_at.is_some_and(|end| end <= now);
        let is_other = |entry: &&Entry| entry.key == key("other");
        let expected = before.iter().filter(|entry| !is_over(entry) && !is_other(entry));
        let after = entries(&engine).await;
        assert!(expected.eq(after.iter().filter(|entry| !is_other(entry))), "{before:?} became {after:?}");
    }
    assert!(number(&*engine, "expired", "") > 100.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_what_is_due_goes_in_the_order_of_its_end() {
    let Fixture { engine, store, clock } = open();
    let count = 2 * AT_ONCE;
    for number in 0..count {
        // Later keys end earlier.
        let ttl = Duration::from_millis((count - number) as u64);
        engine.put_for(&key(format!("r{number:06}")), "v", ttl).await.unwrap();
    }
    store.hold();
    clock.advance(SECOND);
    store.wait_for_commits(1);
    store.let_one_go(Fate::Succeed);
    assert_eq!(store.wait_for_commits(2)[0].records, AT_ONCE);
    let left = entries(&engine).await;
    assert_eq!((left.len(), &left[AT_ONCE - 1].key), (AT_ONCE, &key(format!("r{:06}", AT_ONCE - 1))));
    store.let_all_go();
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_a_hundred_thousand_due_at_once_let_a_writer_into_every_group() {
    let fixture = open();
    put_many(&fixture.engine, 100_000, SECOND).await;
    fixture.store.hold();
    fixture.clock.advance(SECOND);
    fixture.store.wait_for_commits(1);
    let mut writes = Vec::new();
    for round in 1..=20 {
        writes.push(fixture.queue_put(format!("writer {round}")).await);
        fixture.store.let_one_go(Fate::Succeed);
        let begun = fixture.store.wait_for_commits(round + 1);
        assert_eq!(begun[round].records, AT_ONCE + 1, "the next group has the writer, and some that are due");
    }
    fixture.store.let_all_go();
    for write in writes {
        assert!(write.await.unwrap().succeeded());
    }
    until("all is removed", async || number(&*fixture.engine, "expired", "") == 100_000.0).await;
    assert_eq!(entries(&fixture.engine).await.len(), 20);
    assert_index_agrees(&fixture.engine, &fixture.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_who_has_no_expiring_record_pays_no_read() {
    let Fixture { engine, store, clock } = open();
    let blind = async |expected: usize| {
        let before = store.looked_up();
        engine.put(&key("blind"), "v").await.unwrap();
        assert_eq!(store.looked_up() - before, expected);
    };
    blind(0).await;
    engine.put_for(&key("k"), "v", SECOND).await.unwrap();
    // To warm the key up, and to judge.
    blind(2).await;
    clock.advance(SECOND);
    until("the index is known to be empty", async || number(&*engine, "expiring_records", "") == 0.0).await;
    blind(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c14_c15_a_life_is_from_a_millisecond_to_a_hundred_years() {
    let Fixture { engine, store, .. } = open();
    let past = MAX_TTL + Duration::from_nanos(1);
    for ttl in [Duration::ZERO, Duration::from_nanos(999_999), past, Duration::MAX] {
        let refused = engine.put_for(&key("k"), "v", ttl).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{ttl:?}");
    }
    assert_eq!(engine.get(&key("k")).await.unwrap(), None);
    for (ttl, life) in [
        (Duration::from_millis(1), Duration::from_millis(1)),
        (Duration::from_nanos(1_000_001), Duration::from_millis(2)),
        (MAX_TTL, MAX_TTL),
    ] {
        engine.put_for(&key("k"), "v", ttl).await.unwrap();
        assert_eq!(engine.get_with_ttl(&key("k")).await.unwrap().unwrap().1, Some(life));
    }
    assert_index_agrees(&engine, &store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_time_never_runs_backward_and_follows_no_jump_of_the_wall_clock_while_open() {
    let Fixture { engine, store, clock } = open();
    engine.put_for(&key("k"), "v", SECOND).await.unwrap();
    for wall in [START - SECOND, START + 1_000 * SECOND] {
        clock.set_wall(UNIX_EPOCH + wall);
        engine.put(&key("other"), "v").await.unwrap();
        assert_eq!(engine.time().await.unwrap(), UNIX_EPOCH + START);
        assert!(engine.get(&key("k")).await.unwrap().is_some());
    }
    clock.advance(Duration::from_millis(500));
    engine.put(&key("other"), "v").await.unwrap();
    // Set back, the clock does not give the record a longer life than was left.
    let reopened = reopen(&store, Duration::ZERO);
    let half = Duration::from_millis(500);
    assert_eq!(reopened.time().await.unwrap(), UNIX_EPOCH + START + half);
    assert_eq!(reopened.get_with_ttl(&key("k")).await.unwrap().unwrap().1, Some(half));
    assert_eq!(reopen(&store, START + half).get(&key("k")).await.unwrap().map(|r| r.value.len()), Some(1));
    // Set forward, it has passed.
    assert_eq!(reopen(&store, START + SECOND).get(&key("k")).await.unwrap(), None);

    engine.close().await.unwrap();
    assert_eq!(engine.time().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_an_orderly_close_keeps_the_time_at_which_it_was() {
    let Fixture { engine, store, clock } = open();
    clock.advance(5 * SECOND);
    engine.close().await.unwrap();
    let reopened = reopen(&store, Duration::ZERO);
    assert_eq!(reopened.time().await.unwrap(), UNIX_EPOCH + START + 5 * SECOND);
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_what_is_due_at_an_opening_goes_before_the_first_answer_and_some_at_a_time() {
    let Fixture { engine, store, .. } = open();
    put_many(&engine, 100_000, SECOND).await;
    engine.put_for(&key("later"), "v", 10 * SECOND).await.unwrap();
    let before = engine.get_many(&[]).await.unwrap().version;
    let crashed = store.crashed();
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH + START + SECOND));
    let reopened = Local::open(crashed.clone(), LocalOptions::default(), clock).unwrap();
    let view = reopened.get_many(&[key("r000000"), key("r099999"), key("later")]).await.unwrap();
    let there: Vec<_> = view.data.iter().map(Option::is_some).collect();
    assert_eq!(there, [false, false, true]);
    assert!(view.version.get() >= before.get() + 100_000, "each removal is a commit of its own");
    assert!(crashed.commits().iter().all(|begun| begun.records <= AT_ONCE), "memory is bounded");
    assert_index_agrees(&reopened, &crashed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c12_c15_a_close_does_not_wait_for_what_is_due() {
    let Fixture { engine, store, clock } = open();
    put_many(&engine, 10_000, SECOND).await;
    store.hold();
    clock.advance(SECOND);
    store.wait_for_commits(1);
    let mut closing = engine.close();
    assert!(poll!(&mut closing).is_pending(), "the removal that has begun is finished");
    store.let_all_go();
    closing.await.unwrap();
    assert!(store.commits().len() <= 3, "{:?}", store.commits());
    assert_eq!(entries(&reopen(&store, START + SECOND)).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn c09_c15_a_removal_does_not_lend_its_level_to_later_answers() {
    let Fixture { engine, store, clock } = open();
    engine.put_for(&key("k"), "v", SECOND).await.unwrap();
    clock.advance(SECOND);
    until_gone(&engine, "k").await;
    store.hold();
    store.let_all_go();
    let synced = WriteOptions::default().durability(Durability::Synced);
    let outcome = engine.write(Batch::new().delete(key("k")), synced).await.unwrap();
    let Outcome::Unchanged(view) = outcome else { panic!("{outcome:?}") };
    assert_eq!(view.durability, Durability::Synced);
    assert_eq!(store.commits().last().map(|begun| begun.level), Some(Durability::Synced));
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_rows_that_agree_with_no_record_remove_nothing() {
    let Fixture { engine, store, .. } = open();
    let first = engine.put_for(&key("k"), "v", SECOND).await.unwrap();
    let entry = store.system_keys(INDEX).remove(0);
    let row = store.snapshot().unwrap().get(Space::System, &entry).unwrap().unwrap();
    // As if the overwriting had forgotten the entry.
    let second = engine.put_for(&key("k"), "w", 10 * SECOND).await.unwrap();
    store.tamper(Space::System, &entry, |_| row);
    assert!(second.version > first.version);
    let reopened_store = store.crashed();
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH + START + SECOND));
    let reopened = Local::open(reopened_store.clone(), LocalOptions::default(), clock).unwrap();
    assert_eq!(reopened.get(&key("k")).await.unwrap().unwrap().version, second.version);
    assert_index_agrees(&reopened, &reopened_store).await;
}
