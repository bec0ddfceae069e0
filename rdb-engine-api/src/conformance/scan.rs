//! Ranges, orders and views.

use std::collections::BTreeSet;
use std::ops::Bound;

use bytes::Bytes;
use futures::StreamExt as _;

use super::Context;
use super::db::{Db, Numbers, committed, drain, filler, key, must, record_of, text_of, together};
use crate::{Batch, Direction, Entry, KeyRange, Scan, View};

/// Keys around every place where bytes wrap, in byte order.
const CORNERS: [&[u8]; 16] = [
    b"\0",
    b"\0\0",
    b"\0\xff",
    b"\x01",
    b"a",
    b"a\0",
    b"a\xff",
    b"a\xff\xff",
    b"b",
    b"\x7f",
    b"\x80",
    b"\xfe\xff",
    b"\xff",
    b"\xff\0",
    b"\xff\xff",
    b"\xff\xff\xff",
];

async fn with_corners(cx: &Context) -> Db {
    let db = cx.open().await;
    // Stored out of order, so that order is the engine's doing.
    let batch =
        CORNERS.iter().rev().fold(Batch::new(), |batch, name| batch.put(key(name), Bytes::from_static(name)));
    db.commit(batch).await;
    db
}

fn names(entries: &[Entry]) -> Vec<Vec<u8>> {
    entries.iter().map(|entry| entry.key.as_bytes().to_vec()).collect()
}

/// Scans a range both ways, and compares with what its bounds say.
async fn agrees_with_its_bounds(db: &Db, range: &KeyRange) {
    let expected: Vec<Vec<u8>> =
        CORNERS.iter().filter(|name| range.contains(name)).map(|name| name.to_vec()).collect();
    let forward = db.scan(Scan::new(range.clone())).await.data;
    assert_eq!(names(&forward), expected, "a scan delivers the keys of {range:?} in byte order (C8)");
    for entry in &forward {
        let value = &record_of(entry).value;
        assert_eq!(value, entry.key.as_bytes(), "a scan delivers each key with its own value (C8)");
    }
    let reverse = db.scan(Scan::new(range.clone()).reverse()).await.data;
    let mirrored: Vec<Vec<u8>> = expected.into_iter().rev().collect();
    assert_eq!(names(&reverse), mirrored, "a reverse scan of {range:?} is the mirror of a forward one (C8)");
}

/// C8: a scan delivers its keys in byte order, a reverse scan in the opposite order.
pub(super) async fn c08_a_scan_is_in_byte_order_both_ways(cx: &Context) {
    let db = with_corners(cx).await;
    agrees_with_its_bounds(&db, &KeyRange::all()).await;
    let names = cx_names(&db, Scan::new(KeyRange::all())).await;
    assert!(names.is_sorted(), "byte order");
}

async fn cx_names(db: &Db, scan: Scan) -> Vec<Vec<u8>> {
    names(&db.scan(scan).await.data)
}

/// C8: bounds are included or excluded as asked, and need not be keys that are there.
pub(super) async fn c08_bounds_are_included_or_excluded_as_asked(cx: &Context) {
    let db = with_corners(cx).await;
    let ends = |name: &'static [u8]| {
        [
            Bound::Included(Bytes::from_static(name)),
            Bound::Excluded(Bytes::from_static(name)),
            Bound::Unbounded,
        ]
    };
    for (from, to) in
        [(&b"a"[..], &b"b"[..]), (b"a\0", b"\xff"), (b"aa", b"az"), (b"\0", b"\xff\xff\xff"), (b"b", b"b")]
    {
        for start in ends(from) {
            for end in ends(to) {
                agrees_with_its_bounds(&db, &KeyRange::new(start.clone(), end)).await;
            }
        }
    }
}

/// C8: a range whose start lies behind its end is empty, not an error.
pub(super) async fn c08_an_inverted_range_is_empty(cx: &Context) {
    let db = with_corners(cx).await;
    let inverted = [
        (Bound::Included("b"), Bound::Included("a")),
        (Bound::Excluded("b"), Bound::Excluded("a")),
        (Bound::Excluded("a"), Bound::Excluded("a")),
        (Bound::Included("a"), Bound::Excluded("a")),
        (Bound::Excluded("a"), Bound::Included("a")),
    ];
    for (start, end) in inverted {
        let range = KeyRange::new(start.map(Bytes::from), end.map(Bytes::from));
        assert_eq!(db.scan(Scan::new(range.clone())).await.data, [], "{range:?} is empty (C8)");
        assert_eq!(
            db.scan(Scan::new(range.clone()).reverse()).await.data,
            [],
            "{range:?} in reverse is empty (C8)"
        );
    }
}

