//! Requests that share a stream are none the wiser, whatever becomes of it (C10): proven against a node that
//! fails on order. The other tests of the client go over pipelines too.

#![allow(clippy::unwrap_used)] // a helper of a test that panics has failed it

mod fake;

use std::time::Duration;

use fake::{Act, Fake, until};
use futures::future::{join, join_all};
use rdb_client::{Bytes, Client, Engine, EngineExt, Error, ErrorKind, Key, RetryPolicy};
use tokio::task::JoinHandle;
use tonic::Code;

const SHORT: Duration = Duration::from_millis(200);

/// As many commands as may be on their way over a stream.
const FULL: usize = 1024;

fn key() -> Key {
    Key::new("k").unwrap()
}

fn fail(kind: ErrorKind) -> Act {
    Act::Fail(Error::new(kind, "no"))
}

/// A client that repeats nothing.
async fn once(fake: &Fake) -> Client {
    fake.builder().retry(RetryPolicy::never()).connect().await.unwrap()
}

/// A put in the background; its error.
fn put(client: &Client) -> JoinHandle<Option<ErrorKind>> {
    let client = client.clone();
    tokio::spawn(async move { client.put(&key(), "v").await.err().map(|error| error.kind()) })
}

/// Fills the stream with puts that are not answered.
async fn fill(fake: &Fake, client: &Client) -> Vec<JoinHandle<Option<ErrorKind>>> {
    fake.order_at("write", vec![Act::Hang; FULL]);
    let puts = (0..FULL).map(|_| put(client)).collect();
    until(|| fake.arrivals() == FULL).await;
    puts
}

#[tokio::test]
async fn what_waits_leaves_together_and_what_is_alone_at_once() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    client.get(&key()).await.unwrap();
    client.put(&key(), "v").await.unwrap();
    for got in join_all((0..100).map(|_| async { client.get(&key()).await })).await {
        got.unwrap();
    }
    let keys = [key(), key()];
    let (got, time) = join(client.get_many(&keys), client.time()).await;
    assert_eq!(got.unwrap().data.len(), 2);
    time.unwrap();
    assert_eq!(fake.messages(), [[1, 1, 100, 2]]);
}

#[tokio::test]
async fn more_than_fit_into_a_message_or_a_stream_are_all_answered() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    for got in join_all((0..3 * FULL).map(|_| async { client.get(&key()).await })).await {
        got.unwrap();
    }
    let messages = fake.messages();
    assert_eq!((messages.len(), messages[0].iter().sum()), (1, 3 * FULL));
    assert_eq!(messages[0].iter().max(), Some(&256));
    // No message is much longer than 64 KiB.
    let value = Bytes::from(vec![0; 30 << 10]);
    join_all((0..10).map(|_| async { client.put(&key(), value.clone()).await })).await;
    assert_eq!(fake.messages()[0][messages[0].len()..], [3, 3, 3, 1]);
}

#[tokio::test]
async fn one_caller_keeps_to_one_stream_and_many_share_two() {
    let fake = Fake::start().await;
    let client = fake.builder().pipelines(2).connect().await.unwrap();
    for _ in 0..3 {
        client.get(&key()).await.unwrap();
    }
    assert_eq!(fake.messages(), [[1, 1, 1]]);
    for got in join_all((0..100).map(|_| async { client.get(&key()).await })).await {
        got.unwrap();
    }
    let carried: Vec<usize> = fake.messages().iter().map(|messages| messages.iter().sum()).collect();
    assert_eq!(carried, [53, 50]);
}

#[tokio::test]
async fn a_slow_command_does_not_hold_up_the_others() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order_at("write", [Act::Hang]);
    let slow = put(&client);
    until(|| fake.arrivals() == 1).await;
    for _ in 0..9 {
        client.get(&key()).await.unwrap();
    }
    assert_eq!(put(&client).await.unwrap(), None);
    assert!(!slow.is_finished());
    assert_eq!(fake.messages().len(), 1);
}

#[tokio::test]
async fn what_departed_is_unknown_when_the_stream_breaks_and_what_did_not_goes_over_the_next() {
    let fake = Fake::start().await;
    let client = once(&fake).await;
    let departed = fill(&fake, &client).await;
    let waiting: Vec<_> = (0..10).map(|_| put(&client)).collect();
    let reading = async { client.get(&key()).await };
    let cut = async {
        tokio::task::yield_now().await;
        fake.cut();
    };
    let (got, ()) = join(reading, cut).await;
    got.unwrap();
    for told in waiting {
        assert_eq!(told.await.unwrap(), None);
    }
    for told in departed {
        assert_eq!(told.await.unwrap(), Some(ErrorKind::Unknown));
    }
    assert_eq!(fake.arrivals(), FULL + 11);
}

#[tokio::test]
async fn what_was_given_up_before_it_departed_is_certain_never_to_arrive() {
    let fake = Fake::start().await;
    let client = once(&fake).await;
    let departed = fill(&fake, &client).await;
    let dropped = put(&client);
    let error = client.with_timeout(SHORT).put(&key(), "late").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    fake.cut();
    join_all(departed).await;
    assert_eq!(put(&client).await.unwrap(), None);
    assert_eq!(fake.arrivals(), FULL + 1);
}

