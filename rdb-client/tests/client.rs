//! What the client does about a node and a network that fail, proven against a node that fails on order.

#![allow(clippy::unwrap_used)] // a helper of a test that panics has failed it

mod cluster;
mod fake;
mod requests;
mod tls;

use std::time::Duration;

use fake::{Act, After, Fake, until};
use futures::{StreamExt, TryStreamExt};
use rdb_client::{
    Batch, Bytes, Client, Condition, Engine, EngineExt, Entry, Error, ErrorKind, Key, KeyRange, NodeState,
    Outcome, Record, RetryPolicy, Scan, SessionOptions, Version, WriteOptions,
};
use rdb_proto::ScanPart;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::Code;

const SHORT: Duration = Duration::from_millis(200);

fn key() -> Key {
    Key::new("k").unwrap()
}

fn entries(count: u64) -> Vec<Entry> {
    let entry = |number| {
        let record = Record::new(Bytes::from_static(b"v"), Version::MIN);
        Entry::new(Key::new(format!("{number:04}")).unwrap(), Some(record))
    };
    (0..count).map(entry).collect()
}

fn start() -> ScanPart {
    ScanPart::Start(Version::new(9).unwrap())
}

fn everything() -> Scan {
    Scan::new(KeyRange::all())
}

#[tokio::test]
async fn a_write_that_may_have_been_applied_arrives_once_and_is_unknown() {
    let fake = Fake::start().await;
    let strangers = (1..=16).map(|code| Act::Stranger(Code::from(code)));
    let failures =
        [Act::Cut, Act::Nonsense, Act::Hang, Act::Fail(Error::new(ErrorKind::Unknown, "cannot tell"))];
    for act in failures.into_iter().chain(strangers) {
        // A status without a message that is the whole response says that there is no such method.
        if matches!(act, Act::Stranger(Code::Unimplemented)) {
            continue;
        }
        let client = fake.client().await.with_timeout(SHORT);
        fake.order([act.clone()]);
        let error = client.put(&key(), "v").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{act:?}: {error}");
        assert!(error.may_have_been_applied());
        assert_eq!(fake.arrivals(), 1, "{act:?}");
    }
}

#[tokio::test]
async fn a_write_that_the_node_certifies_it_refused_is_sent_again() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let refusal = Act::Fail(Error::new(ErrorKind::Unavailable, "busy"));
    fake.order([refusal.clone(), refusal.clone()]);
    let outcome = client.compare_and_swap(&key(), Condition::Absent, "v").await.unwrap();
    assert!(matches!(outcome, Outcome::Committed(_)));
    assert_eq!(fake.arrivals(), 3);

    fake.order(vec![refusal; 9]);
    let error = client.put(&key(), "v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(fake.arrivals(), 5);
    assert_eq!(error.to_string(), "busy. attempts=`5`");
}

#[tokio::test]
async fn an_unknown_outcome_of_a_repetition_ends_the_repetitions() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order([Act::Fail(Error::new(ErrorKind::Unavailable, "busy")), Act::Cut]);
    assert_eq!(client.put(&key(), "v").await.unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(fake.arrivals(), 2);
}

#[tokio::test]
async fn every_kind_of_error_arrives_as_it_was_sent() {
    let fake = Fake::start().await;
    let client = fake.builder().retry(RetryPolicy::never()).connect().await.unwrap();
    for kind in ErrorKind::ALL {
        fake.order([Act::Fail(Error::new(kind, "no")), Act::Fail(Error::new(kind, "no"))]);
        assert_eq!(client.put(&key(), "v").await.unwrap_err().kind(), kind);
        assert_eq!(client.get(&key()).await.unwrap_err().kind(), kind);
        assert_eq!(fake.arrivals(), 2);
    }
}

#[tokio::test]
async fn reads_are_repeated_over_a_new_connection() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order([Act::Cut, Act::Stranger(Code::Unavailable)]);
    assert_eq!(client.get(&key()).await.unwrap().unwrap().value, "v");
    assert_eq!(fake.arrivals(), 3);

    fake.order([Act::Cut]);
    let view = client.get_many(&[key(), key()]).await.unwrap();
    assert_eq!((view.data, view.version.get()), (vec![None, None], 7));
    assert_eq!(fake.arrivals(), 2);

    fake.order([Act::Cut]);
    assert_eq!(client.node_status().await.unwrap().state, NodeState::Serving);
    assert_eq!(fake.arrivals(), 2);
}

