//! What the client says of a restore that goes wrong, proven against a node that fails on order.

#![allow(clippy::unwrap_used)] // a helper of a test that panics has failed it

mod fake;

use std::time::Duration;

use fake::{Act, Fake, until};
use futures::{StreamExt as _, stream};
use rdb_client::{
    Bytes, Client, Commit, Durability, Engine, Entry, EntryStream, Error, ErrorKind, Key, Record, Result,
    Version, View,
};
use tokio::task::JoinHandle;
use tonic::Code;

fn chunk() -> Result<Vec<Entry>> {
    let record = Record::new(Bytes::from_static(b"v"), Version::MIN);
    Ok(vec![Entry::new(Key::new("k").unwrap(), Some(record))])
}

fn view(last: impl Into<Option<Result<Vec<Entry>>>>) -> View<EntryStream> {
    let chunks: Vec<_> = [chunk()].into_iter().chain(last.into()).collect();
    View { version: Version::MIN, data: stream::iter(chunks).boxed() }
}

/// A view that never ends.
fn endless() -> View<EntryStream> {
    let View { version, data } = view(None);
    View { version, data: data.chain(stream::pending()).boxed() }
}

fn spawn(client: &Client, view: View<EntryStream>) -> JoinHandle<Result<Commit>> {
    let client = client.clone();
    tokio::spawn(async move { client.restore(view).await })
}

#[tokio::test]
async fn a_restore_that_was_answered_is_done() {
    let fake = Fake::start().await;
    let commit = fake.client().await.restore(view(None)).await.unwrap();
    assert_eq!(commit, Commit { version: Version::MIN, durability: Durability::Synced });
}

#[tokio::test]
async fn a_restore_lost_after_its_end_was_sent_is_unknown_and_sent_once() {
    let fake = Fake::start().await;
    for (number, act) in
        [Act::Cut, Act::Nonsense, Act::Stranger(Code::Internal), Act::Stranger(Code::Unavailable)]
            .into_iter()
            .enumerate()
    {
        let client = fake.client().await;
        fake.order([act.clone()]);
        let error = client.restore(view(None)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{act:?}: {error}");
        assert_eq!(fake.restores(), number + 1, "{act:?}");
    }
}

#[tokio::test]
async fn a_restore_lost_before_its_end_was_sent_did_nothing() {
    let fake = Fake::start().await;
    let restore = spawn(&fake.client().await, endless());
    until(|| fake.restores() == 1).await;
    fake.cut();
    let error = restore.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
}

#[tokio::test]
async fn a_node_that_says_why_is_believed() {
    let fake = Fake::start().await;
    for kind in ErrorKind::ALL {
        fake.order([Act::Fail(Error::new(kind, "told to"))]);
        assert_eq!(fake.client().await.restore(view(None)).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn a_view_that_breaks_off_is_given_up_and_says_why() {
    let fake = Fake::start().await;
    for (kind, told) in [
        (ErrorKind::Corrupt, ErrorKind::Corrupt),
        (ErrorKind::Closed, ErrorKind::Unavailable),
        (ErrorKind::Unknown, ErrorKind::Unavailable),
    ] {
        fake.order([]);
        let broken = view(Err(Error::new(kind, "the source is gone")));
        let error = fake.client().await.restore(broken).await.unwrap_err();
        assert_eq!(error.kind(), told, "{}", error.report());
        assert!(error.report().contains("the source is gone"), "{}", error.report());
        assert_eq!(fake.arrivals(), 0, "the node never got an end");
    }
}

#[tokio::test]
async fn a_close_ends_a_restore_before_its_end() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let restore = spawn(&client, endless());
    until(|| fake.restores() == 1).await;
    tokio::time::timeout(Duration::from_secs(10), client.close()).await.unwrap().unwrap();
    let error = restore.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{}", error.report());
    assert_eq!(client.restore(view(None)).await.unwrap_err().kind(), ErrorKind::Closed);
}
