//! Many callers at once.

use std::collections::HashSet;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::task::JoinHandle;

use super::db::{Db, Numbers, committed, key, must, record_of, text_of, together};
use super::{Context, Workload};
use crate::{Batch, Condition, Entry, KeyRange, Outcome, Record, Scan, Version, WriteOptions};

/// How long the callers of a workload go on at most: a slow engine leaves the checkers their time, too.
const WORKLOAD: Duration = Duration::from_secs(20);

/// How many views the readers beside a case's writers take at least.
const VIEWS: u64 = 200;

fn number_in(record: &Record) -> u64 {
    text_of(record).parse().expect("the case stored a number here")
}

/// C1: a counter that many tasks increment by compare-and-swap ends at exactly their sum.
pub(super) async fn c01_a_compare_and_swap_counter_is_exact(cx: &Context) {
    const TASKS: u64 = 16;
    const INCREMENTS: u64 = 50;
    let db = cx.open().await;
    together((0..TASKS).map(|_| {
        let db = db.clone();
        async move {
            let mut current = db.get("counter").await;
            for _ in 0..INCREMENTS {
                loop {
                    let (count, condition) = match &current {
                        Some(record) => (number_in(record), Condition::Version(record.version)),
                        None => (0, Condition::Absent),
                    };
                    match db.put_when("counter", condition, (count + 1).to_string()).await {
                        Outcome::Conflict(conflict) => current = conflict.current,
                        _ => break,
                    }
                }
                current = db.get("counter").await;
            }
        }
    }))
    .await;
    let count = db.get("counter").await.map(|record| number_in(&record));
    assert_eq!(
        count,
        Some(TASKS * INCREMENTS),
        "{TASKS} tasks each added 1 by compare-and-swap {INCREMENTS} times: no increment is lost (C1, C3)"
    );
}

/// C1: whatever many callers do at once, both checkers find one order that explains what each of them saw.
pub(super) async fn c01_callers_that_do_everything_agree_on_one_order(cx: &Context) {
    let db = cx.open().await;
    let workload = Workload { groups: 6, most_time: Some(WORKLOAD), ..Workload::new(12, 3_000) };
    must(workload.run(db.engine_arc(), Arc::default()).await, "an operation among many");
}

/// C1, C10: the same where callers give up on their writes at any time.
pub(super) async fn c01_c10_callers_that_give_up_agree_on_one_order(cx: &Context) {
    let db = cx.open().await;
    let workload =
        Workload { groups: 20, given_up: 24, most_time: Some(WORKLOAD), seed: 2, ..Workload::new(8, 2_000) };
    must(workload.run(db.engine_arc(), Arc::default()).await, "an operation among many");
}

/// C1: of many callers that insert one key, exactly one succeeds, and the others see its record.
pub(super) async fn c01_of_many_inserts_exactly_one_succeeds(cx: &Context) {
    let db = cx.open().await;
    for round in 0..10 {
        let outcomes =
            together(
                (0..24).map(|task| {
                    let db = db.clone();
                    async move {
                        db.put_when(format!("key {round}"), Condition::Absent, format!("task {task}")).await
                    }
                }),
            )
            .await;
        let there = db.get(format!("key {round}")).await.expect("one of the inserts succeeded (C1)");
        let mut winners = 0;
        for (task, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Outcome::Conflict(conflict) => {
                    assert_eq!(
                        conflict.current.as_ref(),
                        Some(&there),
                        "a loser sees the winner's record (C7)"
                    );
                }
                outcome => {
                    winners += 1;
                    assert_eq!(text_of(&there), format!("task {task}"), "the winner's value is there (C1)");
                    assert_eq!(outcome.version(), there.version, "the winner's version is there (C4)");
                }
            }
        }
        assert_eq!(winners, 1, "exactly one insert of a key succeeds (C1)");
    }
}