#[tokio::test]
async fn a_read_without_an_answer_is_unavailable_within_the_timeout() {
    let fake = Fake::start().await;
    let client = fake.client().await.with_timeout(SHORT);
    fake.order(vec![Act::Hang; 9]);
    let begun = Instant::now();
    assert_eq!(client.get(&key()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < SHORT * 5);
    assert_eq!(fake.arrivals(), 1, "there was no time left for another");
}

#[tokio::test]
async fn every_request_tells_the_time_that_is_left_and_a_scan_tells_none() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order([Act::Answer, Act::Fail(Error::new(ErrorKind::Unavailable, "busy"))]);
    fake.order_scan(vec![start(), ScanPart::End { entries: 0 }], After::Finish);
    client.get(&key()).await.unwrap();
    let batch = Batch::new().put(key(), "v");
    let options = WriteOptions::default().timeout(Duration::from_secs(3));
    assert!(client.write(batch, options).await.unwrap().succeeded());
    client.scan(everything()).await.unwrap();
    let told = fake.timeouts();
    assert_eq!(told.len(), 4);
    assert!(told[..3].iter().all(Option::is_some), "{told:?}");
    assert_eq!(told[3], None);
    let waits = fake.waits();
    assert!(waits[0].unwrap() <= 3_000 && waits[1].unwrap() < waits[0].unwrap(), "{waits:?}");
}

#[tokio::test]
async fn a_write_whose_turn_is_over_is_not_sent_again() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order(vec![Act::Fail(Error::new(ErrorKind::Unavailable, "waited too long")); 9]);
    let options = WriteOptions::default().timeout(Duration::from_millis(1));
    let error = client.write(Batch::new().put(key(), "v"), options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(fake.arrivals(), 1);
}

#[tokio::test]
async fn a_whole_scan_ends_without_an_error() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let chunks = [ScanPart::Chunk(entries(3)), ScanPart::Chunk(entries(2))];
    let parts = [start()].into_iter().chain(chunks).chain([ScanPart::End { entries: 5 }]);
    fake.order_scan(parts.collect(), After::Finish);
    let view = client.scan(everything()).await.unwrap();
    assert_eq!(view.version.get(), 9);
    let chunks: Vec<_> = view.data.try_collect().await.unwrap();
    assert_eq!(chunks, [entries(3), entries(2)]);
}

#[tokio::test]
async fn a_scan_that_ends_early_is_an_error_and_never_repeated() {
    let fake = Fake::start().await;
    let chunk = || ScanPart::Chunk(entries(3));
    let end = |entries| ScanPart::End { entries };
    for (rest, after, cut, kind) in [
        (vec![chunk()], After::Finish, false, ErrorKind::Unavailable),
        (vec![chunk()], After::Hang, false, ErrorKind::Unavailable),
        (vec![chunk()], After::Hang, true, ErrorKind::Unavailable),
        (vec![chunk(), end(4)], After::Finish, false, ErrorKind::Internal),
        (vec![chunk(), start()], After::Finish, false, ErrorKind::Internal),
    ] {
        let client = fake.client().await.with_timeout(SHORT);
        let case = format!("{rest:?}, {after:?}, cut {cut}");
        fake.order_scan([start()].into_iter().chain(rest).collect(), after);
        let mut stream = client.scan(everything()).await.unwrap().data;
        assert_eq!(stream.next().await.unwrap().unwrap().len(), 3, "{case}");
        if cut {
            fake.cut();
        }
        assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), kind, "{case}");
        assert!(stream.next().await.is_none(), "{case}");
        assert_eq!(fake.arrivals(), 1, "{case}");
    }
}

