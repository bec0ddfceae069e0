//! Where the history of changes is kept, and what a restart leaves of it (C16).

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use rdb_client::{Client, EngineExt as _, ErrorKind, Key, KeyRange, Watch, WatchEvent, WatchStream};
use tokio::time::timeout;

use crate::harness::{PATIENCE, Running, program};

/// A node whose history is kept there, at this address.
fn start(directory: &Path, history: &[&str], listen: SocketAddr) -> Running {
    let mut command = program();
    command.args(["--engine", "sled", "--ops-listen", "127.0.0.1:0"]).args(history);
    command.arg("--data-dir").arg(directory).arg("--listen").arg(listen.to_string());
    Running::start(&mut command)
}

/// The next commit's version.
async fn next_commit(events: &mut WatchStream) -> Result<u64, ErrorKind> {
    loop {
        let event = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
        if let WatchEvent::Commit(commit) = event.map_err(|error| error.kind())? {
            return Ok(commit.version.get());
        }
    }
}

#[tokio::test]
async fn a_watch_goes_on_over_a_sigkill_where_the_history_is_durable_and_only_there() {
    for (history, goes_on) in [(&["--watch-history", "durable"][..], true), (&[], false)] {
        let directory = tempfile::tempdir().unwrap();
        let mut node = start(directory.path(), history, "127.0.0.1:0".parse().unwrap());
        let address = node.addr;
        let client = Client::builder().endpoint(address.to_string()).timeout(PATIENCE);
        let client = client.connect().await.unwrap();
        let key = Key::new("key").unwrap();
        let watch = Watch::new(KeyRange::all()).progress(Duration::from_millis(100));
        let mut events = client.subscribe(watch.clone()).await.unwrap().data;
        let mut put = Vec::new();
        for value in ["1", "2"] {
            put.push(client.put(&key, value).await.unwrap().version);
        }
        for version in &put {
            assert_eq!(next_commit(&mut events).await, Ok(version.get()));
        }
        node.signal("KILL");
        assert_eq!(node.end(), None);
        let node = start(directory.path(), history, address);
        put.push(client.put(&key, "3").await.unwrap().version);
        if goes_on {
            assert_eq!(next_commit(&mut events).await, Ok(put[2].get()));
        }
        // A watch of before the restart, begun after it.
        let late = client.subscribe(watch.after(put[0])).await;
        match late.map_err(|error| error.kind()) {
            Ok(mut late) => {
                for version in &put[1..] {
                    assert_eq!(next_commit(&mut late.data).await, Ok(version.get()));
                }
                assert!(goes_on);
            }
            Err(kind) => assert_eq!((kind, goes_on), (ErrorKind::Compacted, false)),
        }
        drop(node);
    }
}