/// C1: a read never shows less than a write that returned before it began, never goes back, and never
/// shows what nobody has yet begun to write.
pub(super) async fn c01_a_read_never_goes_back(cx: &Context) {
    const WRITES: u64 = 200;
    let db = cx.open().await;
    db.put("k", "0").await;
    let (begun, returned) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let writer = {
        let (db, begun, returned) = (db.clone(), Arc::clone(&begun), Arc::clone(&returned));
        tokio::spawn(async move {
            for number in 1..=WRITES {
                // An engine may answer at once, always: leave the readers their turn.
                tokio::task::yield_now().await;
                begun.store(number, SeqCst);
                db.put("k", number.to_string()).await;
                returned.store(number, SeqCst);
            }
        })
    };
    together((0..4).map(|reader| {
        let (db, begun, returned) = (db.clone(), Arc::clone(&begun), Arc::clone(&returned));
        async move {
            let mut last = 0;
            while last < WRITES {
                tokio::task::yield_now().await;
                let least = last.max(returned.load(SeqCst));
                let record = match reader % 3 {
                    0 => db.get("k").await,
                    1 => db.get_many(&["k"]).await.data.remove(0),
                    _ => db
                        .scan(Scan::new(KeyRange::prefix("k")))
                        .await
                        .data
                        .pop()
                        .and_then(|entry| entry.record),
                };
                let Some(record) = record else {
                    panic!("a read saw nothing after {least} had been seen or acknowledged (C1)");
                };
                let seen = number_in(&record);
                assert!(seen >= least, "a read saw {seen} after {least} had been seen or acknowledged (C1)");
                let most = begun.load(SeqCst);
                assert!(seen <= most, "a read saw {seen} when only {most} had been begun (C1)");
                last = seen;
            }
        }
    }))
    .await;
    writer.await.expect("the writer does not panic");
}

