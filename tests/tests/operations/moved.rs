//! A move from one engine to another by a backup that is made while clients write. Shared with the command's
//! tests, which run it on the engines that are built quickly.

use std::io::Cursor;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use rdb_client::backup::{Backup, Meta, Summary, write};
use rdb_client::{Client, Durability, Engine, EngineExt as _, Entry, Key, KeyRange, Scan, Version, View};
use rdb_server::{NodeConfig, serve};
use tokio::task::JoinHandle;

/// How many clients write while the backup is made.
const WRITERS: u64 = 32;
const PATIENCE: Duration = Duration::from_secs(120);

/// How many records there are when the backup begins: `FLAREDB_MOVE_RECORDS`.
fn records() -> u64 {
    std::env::var("FLAREDB_MOVE_RECORDS").map_or(10_000, |records| records.parse().unwrap())
}

/// What opens an engine; for one that keeps its data, each time the same.
pub(crate) type Open<'a> = &'a dyn Fn() -> Arc<dyn Engine>;

/// Moves everything between two engines, and checks that it arrives as it was: records, versions, and a line of
/// versions that goes on above everything that anyone has seen (C5, C19).
pub(crate) async fn check(source: Open<'_>, target: Open<'_>) {
    let source = serve(source(), NodeConfig::on_free_ports()).await.unwrap();
    let from = Client::connect(source.addr().to_string()).await.unwrap();
    let total = records();
    let load = Load::start(&from, total);
    load.reached(total).await;

    let (file, summary, seen) = back_up(&from, &load).await;
    let newest = load.end().await;
    assert!(newest > summary.version, "nobody wrote after the view");
    assert_eq!(summary.records, seen.len() as u64);
    let newer = |entry: &&Entry| entry.record.as_ref().is_none_or(|record| record.version > summary.version);
    assert_eq!(seen.iter().find(newer), None, "newer than the view that the backup names");
    source.shutdown().await.unwrap();

    let node = serve(target(), NodeConfig::on_free_ports()).await.unwrap();
    let to = Client::connect(node.addr().to_string()).await.unwrap();
    let backup = Backup::verify(Cursor::new(file), |_| {}).await.unwrap();
    assert_eq!(backup.summary(), &summary);
    let commit = to.restore(backup.into_view().await.unwrap()).await.unwrap();
    assert_same("restored", &all(&to).await.data, &seen);
    // The first of the new line is above what the source gave after the view, too.
    assert!(commit.version > newest, "{} is not above {newest}", commit.version);
    let fresh = Key::new("~fresh").unwrap();
    let put = to.put(&fresh, "v").await.unwrap();
    assert!(put.version > commit.version && put.version > newest);
    assert!(to.delete(&fresh).await.unwrap().succeeded());
    let before = all(&to).await.version;
    let keeps = to.info().best_durability > Durability::Volatile;
    let name = to.info().name.clone();
    node.shutdown().await.unwrap();
    println!(
        "{} records in {} bytes, from {} to {name}",
        summary.records,
        summary.file_bytes,
        from.info().name
    );
    if !keeps {
        return;
    }

    let node = serve(target(), NodeConfig::on_free_ports()).await.unwrap();
    let again = Client::connect(node.addr().to_string()).await.unwrap();
    let view = all(&again).await;
    assert_same("reopened", &view.data, &seen);
    assert!(view.version >= before);
    assert!(again.put(&fresh, "v").await.unwrap().version > before);
    node.shutdown().await.unwrap();
}

/// Clients that write until told otherwise: they put new and old keys, and delete.
struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    writers: Vec<JoinHandle<Version>>,
}

impl Load {
    fn start(client: &Client, keys: u64) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writer = |number: u64| {
            let (client, stop, written) = (client.clone(), Arc::clone(&stop), Arc::clone(&written));
            tokio::spawn(async move {
                let (mut newest, mut place) = (Version::MIN, number);
                while !stop.load(Ordering::Relaxed) {
                    place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(number | 1);
                    let key = Key::new(format!("key/{:08}", (place >> 33) % (keys * 2))).unwrap();
                    let version = if place >> 61 == 0 {
                        client.delete(&key).await.unwrap().version()
                    } else {
                        let value = vec![(place >> 40) as u8; (place >> 50) as usize % 300];
                        client.put(&key, value).await.unwrap().version
                    };
                    newest = newest.max(version);
                    written.fetch_add(1, Ordering::Relaxed);
                }
                newest
            })
        };
        let writers = (0..WRITERS).map(writer).collect();
        Self { stop, written, writers }
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    async fn reached(&self, writes: u64) {
        tokio::time::timeout(PATIENCE, reach(&self.written, writes)).await.unwrap();
        assert!(!self.writers.iter().any(JoinHandle::is_finished), "a writer has failed");
    }

    /// The greatest version that any of them was told.
    async fn end(self) -> Version {
        self.stop.store(true, Ordering::Relaxed);
        let mut newest = Version::MIN;
        for writer in self.writers {
            newest = newest.max(writer.await.unwrap());
        }
        newest
    }
}

async fn reach(written: &AtomicU64, writes: u64) {
    while written.load(Ordering::Relaxed) < writes {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Makes a backup under load, and returns it with what the scan that it was made of has shown.
async fn back_up(client: &Client, load: &Load) -> (Vec<u8>, Summary, Vec<Entry>) {
    let View { version, data } = client.scan(Scan::new(KeyRange::all())).await.unwrap();
    // The view is there now; what comes from here on is none of it.
    load.reached(load.written() + 10 * WRITERS).await;
    let (mut file, seen) = (Vec::new(), Arc::new(Mutex::new(Vec::new())));
    let summary = {
        let (recorded, written) = (Arc::clone(&seen), Arc::clone(&load.written));
        let data = data.and_then(move |chunk| {
            recorded.lock().unwrap().extend_from_slice(&chunk);
            let written = Arc::clone(&written);
            async move {
                // However fast a backup is, others write while it is made.
                let more = written.load(Ordering::Relaxed) + 1;
                tokio::time::timeout(PATIENCE, reach(&written, more)).await.unwrap();
                Ok(chunk)
            }
        });
        write(View { version, data: data.boxed() }, &Meta::of(client), &mut file, |_| {}).await.unwrap()
    };
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (file, summary, seen)
}

async fn all(engine: &dyn Engine) -> View<Vec<Entry>> {
    let View { version, data } = engine.scan(Scan::new(KeyRange::all())).await.unwrap();
    View { version, data: data.try_concat().await.unwrap() }
}

/// Records and versions; a difference is told by its first place, not by all that is equal.
fn assert_same(what: &str, found: &[Entry], expected: &[Entry]) {
    let differs = found.iter().zip(expected).find(|(found, expected)| found != expected);
    assert_eq!(differs, None, "{what}");
    assert_eq!(found.len(), expected.len(), "{what}");
}
