//! Requests beyond the limits, and full queues.

use std::time::Duration;

use futures::StreamExt as _;

use super::Context;
use super::db::{Db, drain, filler, key, must, refused, together, until};
use crate::{Batch, Condition, Error, ErrorKind, Key, KeyRange, Limits, MAX_KEY_BYTES, Scan, WriteOptions};

/// Limits that a test reaches without gigabytes.
fn small() -> Limits {
    Limits {
        max_value_bytes: 10_000,
        max_batch_len: 50,
        max_batch_bytes: 100_000,
        max_get_many_keys: 20,
        max_scans: 4,
        ..Limits::default()
    }
}

/// Opens with small limits; returns those that the engine declares, which are what it is held to.
async fn open_small(cx: &Context) -> (Db, Limits) {
    let db = cx.open_with(small()).await;
    let limits = db.engine().info().limits.clone();
    (db, limits)
}

/// Checks that the batch is refused and that nothing of it was applied.
async fn check_refused(db: &Db, batch: Batch, what: &str) -> Error {
    let before = db.scan(Scan::new(KeyRange::all()).keys_only()).await;
    let error = refused(db.engine().write(batch, WriteOptions::default()).await, what);
    assert_eq!(
        error.kind(),
        ErrorKind::InvalidArgument,
        "{what} is an invalid argument (C14): {}",
        error.report()
    );
    let after = db.scan(Scan::new(KeyRange::all()).keys_only()).await;
    assert_eq!(
        (after.version, after.data),
        (before.version, before.data),
        "nothing of {what} is applied (C10, C14)"
    );
    error
}

/// C14: a key has 1 to 4096 bytes.
pub(super) async fn c14_a_key_has_1_to_4096_bytes(cx: &Context) {
    let (db, _) = open_small(cx).await;
    for refused in [0, MAX_KEY_BYTES + 1] {
        let error =
            Key::new(vec![b'k'; refused]).expect_err("a key of no bytes, or of too many, is refused (C14)");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{}", error.report());
    }
    for length in [1, MAX_KEY_BYTES] {
        let name = vec![b'k'; length];
        let version = db.put(&name, "v").await;
        let found = db.get(&name).await.map(|record| record.version);
        assert_eq!(found, Some(version), "a key of {length} bytes is a key like any other (C14)");
    }
}

/// C14: a value of the declared limit is stored; one byte more is refused.
pub(super) async fn c14_a_value_beyond_the_limit_is_refused(cx: &Context) {
    let (db, limits) = open_small(cx).await;
    let longest = filler("value", limits.max_value_bytes);
    db.put("longest", longest.clone()).await;
    let stored = db.get("longest").await.expect("a value of the limit is stored (C14)").value;
    assert!(stored == longest, "a value of the limit comes back whole (C14)");
    let too_long = filler("value", limits.max_value_bytes + 1);
    check_refused(&db, Batch::new().put(key("k"), too_long.clone()), "a value beyond the limit").await;
    let mixed = Batch::new().put(key("short"), "v").put(key("k"), too_long);
    check_refused(&db, mixed, "a batch with one value beyond the limit").await;
}

/// C14: a batch of the declared length is applied; one condition or operation more is refused.
pub(super) async fn c14_a_batch_of_too_many_operations_is_refused(cx: &Context) {
    let (db, limits) = open_small(cx).await;
    let most = limits.max_batch_len;
    let puts = |count: usize| {
        (0..count).fold(Batch::new(), |batch, number| batch.put(key(format!("k{number}")), "v"))
    };
    db.commit(puts(most)).await;
    assert_eq!(db.dump().await.len(), most, "a batch of the limit is applied whole (C14)");
    check_refused(&db, puts(most + 1), "a batch of too many operations").await;
    let with_condition = puts(most).when(key("k0"), Condition::Present);
    check_refused(&db, with_condition, "a batch of too many conditions and operations together").await;
}

/// C14: a batch of too many bytes is refused, however few its operations.
pub(super) async fn c14_a_batch_of_too_many_bytes_is_refused(cx: &Context) {
    let (db, limits) = open_small(cx).await;
    let value = filler("value", limits.max_value_bytes.min(limits.max_batch_bytes / 4));
    let mut batch = Batch::new();
    while batch.size_bytes() <= limits.max_batch_bytes {
        let name = key(format!("k{}", batch.len()));
        batch = batch.put(name, value.clone());
    }
    assert!(batch.len() <= limits.max_batch_len, "the limits leave room to test the one on bytes");
    check_refused(&db, batch, "a batch of too many bytes").await;
}

/// C14: a get of too many keys is refused.
pub(super) async fn c14_a_get_of_too_many_keys_is_refused(cx: &Context) {
    let (db, limits) = open_small(cx).await;
    db.put("k", "v").await;
    let keys = vec![key("k"); limits.max_get_many_keys + 1];
    let most = must(db.engine().get_many(&keys[1..]).await, "a get of as many keys as the limit allows");
    assert_eq!(most.data.len(), limits.max_get_many_keys);
    let error = refused(db.engine().get_many(&keys).await, "a get of too many keys");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{}", error.report());
}