/// C2: no reader ever sees a part of a batch.
pub(super) async fn c02_readers_never_see_half_a_batch(cx: &Context) {
    const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let db = cx.open().await;
    let write = |db: Db, value: String| async move {
        db.commit(KEYS.iter().fold(Batch::new(), |batch, name| batch.put(key(name), value.clone()))).await
    };
    write(db.clone(), "0".to_owned()).await;
    let done = Arc::new(AtomicBool::new(false));
    let views = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..4)
        .map(|reader| {
            let (db, done, views) = (db.clone(), Arc::clone(&done), Arc::clone(&views));
            tokio::spawn(async move {
                while !done.load(SeqCst) {
                    tokio::task::yield_now().await;
                    let records: Vec<Record> = if reader % 2 == 0 {
                        db.get_many(&KEYS).await.data.into_iter().flatten().collect()
                    } else {
                        let entries: Vec<Entry> = db.scan(Scan::new(KeyRange::all())).await.data;
                        entries.iter().map(|entry| record_of(entry).clone()).collect()
                    };
                    assert_eq!(records.len(), KEYS.len(), "every batch writes all eight keys (C2)");
                    let whole = records.iter().all(|record| *record == records[0]);
                    assert!(whole, "all records of a view come from one batch (C2), saw {records:?}");
                    views.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    // As many as it takes that the readers have looked on, however fast the engine is.
    let mut round = 0;
    while round < 100 || views.load(SeqCst) < VIEWS && !readers.iter().all(JoinHandle::is_finished) {
        round += 1;
        write(db.clone(), round.to_string()).await;
        tokio::task::yield_now().await;
    }
    done.store(true, SeqCst);
    joined(readers).await;
}

/// Waits for tasks that run beside the case; a panic in one is the case's.
async fn joined(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        if let Err(error) = task.await {
            resume_unwind(error.into_panic());
        }
    }
}

const ACCOUNTS: usize = 8;
const BALANCE: u64 = 100;

fn account(number: usize) -> String {
    format!("account {number}")
}

/// Moves money between accounts from several tasks, while `check` reads until they are done.
async fn transfers<F: Future<Output = ()> + Send + 'static>(
    db: &Db,
    check: impl Fn(Db) -> F + Send + Sync + Clone + 'static,
) {
    let open = (0..ACCOUNTS)
        .fold(Batch::new(), |batch, number| batch.put(key(account(number)), BALANCE.to_string()));
    db.commit(open).await;
    let done = Arc::new(AtomicBool::new(false));
    let views = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (db, done, check, views) = (db.clone(), Arc::clone(&done), check.clone(), Arc::clone(&views));
            tokio::spawn(async move {
                while !done.load(SeqCst) {
                    tokio::task::yield_now().await;
                    check(db.clone()).await;
                    views.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    let watched = Arc::new(readers);
    together((0..4).map(|task| {
        let (db, views, readers) = (db.clone(), Arc::clone(&views), Arc::clone(&watched));
        async move {
            let mut numbers = Numbers(task);
            let mut number = 0;
            // As many as it takes that the readers have looked on, however fast the engine is.
            while number < 40 || views.load(SeqCst) < VIEWS && !readers.iter().all(JoinHandle::is_finished) {
                number += 1;
                let from = numbers.below(ACCOUNTS);
                let to = (from + 1 + numbers.below(ACCOUNTS - 1)) % ACCOUNTS;
                transfer(&db, &account(from), &account(to), 1 + numbers.below(50) as u64).await;
            }
        }
    }))
    .await;
    done.store(true, SeqCst);
    joined(Arc::into_inner(watched).expect("the transfers are done")).await;
    check(db.clone()).await;
}

/// Moves money with one batch that holds only while neither account has changed.
async fn transfer(db: &Db, from: &str, to: &str, amount: u64) {
    loop {
        tokio::task::yield_now().await;
        let view = db.get_many(&[from, to]).await;
        let [Some(giver), Some(taker)] = &view.data[..] else { panic!("an account is missing (C2)") };
        let Some(rest) = number_in(giver).checked_sub(amount) else { return };
        let batch = Batch::new()
            .when(key(from), Condition::Version(giver.version))
            .when(key(to), Condition::Version(taker.version))
            .put(key(from), rest.to_string())
            .put(key(to), (number_in(taker) + amount).to_string());
        if db.write(batch).await.succeeded() {
            return;
        }
    }
}

fn check_sum(balances: &[u64]) {
    assert_eq!(balances.len(), ACCOUNTS, "every account is in every view (C2, C8)");
    let sum: u64 = balances.iter().sum();
    assert_eq!(sum, ACCOUNTS as u64 * BALANCE, "no view shows money made or lost (C2, C8): {balances:?}");
}

/// C8: scans among transfers always show the same sum.
pub(super) async fn c08_a_scan_among_transfers_shows_one_view(cx: &Context) {
    let db = cx.open().await;
    transfers(&db, |db| async move {
        let entries = db.scan(Scan::new(KeyRange::prefix("account "))).await.data;
        check_sum(&entries.iter().map(|entry| number_in(record_of(entry))).collect::<Vec<_>>());
    })
    .await;
}

/// C8: gets of several keys among transfers always show the same sum.
pub(super) async fn c08_a_get_of_several_keys_among_transfers_shows_one_view(cx: &Context) {
    let db = cx.open().await;
    transfers(&db, |db| async move {
        let names: Vec<String> = (0..ACCOUNTS).map(account).collect();
        let records = db.get_many(&names).await.data;
        check_sum(&records.iter().flatten().map(number_in).collect::<Vec<_>>());
    })
    .await;
}

/// C3: of two batches that each ask for what the other takes away, one fails.
pub(super) async fn c03_two_batches_cannot_both_rest_on_what_the_other_changes(cx: &Context) {
    let db = cx.open().await;
    for round in 0..30 {
        let (left, right) = (format!("left {round}"), format!("right {round}"));
        let go_off = |this: &String, other: &String| {
            let (db, batch) =
                (db.clone(), Batch::new().when(key(other), Condition::Absent).put(key(this), "off duty"));
            async move { db.write(batch).await }
        };
        let outcomes = together([go_off(&left, &right), go_off(&right, &left)]).await;
        let off = outcomes.iter().filter(|outcome| outcome.succeeded()).count();
        assert_eq!(off, 1, "each batch asks that the other has not happened: exactly one can (C3)");
    }
}

/// C4: versions are unique, and follow the order of writes that do not overlap.
pub(super) async fn c04_versions_follow_the_order_of_writes(cx: &Context) {
    let db = cx.open().await;
    let clock = Arc::new(AtomicU64::new(0));
    let writes: Vec<(u64, Version, u64)> = together((0..8).map(|task| {
        let (db, clock) = (db.clone(), Arc::clone(&clock));
        async move {
            let mut writes = Vec::new();
            for _ in 0..30 {
                let called = clock.fetch_add(1, SeqCst);
                let version = db.put(format!("task {task}"), "v").await;
                writes.push((called, version, clock.fetch_add(1, SeqCst)));
            }
            writes
        }
    }))
    .await
    .into_iter()
    .flatten()
    .collect();
    let unique: HashSet<Version> = writes.iter().map(|(_, version, _)| *version).collect();
    assert_eq!(unique.len(), writes.len(), "no version is given to two commits (C4)");
    for (_, earlier, returned) in &writes {
        for (called, later, _) in &writes {
            let in_order = returned > called || earlier < later;
            assert!(
                in_order,
                "a write that begins after another returned is later: {earlier}, then {later} (C1, C4)"
            );
        }
    }
}

/// C7: a conflict shows nothing older than what had been acknowledged before the call.
pub(super) async fn c07_a_conflict_is_never_stale(cx: &Context) {
    const WRITES: u64 = 150;
    let db = cx.open().await;
    db.put("k", "0").await;
    let returned = Arc::new(AtomicU64::new(0));
    let writer = {
        let (db, returned) = (db.clone(), Arc::clone(&returned));
        tokio::spawn(async move {
            for number in 1..=WRITES {
                // An engine may answer at once, always: leave the others their turn.
                tokio::task::yield_now().await;
                returned.store(db.put("k", number.to_string()).await.get(), SeqCst);
            }
        })
    };
    together((0..3).map(|_| {
        let (db, returned) = (db.clone(), Arc::clone(&returned));
        async move {
            loop {
                tokio::task::yield_now().await;
                let least = returned.load(SeqCst);
                let Outcome::Conflict(conflict) = db.put_when("k", Condition::Absent, "never").await else {
                    panic!("the key is never absent (C6)");
                };
                let current = conflict.current.expect("the conflict carries the current record (C7)");
                assert!(
                    current.version.get() >= least,
                    "a conflict showed {} after {least} (C1, C7)",
                    current.version
                );
                assert!(conflict.version >= current.version, "a view is not older than its records (C7)");
                if number_in(&current) == WRITES {
                    return;
                }
            }
        }
    }))
    .await;
    writer.await.expect("the writer does not panic");
}

/// C10: a write whose future is dropped is applied whole or not at all, and the engine goes on.
pub(super) async fn c10_a_dropped_write_is_applied_whole_or_not_at_all(cx: &Context) {
    const KEYS: usize = 8;
    let db = cx.open().await;
    for round in 0..60 {
        let batch =
            (0..KEYS).fold(Batch::new(), |batch, number| batch.put(key(format!("{round:02}/{number}")), "v"));
        // Dropped wherever it stands after so many steps, whatever the machine is busy with.
        let mut write = db.engine().write(batch, WriteOptions::default());
        for _ in 0..round % 12 {
            if let Some(answer) = (&mut write).now_or_never() {
                committed(must(answer, "a write"));
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    for _ in 0..3 {
        db.put("barrier", "v").await;
        for round in 0..60 {
            let found = db.scan(Scan::new(KeyRange::prefix(format!("{round:02}/")))).await;
            let whole = found.data.is_empty() || found.data.len() == KEYS;
            assert!(
                whole,
                "{} of {KEYS} operations of a dropped write were seen (C2, C10)",
                found.data.len()
            );
            let one =
                found.data.iter().all(|entry| record_of(entry).version == record_of(&found.data[0]).version);
            assert!(one, "a dropped write has one version (C4)");
        }
    }
}