/// C8: a prefix finds the keys that begin with it, and not their neighbours.
pub(super) async fn c08_a_prefix_does_not_reach_its_neighbours(cx: &Context) {
    let db = with_corners(cx).await;
    for prefix in [&b"\0"[..], b"\0\xff", b"a", b"a\xff", b"\x7f", b"\xfe", b"aa", b"c"] {
        agrees_with_its_bounds(&db, &KeyRange::prefix(Bytes::from_static(prefix))).await;
    }
}

/// C8: the empty prefix is everything.
pub(super) async fn c08_the_empty_prefix_is_everything(cx: &Context) {
    let db = with_corners(cx).await;
    let found = cx_names(&db, Scan::new(KeyRange::prefix(Bytes::new()))).await;
    assert_eq!(found.len(), CORNERS.len(), "every key begins with the empty prefix (C8)");
}

/// C8: a prefix of `0xff` bytes finds all keys that begin with it, the very last included.
pub(super) async fn c08_a_prefix_of_ff_keeps_its_last_key(cx: &Context) {
    let db = with_corners(cx).await;
    for prefix in [&b"\xff"[..], b"\xff\xff", b"\xff\xff\xff"] {
        agrees_with_its_bounds(&db, &KeyRange::prefix(Bytes::from_static(prefix))).await;
    }
    db.put([0xff; 40], Bytes::from_static(b"the last")).await;
    let last = cx_names(&db, Scan::new(KeyRange::prefix(vec![0xff])).reverse().limit(1)).await;
    assert_eq!(last, [vec![0xff; 40]], "the last key under a prefix of ff is found (C8)");
    let forward = cx_names(&db, Scan::new(KeyRange::prefix(vec![0xff]))).await;
    assert_eq!(forward.last(), Some(&vec![0xff; 40]), "the last key under a prefix of ff is found (C8)");
}

/// C8: a limit ends a scan, from either side.
pub(super) async fn c08_a_limit_ends_a_scan(cx: &Context) {
    let db = with_corners(cx).await;
    for limit in [0, 1, 2, CORNERS.len() as u64 - 1, CORNERS.len() as u64, CORNERS.len() as u64 + 1, u64::MAX]
    {
        let wanted = CORNERS.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        let found = cx_names(&db, Scan::new(KeyRange::all()).limit(limit)).await;
        assert_eq!(found, CORNERS[..wanted], "the first {limit} keys (C8)");
        let found = cx_names(&db, Scan::new(KeyRange::all()).reverse().limit(limit)).await;
        let last: Vec<_> = CORNERS.iter().rev().take(wanted).copied().collect();
        assert_eq!(found, last, "the last {limit} keys (C8)");
    }
}

/// C8: a scan of keys delivers the same keys, without records.
pub(super) async fn c08_a_scan_of_keys_delivers_no_records(cx: &Context) {
    let db = with_corners(cx).await;
    for direction in [Direction::Forward, Direction::Reverse] {
        let mut scan = Scan::new(KeyRange::prefix("a"));
        scan.direction = direction;
        let records = db.scan(scan.clone()).await;
        let keys = db.scan(scan.keys_only()).await;
        assert_eq!(names(&keys.data), names(&records.data), "the same keys (C8)");
        assert!(
            keys.data.iter().all(|entry| entry.record.is_none()),
            "a scan of keys delivers no records (C8)"
        );
    }
}

/// C8: a scan reports the version of its view, and each record its own.
pub(super) async fn c08_a_scan_reports_its_views_version(cx: &Context) {
    let db = cx.open().await;
    let empty = db.scan(Scan::new(KeyRange::all())).await;
    let a = db.put("a", "1").await;
    let b = db.put("b", "2").await;
    assert!(a > empty.version, "a commit is later than the view of the empty engine (C4, C8)");
    for scan in
        [Scan::new(KeyRange::all()), Scan::new(KeyRange::all()).reverse(), Scan::new(KeyRange::prefix("a"))]
    {
        let view = db.scan(scan).await;
        assert_eq!(view.version, b, "a scan reports the version of the whole view (C8)");
        for entry in &view.data {
            let expected = if entry.key == key("a") { a } else { b };
            assert_eq!(record_of(entry).version, expected, "`{}` keeps its own version (C4, C8)", entry.key);
        }
    }
    let deleted = committed(db.delete("b").await).version;
    assert_eq!(
        db.scan(Scan::new(KeyRange::all())).await.version,
        deleted,
        "a delete makes a new view (C4, C8)"
    );
}

