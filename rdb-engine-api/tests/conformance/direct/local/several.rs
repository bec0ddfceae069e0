//! Gets of several keys: in place where all is in memory, else from a snapshot, some keys at a time.

use std::sync::Arc;

use bytes::Bytes;
use rdb_engine_api::{
    Batch, Engine, EngineExt as _, ErrorKind, Key, LocalOptions, Record, Space, WriteOptions,
};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::commit::{committed, key, open, open_with};
use super::metrics::number;

/// So many are looked up in place, and so many read from a snapshot, in several parts.
const COUNTS: [usize; 2] = [20, 101];

fn values(records: &[Option<Record>]) -> Vec<Option<Bytes>> {
    records.iter().map(|record| record.as_ref().map(|record| record.value.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn c08_each_of_several_keys_has_its_answer_in_its_place() {
    let fixture = open();
    let there =
        (0..50).fold(Batch::new(), |batch, number| batch.put(key(format!("k{number}")), format!("{number}")));
    let put = committed(fixture.engine.write(there, WriteOptions::default()).await).version;
    for (count, blocking) in COUNTS.into_iter().zip([0.0, 1.0]) {
        // Every number twice, half of them absent, in no order.
        let numbers: Vec<usize> = (0..count).map(|place| place * 37 % 97 / 2 * 2).collect();
        let keys: Vec<Key> = numbers.iter().map(|number| key(format!("k{number}"))).collect();
        let view = fixture.engine.get_many(&keys).await.expect("a read");
        let expected = numbers.iter().map(|number| (*number < 50).then(|| number.to_string().into()));
        assert_eq!(values(&view.data), expected.collect::<Vec<_>>(), "{count} keys");
        assert_eq!(view.version, put);
        assert_eq!(number(&*fixture.engine, "blocking_reads", ""), blocking, "{count} keys");
    }
    let none = fixture.engine.get_many(&[]).await.expect("a read");
    assert_eq!((none.version, none.data), (put, Vec::new()));
}

/// C8: what is looked up one by one is one view all the same, or is looked up again.
#[tokio::test(flavor = "multi_thread")]
async fn c08_a_commit_between_two_look_ups_is_not_half_seen() {
    let fixture = open();
    let both = |value: &'static str| Batch::new().put(key("a"), value).put(key("b"), value);
    committed(fixture.engine.write(both("old"), WriteOptions::default()).await);
    let engine = Arc::clone(&fixture.engine);
    fixture.store.before_look_up("b", move || {
        let write = engine.write(both("new"), WriteOptions::default());
        committed(block_in_place(|| Handle::current().block_on(write)));
    });
    let view = fixture.engine.get_many(&[key("a"), key("b")]).await.expect("a read");
    assert_eq!(values(&view.data), [Some("new".into()), Some("new".into())]);
    let last = fixture.engine.get(&key("a")).await.expect("a read").expect("it is there");
    assert_eq!(view.version, last.version);
}

/// C13: a damaged row among many is an error, wherever it is found.
#[tokio::test(flavor = "multi_thread")]
async fn c13_a_damaged_row_among_several_is_corrupt() {
    let fixture = open();
    fixture.engine.put(&key("k"), "v").await.expect("a put commits");
    fixture.store.tamper(Space::Data, b"k", |row| {
        let mut row = row.expect("it is there").to_vec();
        row[9] ^= 1;
        row.into()
    });
    for count in COUNTS {
        let mut keys = vec![key("absent"); count - 1];
        keys.push(key("k"));
        let error = fixture.engine.get_many(&keys).await.expect_err("the last one is damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{count} keys");
    }
}

/// C14: the caller's thread copies no large records.
#[tokio::test(flavor = "multi_thread")]
async fn c14_large_records_are_read_on_a_blocking_thread() {
    let mut options = LocalOptions::default();
    options.limits.max_value_bytes = 50_000;
    options.limits.max_batch_bytes = 400_000;
    let fixture = open_with(options);
    let engine = &*fixture.engine;
    engine.put(&key("k"), vec![7; 50_000]).await.expect("a put commits");
    for (count, blocking) in [(1, 0.0), (2, 1.0), (7, 2.0)] {
        let view = engine.get_many(&vec![key("k"); count]).await.expect("they are within the limit");
        assert_eq!(view.data.len(), count);
        assert_eq!(number(engine, "blocking_reads", ""), blocking, "{count} keys");
    }
    let error = engine.get_many(&vec![key("k"); 8]).await.expect_err("they are beyond it");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}