/// C14: one scan too many answers `Exhausted`; a scan that is dropped frees its place.
pub(super) async fn c14_a_scan_too_many_is_refused_until_one_is_dropped(cx: &Context) {
    let (db, limits) = open_small(cx).await;
    // More than a scan may read ahead: one that has read all could have given its place back.
    fill_8_mib(&db).await;
    let mut open = Vec::new();
    for _ in 0..limits.max_scans {
        open.push(db.open_scan(Scan::new(KeyRange::all())).await.data);
    }
    let error =
        refused(db.engine().scan(Scan::new(KeyRange::all())).await.map(drop), "one scan more than the limit");
    assert_eq!(
        error.kind(),
        ErrorKind::Exhausted,
        "a full place to scan from is Exhausted (C14): {}",
        error.report()
    );
    db.put("writers", "go on").await;
    open.pop();
    let one = Scan::new(KeyRange::all()).limit(1);
    // Whoever held the place may need a moment to notice.
    let next = until(async || db.engine().scan(one.clone()).await.ok()).await;
    assert_eq!(must(drain(next.data).await, "a scan").len(), 1);
    let rest = must(drain(open.swap_remove(0)).await, "a scan that was open all the time");
    assert_eq!(rest.len(), 4_096, "a scan that others were refused beside is whole (C8)");
}

async fn fill_8_mib(db: &Db) {
    for number in 0..4_096 / 32 {
        let put = |batch: Batch, place: usize| {
            batch.put(key(format!("k{number:03}/{place:02}")), filler("value", 2_048))
        };
        db.commit((0..32).fold(Batch::new(), put)).await;
    }
}

/// C8, C14: a scan whose reader rests too long is ended with an error, and never silently short.
pub(super) async fn c14_a_scan_at_rest_ends_in_an_error(cx: &Context) {
    let asked = Limits { max_scans: 1, scan_idle: Duration::from_millis(100), ..small() };
    let db = cx.open_with(asked.clone()).await;
    let declared = db.engine().info().limits.scan_idle;
    assert_eq!(
        declared, asked.scan_idle,
        "the harness opens with the limits it is given, or skips this case"
    );
    fill_8_mib(&db).await;
    let mut scan = db.open_scan(Scan::new(KeyRange::all())).await.data;
    let mut delivered = must(scan.next().await.expect("the scan has entries"), "a scan").len();
    // Its place becomes free only when the engine has given it up.
    drop(until(async || db.engine().scan(Scan::new(KeyRange::all()).limit(1)).await.ok()).await);
    let error = loop {
        match scan.next().await {
            Some(Ok(chunk)) => delivered += chunk.len(),
            Some(Err(error)) => break error,
            None => panic!("a scan that was given up ended like a whole one after {delivered} entries (C8)"),
        }
    };
    assert_eq!(
        error.kind(),
        ErrorKind::Exhausted,
        "a scan at rest ends in Exhausted (C14): {}",
        error.report()
    );
    assert!(delivered < 4_096, "the scan was given up before its end");
}

/// Checks that no write to these keys was applied; each was answered as not applied.
async fn check_absent(db: &Db, names: &[String]) {
    for name in names {
        assert_eq!(db.get(name).await, None, "a write answered as not applied never is (C10): `{name}`");
    }
}

/// C10: of many writes that wait for their turn, those whose time runs out meanwhile are certainly not
/// applied, unless they are answered as unknown.
pub(super) async fn c10_a_write_whose_time_ran_out_in_the_queue_is_not_applied(cx: &Context) {
    const TASKS: u64 = 32;
    let db = cx.open().await;
    let answers = together((0..TASKS).map(|task| {
        let db = db.clone();
        async move {
            let mut answers = Vec::new();
            for number in 0..8 {
                let name = format!("{task}/{number}");
                let options = WriteOptions::default().timeout(Duration::from_micros(task * 50));
                let batch = Batch::new().put(key(&name), "v");
                answers.push((name, db.engine().write(batch, options).await));
            }
            answers
        }
    }))
    .await;
    let mut not_applied = Vec::new();
    for (name, answer) in answers.into_iter().flatten() {
        match answer {
            Ok(outcome) => {
                let there = db.get(&name).await.map(|record| record.version);
                assert_eq!(there, Some(outcome.version()), "a write that was answered is there (C1)");
            }
            Err(error) if error.may_have_been_applied() => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "`{name}` (C10): {}", error.report());
                not_applied.push(name);
            }
        }
    }
    db.put("barrier", "v").await;
    check_absent(&db, &not_applied).await;
    check_absent(&cx.reopen().await, &not_applied).await;
}

/// C10: a write whose time has run out before its turn is certainly not applied.
pub(super) async fn c10_a_write_whose_time_ran_out_is_not_applied(cx: &Context) {
    let db = cx.open().await;
    let mut not_applied = Vec::new();
    for round in 0..20 {
        let name = format!("k{round}");
        let options = WriteOptions::default().timeout(Duration::ZERO);
        match db.engine().write(Batch::new().put(key(&name), "v"), options).await {
            Ok(outcome) => {
                let there = db.get(&name).await.map(|record| record.version);
                assert_eq!(there, Some(outcome.version()), "a write that was answered is there (C1)");
            }
            Err(error) => {
                assert_eq!(
                    error.kind(),
                    ErrorKind::Unavailable,
                    "its turn never came (C10): {}",
                    error.report()
                );
                db.put("barrier", "v").await;
                check_absent(&db, std::slice::from_ref(&name)).await;
                not_applied.push(name);
            }
        }
    }
    check_absent(&db, &not_applied).await;
    // An orderly end finishes what was accepted, however late: what is not there now never will be.
    check_absent(&cx.reopen().await, &not_applied).await;
}