#[tokio::test]
async fn opening_a_scan_is_repeated() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order_scan(vec![start(), ScanPart::End { entries: 0 }], After::Finish);
    fake.order([Act::Cut, Act::Fail(Error::new(ErrorKind::Unavailable, "busy"))]);
    let view = client.scan(everything()).await.unwrap();
    assert_eq!(view.data.try_collect::<Vec<_>>().await.unwrap(), Vec::<Vec<Entry>>::new());
    assert_eq!(fake.arrivals(), 3);
}

#[tokio::test]
async fn a_scan_without_a_beginning_is_an_error() {
    let fake = Fake::start().await;
    let client = fake.client().await.with_timeout(SHORT);
    fake.order_scan(vec![ScanPart::End { entries: 0 }], After::Finish);
    assert_eq!(client.scan(everything()).await.err().unwrap().kind(), ErrorKind::Internal);
    fake.order_scan(Vec::new(), After::Hang);
    assert_eq!(client.scan(everything()).await.err().unwrap().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn dropping_a_scan_ends_it_at_the_node() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order_scan(vec![start()], After::Hang);
    let view = client.scan(everything()).await.unwrap();
    assert_eq!(fake.scans_open(), 1);
    drop(view);
    until(|| fake.scans_open() == 0).await;
}

#[tokio::test]
async fn a_node_that_is_not_there_is_unavailable_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let begun = Instant::now();
    let error = Client::connect(address.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&address), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_node_that_says_nothing_is_unavailable_within_the_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let begun = Instant::now();
    let short = Client::builder().endpoint(address.clone()).connect_timeout(SHORT);
    let capped = Client::builder().endpoint(address).timeout(SHORT).connect_timeout(Duration::from_secs(60));
    for builder in [short, capped] {
        assert_eq!(builder.connect().await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_write_to_a_node_that_went_away_was_not_applied() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order([Act::Cut]);
    drop(fake);
    // The connection breaks under the first, if it gets that far; the next finds nobody.
    let _ = client.put(&key(), "v").await;
    let error = client.put(&key(), "v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn the_second_endpoint_serves_when_the_first_does_not() {
    let fake = Fake::start().await;
    let client = Client::builder().endpoints(["127.0.0.1:1".to_owned(), fake.address()]);
    let client = client.connect().await.unwrap();
    client.put(&key(), "v").await.unwrap();
    assert_eq!(fake.arrivals(), 1);
}

#[tokio::test]
async fn what_is_too_large_for_the_node_is_refused_before_it_is_sent() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order([]);
    let huge = Bytes::from(vec![0; 64 << 20]);
    assert_eq!(client.put(&key(), huge).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(fake.arrivals(), 0);
}

#[tokio::test]
async fn whatever_is_asked_after_close_answers_closed() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let clone = client.clone();
    fake.order_scan(vec![start()], After::Hang);
    let mut scan = client.scan(everything()).await.unwrap().data;
    fake.order([]);

    clone.close().await.unwrap();
    client.close().await.unwrap();
    assert_eq!(scan.next().await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert!(scan.next().await.is_none());
    assert_eq!(client.get(&key()).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(client.get_many(&[key()]).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(client.scan(everything()).await.err().unwrap().kind(), ErrorKind::Closed);
    assert_eq!(client.put(&key(), "v").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(client.node_status().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(client.health().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(fake.arrivals(), 0);
    assert_eq!(client.info().name, "fake");

    fake.client().await.put(&key(), "v").await.unwrap();
}

#[tokio::test]
async fn close_waits_for_the_writes_that_were_begun() {
    let fake = Fake::start().await;
    let client = fake.client().await.with_timeout(SHORT);
    fake.order([Act::Hang]);
    let writing = tokio::spawn({
        let client = client.clone();
        async move { client.put(&key(), "v").await }
    });
    until(|| fake.arrivals() == 1).await;
    client.close().await.unwrap();
    assert!(writing.is_finished());
    assert_eq!(writing.await.unwrap().unwrap_err().kind(), ErrorKind::Unknown);
}

#[tokio::test]
async fn what_the_node_does_not_declare_it_refuses() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    assert!(!client.info().capabilities.sessions);
    assert!(client.info().capabilities.expiry);
    let error = client.open_session(SessionOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