/// C8: a scan shows the view of the instant it was opened, not what is written before it is read.
pub(super) async fn c08_a_scan_shows_no_later_write(cx: &Context) {
    let db = cx.open().await;
    for direction in [Direction::Forward, Direction::Reverse] {
        db.commit(
            Batch::new().put(key("a"), "old").put(key("c"), "old").put(key("e"), "old").delete(key("b")),
        )
        .await;
        let before = db.scan(Scan::new(KeyRange::all())).await;
        let mut scan = Scan::new(KeyRange::all());
        scan.direction = direction;
        let open = db.open_scan(scan).await;
        db.commit(
            Batch::new().put(key("a"), "new").put(key("b"), "new").delete(key("c")).put(key("e"), "new"),
        )
        .await;
        let mut seen = must(drain(open.data).await, "a scan");
        seen.sort_by(|one, other| one.key.cmp(&other.key));
        assert_eq!(
            seen, before.data,
            "a scan shows the view it was opened in, whatever is written meanwhile (C8)"
        );
        assert_eq!(open.version, before.version, "the view's version is that of the opening (C8)");
    }
}

/// C8: scans opened one after the other each show their own view.
pub(super) async fn c08_each_scan_shows_its_own_view(cx: &Context) {
    let db = cx.open().await;
    let mut open = Vec::new();
    for round in 0..8 {
        let version = db.put("k", format!("{round}")).await;
        db.put(format!("new {round}"), "").await;
        open.push((round, version, db.open_scan(Scan::new(KeyRange::all())).await));
    }
    committed(db.delete("k").await);
    for (round, version, view) in open.into_iter().rev() {
        let entries = must(drain(view.data).await, "a scan");
        assert_eq!(entries.len(), round + 2, "view {round} holds the keys written until then (C8)");
        let record = record_of(&entries[0]);
        assert_eq!((text_of(record), record.version), (format!("{round}"), version), "view {round} (C8)");
    }
}

/// C8: a scan of many entries is whole, in order, and comes in chunks that are never empty.
pub(super) async fn c08_a_scan_of_many_entries_is_whole(cx: &Context) {
    let db = cx.open().await;
    let all = db.fill("k", 5_000, 300).await;
    let view = db.scan(Scan::new(KeyRange::all())).await;
    let found: Vec<String> = view.data.iter().map(|entry| entry.key.to_string()).collect();
    assert!(found == all, "a scan delivers every one of 5000 keys in order, delivered {} (C8)", found.len());
    for entry in &view.data {
        let whole = record_of(entry).value == filler(&entry.key.to_string(), 300);
        assert!(whole, "`{}` has its own value (C8)", entry.key);
    }
    let reverse = db.scan(Scan::new(KeyRange::all()).reverse()).await;
    assert!(
        reverse.data.iter().rev().eq(view.data.iter()),
        "a reverse scan is the mirror of a forward one (C8)"
    );
}

/// C8: ranges of every form agree with a plain sorted set.
pub(super) async fn c08_random_ranges_agree_with_a_sorted_set(cx: &Context) {
    let db = cx.open().await;
    let mut numbers = Numbers(8);
    let mut any = |most: usize| -> Vec<u8> {
        let bytes = [0x00, 0x01, b'a', b'b', 0xfe, 0xff];
        (0..=numbers.below(most)).map(|_| bytes[numbers.below(bytes.len())]).collect()
    };
    let set: BTreeSet<Vec<u8>> = (0..150).map(|_| any(4)).collect();
    db.commit(set.iter().fold(Batch::new(), |batch, name| batch.put(key(name), "v"))).await;
    for round in 0..120 {
        let (from, to) = (Bytes::from(any(4)), Bytes::from(any(4)));
        let range = match round % 4 {
            0 => KeyRange::prefix(from),
            1 => KeyRange::new(Bound::Included(from), Bound::Excluded(to)),
            2 => KeyRange::new(Bound::Excluded(from), Bound::Included(to)),
            _ => KeyRange::new(Bound::Unbounded, Bound::Included(to)),
        };
        let mut expected: Vec<Vec<u8>> = set.iter().filter(|name| range.contains(name)).cloned().collect();
        let mut scan = Scan::new(range).keys_only();
        if round % 3 == 0 {
            scan = scan.reverse();
            expected.reverse();
        }
        assert_eq!(cx_names(&db, scan.clone()).await, expected, "{scan:?} agrees with its bounds (C8)");
    }
}