#[tokio::test]
async fn a_write_that_departed_is_unknown_at_its_deadline_and_a_read_unavailable() {
    let fake = Fake::start().await;
    let client = once(&fake).await.with_timeout(SHORT);
    fake.order([Act::Hang, Act::Hang]);
    assert_eq!(put(&client).await.unwrap(), Some(ErrorKind::Unknown));
    assert_eq!(client.get(&key()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(fake.arrivals(), 2);
}

#[tokio::test]
async fn a_node_without_pipelines_is_asked_one_by_one_until_there_is_another_connection() {
    let fake = Fake::start().await;
    let client = once(&fake).await;
    fake.order_at("pipeline", vec![Act::Stranger(Code::Unimplemented); 2]);
    let puts = join_all((0..10).map(|_| put(&client))).await;
    assert!(puts.into_iter().all(|told| told.unwrap().is_none()));
    client.get(&key()).await.unwrap();
    assert_eq!((fake.arrivals(), fake.messages().len()), (11, 1));
    fake.cut();
    // Where the break is noticed only by the request, that has no answer.
    while client.get(&key()).await.is_err() {}
    client.get(&key()).await.unwrap();
    until(|| fake.messages().len() == 2).await;
}

#[tokio::test]
async fn a_stream_that_the_node_refuses_is_as_good_as_a_request_that_it_refuses() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order_at("pipeline", [fail(ErrorKind::Unavailable), fail(ErrorKind::Unavailable)]);
    assert_eq!(put(&client).await.unwrap(), None, "it is sent again");
    assert_eq!((fake.arrivals(), fake.messages().len()), (1, 3));
    let client = once(&fake).await;
    for (act, write, read) in [
        (fail(ErrorKind::Exhausted), ErrorKind::Exhausted, ErrorKind::Exhausted),
        (fail(ErrorKind::Closed), ErrorKind::Closed, ErrorKind::Closed),
        // Who does not speak for the node certifies nothing.
        (Act::Stranger(Code::Unavailable), ErrorKind::Unknown, ErrorKind::Unavailable),
        (Act::Nonsense, ErrorKind::Unknown, ErrorKind::Unavailable),
    ] {
        fake.order_at("pipeline", [act.clone()]);
        assert_eq!(put(&client).await.unwrap(), Some(write), "{act:?}");
        fake.order_at("pipeline", [act.clone()]);
        assert_eq!(client.get(&key()).await.unwrap_err().kind(), read, "{act:?}");
        assert_eq!(fake.arrivals(), 0, "{act:?}");
    }
}

#[tokio::test]
async fn a_stream_of_which_nothing_is_heard_is_left() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order_at("pipeline", [Act::Hang]);
    let error = client.with_timeout(SHORT).get(&key()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    client.get(&key()).await.unwrap();
    assert_eq!(fake.messages(), [vec![], vec![1]]);
    // Nobody waits for its answers: it is not kept.
    until(|| fake.pipelines_open() == 1).await;
}

#[tokio::test]
async fn a_stream_that_answers_others_is_kept() {
    let fake = Fake::start().await;
    let client = once(&fake).await;
    fake.order_at("write", [Act::Hang]);
    let slow = put(&client.with_timeout(5 * SHORT));
    until(|| fake.arrivals() == 1).await;
    client.get(&key()).await.unwrap();
    assert_eq!(slow.await.unwrap(), Some(ErrorKind::Unknown));
    client.get(&key()).await.unwrap();
    assert_eq!(fake.messages(), [[1, 1, 1]]);
}

#[tokio::test]
async fn what_is_large_goes_by_itself() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    client.put(&key(), vec![0; 64 << 10]).await.unwrap();
    client.put(&key(), vec![0; 60 << 10]).await.unwrap();
    assert_eq!((fake.arrivals(), fake.messages()), (2, vec![vec![1]]));
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_asked_for_by_itself() {
    let fake = Fake::start().await;
    let client = once(&fake).await;
    fake.order_at("elsewhere", [Act::Answer, Act::Answer]);
    assert_eq!(client.get(&key()).await.unwrap().unwrap().value, "v");
    assert_eq!(client.get_many(&[key()]).await.unwrap().data.len(), 1);
    assert_eq!((fake.names(), fake.messages()), (vec!["get", "get_many"], vec![vec![1, 1]]));
    // Within the same deadline.
    fake.order_at("elsewhere", [Act::Answer]);
    fake.order_at("get", [Act::Hang]);
    let error = client.with_timeout(SHORT).get(&key()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn several_streams_share_the_load() {
    let fake = Fake::start().await;
    let client = fake.builder().pipelines(3).connect().await.unwrap();
    for got in join_all((0..30).map(|_| async { client.get(&key()).await })).await {
        got.unwrap();
    }
    assert_eq!(fake.messages(), [[10], [10], [10]]);
    assert_eq!(fake.pipelines_open(), 3);
    client.close().await.unwrap();
    until(|| fake.pipelines_open() == 0).await;
}

#[tokio::test]
async fn streams_end_with_their_client() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    client.get(&key()).await.unwrap();
    drop(client.clone());
    client.get(&key()).await.unwrap();
    assert_eq!((fake.pipelines_open(), fake.messages().len()), (1, 1));
    drop(client);
    until(|| fake.pipelines_open() == 0).await;
}

#[tokio::test]
async fn close_lets_those_finish_who_were_asking() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order_at("get", [Act::Hang]);
    let reading = tokio::spawn({
        let client = client.with_timeout(SHORT);
        async move { client.get(&key()).await }
    });
    until(|| fake.arrivals() == 1).await;
    client.close().await.unwrap();
    assert_eq!(put(&client).await.unwrap(), Some(ErrorKind::Closed));
    assert!(!reading.is_finished());
    assert_eq!(reading.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    until(|| fake.pipelines_open() == 0).await;
}
