use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;

use crate::{
    Batch, Commit, Condition, Conflict, Engine, Entry, EntryStream, Error, Key, KeyRange, Outcome, Record,
    Result, Scan, Version, View, WriteOptions,
};

/// An engine as the cases use it: every call that has no reason to fail panics where it does.
#[derive(Clone, Debug)]
pub(super) struct Db {
    engine: Arc<dyn Engine>,
}

impl Db {
    /// Wraps an engine.
    pub(super) fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// The engine itself, for calls that may fail.
    pub(super) fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    /// The same, to be kept.
    pub(super) fn engine_arc(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.engine)
    }

    pub(super) async fn get(&self, name: impl AsRef<[u8]>) -> Option<Record> {
        must(self.engine.get(&key(name)).await, "a get")
    }

    /// The value under a key, as text.
    pub(super) async fn text(&self, name: impl AsRef<[u8]>) -> Option<String> {
        self.get(name).await.map(|record| text_of(&record))
    }

    pub(super) async fn get_many<K: AsRef<[u8]>>(&self, names: &[K]) -> View<Vec<Option<Record>>> {
        let keys: Vec<Key> = names.iter().map(key).collect();
        let view = must(self.engine.get_many(&keys).await, "a get of several keys");
        assert_eq!(view.data.len(), keys.len(), "a get of several keys answers for each of them (C8)");
        view
    }

    /// The version of the present view.
    pub(super) async fn version(&self) -> Version {
        self.get_many(&["any"]).await.version
    }

    /// Opens a scan without reading it.
    pub(super) async fn open_scan(&self, scan: Scan) -> View<EntryStream> {
        must(self.engine.scan(scan).await, "opening a scan")
    }

    /// Opens a scan and reads it to its end.
    pub(super) async fn scan(&self, scan: Scan) -> View<Vec<Entry>> {
        let view = self.open_scan(scan).await;
        View { version: view.version, data: must(drain(view.data).await, "a scan") }
    }

    /// Every key and value as text, in order.
    pub(super) async fn dump(&self) -> Vec<(String, String)> {
        let entries = self.scan(Scan::new(KeyRange::all())).await.data;
        entries.iter().map(|entry| (entry.key.to_string(), text_of(record_of(entry)))).collect()
    }

    pub(super) async fn write(&self, batch: Batch) -> Outcome {
        must(self.engine.write(batch, WriteOptions::default()).await, "a write")
    }

    /// Writes a batch that has every reason to change something.
    pub(super) async fn commit(&self, batch: Batch) -> Commit {
        committed(self.write(batch).await)
    }

    pub(super) async fn put(&self, name: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Version {
        self.commit(Batch::new().put(key(name), value)).await.version
    }

    /// Puts a value that is to be removed after this time.
    pub(super) async fn put_for(
        &self,
        name: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        ttl: Duration,
    ) -> Version {
        self.commit(Batch::new().put_for(key(name), value, ttl)).await.version
    }

    /// A write that has no reason to fail, done as the options say.
    pub(super) async fn write_as(&self, batch: Batch, options: WriteOptions) -> Outcome {
        must(self.engine.write(batch, options).await, "a write")
    }

    /// Waits until the record under a key is gone.
    pub(super) async fn gone(&self, name: impl AsRef<[u8]>) {
        while self.get(&name).await.is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(super) async fn delete(&self, name: impl AsRef<[u8]>) -> Outcome {
        self.write(Batch::new().delete(key(name))).await
    }

    /// Deletes a record that is there.
    pub(super) async fn remove(&self, name: impl AsRef<[u8]>) -> Version {
        committed(self.delete(name).await).version
    }

    /// Puts a value if the condition holds of the key.
    pub(super) async fn put_when(
        &self,
        name: impl AsRef<[u8]>,
        condition: Condition,
        value: impl Into<Bytes>,
    ) -> Outcome {
        let name = key(name);
        self.write(Batch::new().when(name.clone(), condition).put(name, value)).await
    }

    /// Stores `count` records `<prefix>00000..` of `bytes` bytes each, in batches; returns their keys.
    pub(super) async fn fill(&self, prefix: &str, count: usize, bytes: usize) -> Vec<String> {
        let names: Vec<String> = (0..count).map(|number| format!("{prefix}{number:05}")).collect();
        for names in names.chunks(250) {
            let put = |batch: Batch, name: &String| batch.put(key(name), filler(name, bytes));
            self.commit(names.iter().fold(Batch::new(), put)).await;
        }
        names
    }
}

/// A value of so many bytes that belongs to this name.
pub(super) fn filler(name: &str, bytes: usize) -> Bytes {
    name.bytes().chain(std::iter::once(b'/')).cycle().take(bytes).collect()
}

/// A key for a test, where the name is known to be one.
pub(super) fn key(name: impl AsRef<[u8]>) -> Key {
    Key::new(Bytes::copy_from_slice(name.as_ref())).expect("the suite's keys are keys")
}

pub(super) fn text_of(record: &Record) -> String {
    String::from_utf8_lossy(&record.value).into_owned()
}

pub(super) fn record_of(entry: &Entry) -> &Record {
    let record = entry.record.as_ref();
    record.unwrap_or_else(|| panic!("a scan of records delivers the record of `{}` (C8)", entry.key))
}

/// Reads a scan to its end; checks that no chunk is empty.
pub(super) async fn drain(mut stream: EntryStream) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        assert!(!chunk.is_empty(), "a scan's chunks are never empty (C8)");
        entries.extend(chunk);
    }
    Ok(entries)
}

pub(super) fn must<T>(result: Result<T>, what: &str) -> T {
    result.unwrap_or_else(|error| {
        panic!("{what} has no reason to fail here, but did: {}: {}", error.kind(), error.report())
    })
}

/// The error of a call that was promised to fail.
pub(super) fn refused<T>(result: Result<T>, what: &str) -> Error {
    match result {
        Ok(_) => panic!("{what} is refused, but succeeded"),
        Err(error) => error,
    }
}

pub(super) fn committed(outcome: Outcome) -> Commit {
    match outcome {
        Outcome::Committed(commit) => commit,
        other => {
            panic!("all conditions hold and something changes: a commit was promised (C4), saw {other:?}")
        }
    }
}

pub(super) fn unchanged(outcome: Outcome) -> Commit {
    match outcome {
        Outcome::Unchanged(commit) => commit,
        other => panic!("nothing changes: no commit was promised (C4), saw {other:?}"),
    }
}

pub(super) fn conflicted(outcome: Outcome) -> Conflict {
    match outcome {
        Outcome::Conflict(conflict) => conflict,
        other => panic!("a condition does not hold: a conflict was promised (C3, C6), saw {other:?}"),
    }
}

/// Runs all futures as tasks of their own; a panic in one is the case's.
pub(super) async fn together<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let handles: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::with_capacity(handles.len());
    for handle in handles {
        match handle.await {
            Ok(result) => results.push(result),
            Err(error) => resume_unwind(error.into_panic()),
        }
    }
    results
}

/// Waits until something is so; the case's deadline bounds the wait.
pub(super) async fn until<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(result) = attempt().await {
            return result;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Numbers that look random and are the same in every run (SplitMix64).
#[derive(Debug)]
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