/// C8: reading several keys answers in the order asked, a key asked twice twice.
pub(super) async fn c08_a_get_of_several_keys_answers_in_the_order_asked(cx: &Context) {
    let db = cx.open().await;
    db.put("a", "1").await;
    let version = db.put("b", "2").await;
    let view = db.get_many(&["b", "missing", "a", "b"]).await;
    let values: Vec<_> = view.data.iter().map(|record| record.as_ref().map(text_of)).collect();
    let text = |value: &str| Some(value.to_owned());
    assert_eq!(values, [text("2"), None, text("1"), text("2")], "in the order asked (C8)");
    assert_eq!(view.version, version, "with the version of the view (C8)");

    // More than an engine may read at once: in no order, some absent, most asked twice, near and far.
    let most = db.engine().info().limits.max_get_many_keys.min(211);
    let numbers: Vec<usize> = (0..most).map(|place| place * 37 % 101 / (1 + place % 2)).collect();
    let name = |number: usize| format!("n{number:03}");
    let there = (0..101).filter(|number| number % 3 != 0);
    db.commit(there.fold(Batch::new(), |batch, number| batch.put(key(name(number)), number.to_string())))
        .await;
    let names: Vec<String> = numbers.iter().map(|number| name(*number)).collect();
    let found: Vec<_> =
        db.get_many(&names).await.data.iter().map(|record| record.as_ref().map(text_of)).collect();
    let expected: Vec<_> =
        numbers.iter().map(|number| (number % 3 != 0).then(|| number.to_string())).collect();
    assert_eq!(found, expected, "each key of many has its own answer, in the order asked (C8)");
}

/// C8: a scan held open across 10,000 writes shows its view; the writes do not wait for it.
pub(super) async fn c08_a_scan_is_stable_across_10000_writes(cx: &Context) {
    stable_across_10000_writes(cx, Direction::Forward).await;
}

/// C8: the same in reverse.
pub(super) async fn c08_a_reverse_scan_is_stable_across_10000_writes(cx: &Context) {
    stable_across_10000_writes(cx, Direction::Reverse).await;
}

async fn stable_across_10000_writes(cx: &Context, direction: Direction) {
    const TASKS: usize = 100;
    const WRITES: usize = 100;
    let db = cx.open().await;
    // 8 MiB: more than a scan may read ahead, so that most of it is read behind the writes.
    let old = db.fill("k", 4_096, 2_048).await;
    let mut scan = Scan::new(KeyRange::all());
    scan.direction = direction;
    let before: View<Vec<Entry>> = db.scan(scan.clone()).await;
    assert_eq!(before.data.len(), old.len());

    let mut held = db.open_scan(scan.clone()).await;
    let mut seen = must(held.data.next().await.expect("the scan has entries (C8)"), "a scan");
    // The scan stays open and is not read until the last writer is done: it must hold up none of them.
    together((0..TASKS).map(|task| {
        let (db, old) = (db.clone(), old.clone());
        async move {
            for number in 0..WRITES {
                let name = &old[(number * TASKS + task) % old.len()];
                let batch = match number % 3 {
                    0 => Batch::new().put(key(name), format!("changed by {task}")),
                    1 => Batch::new().put(key(format!("{name} and a half, {task}")), "new"),
                    _ => Batch::new().delete(key(name)),
                };
                assert!(db.write(batch).await.succeeded(), "a batch without conditions has no conflict (C3)");
            }
        }
    }))
    .await;

    assert!(db.version().await > before.version, "the writers have written");
    seen.extend(must(drain(held.data).await, "a scan held across 10000 writes"));
    assert_eq!(held.version, before.version, "the version is that of the view (C8)");
    assert!(
        seen == before.data,
        "a scan shows its one view across 10000 writes (C8): {} entries then, {} now, the first difference at {:?}",
        before.data.len(),
        seen.len(),
        seen.iter().zip(&before.data).position(|(now, then)| now != then)
    );
    let after = db.scan(scan).await;
    assert!(after.data != before.data, "a scan opened afterwards shows what was written (C1)");
}
