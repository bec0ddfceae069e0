use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::pin::Pin;

use futures::{Stream, StreamExt as _, stream};
use rdb_engine_api::{
    CommittedBatch, Engine, Entry, EntryStream, ErrorKind, Key, KeyRange, Record, Result, Scan, Version,
    View, Watch, WatchEvent,
};

use crate::Client;
use crate::call::Deadline;
use crate::scan::malformed;
use crate::subscription::Subscription;

/// What [`Client::watch_from_snapshot`] delivers. It ends only with an error.
pub type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotEvent>> + Send>>;

/// What [`Client::watch_from_snapshot`] delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotEvent {
    /// A part of how a view differs from what was delivered before, in key order: the first time from
    /// nothing at all. Never empty. Until [`Complete`](Self::Complete) comes, what was delivered together is
    /// no state that ever was.
    Difference(Vec<Change>),
    /// What was delivered together is the view of this version.
    Complete(Version),
    /// The next commit.
    Commit(CommittedBatch),
    /// Every commit up to this version has been delivered.
    Progress(Version),
}

/// What became of a key between two views.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The key.
    pub key: Key,
    /// Its record now; none where it is gone.
    pub record: Option<Record>,
}

/// A view of a range, kept up to date by a watch, and by another scan where the history was compacted.
pub(crate) struct Snapshot {
    client: Client,
    range: KeyRange,
    phase: Phase,
    /// The version of each record that was delivered.
    delivered: BTreeMap<Box<[u8]>, Version>,
    ready: VecDeque<SnapshotEvent>,
    /// How often something failed or began anew since the last event of a watch.
    failed: u32,
}

enum Phase {
    /// A scan is to be opened.
    Begin,
    Scanning(Scanning),
    /// A watch is to be opened after this version.
    Scanned(Version),
    Watching(Box<Subscription>),
}

struct Scanning {
    version: Version,
    entries: EntryStream,
    /// Up to where the range was compared.
    last: Option<Box<[u8]>>,
}

impl Scanning {
    fn new(view: View<EntryStream>) -> Self {
        Self { version: view.version, entries: view.data, last: None }
    }
}

impl Snapshot {
    pub(crate) async fn begin(client: Client, range: KeyRange) -> Result<Self> {
        let view = client.scan(Scan::new(range.clone())).await?;
        Ok(Self {
            client,
            range,
            phase: Phase::Scanning(Scanning::new(view)),
            delivered: BTreeMap::new(),
            ready: VecDeque::new(),
            failed: 0,
        })
    }

    /// The next event. After an error there is none.
    async fn next(&mut self) -> Result<SnapshotEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            let Err(error) = self.advance().await else { continue };
            let begins_anew = match error.kind() {
                ErrorKind::Compacted => true,
                // The node is asked for the whole of it again, also where the reader of a scan or a watch
                // fell behind: what was delivered is not sent again.
                _ if self.client.may_pass(&error) => !matches!(self.phase, Phase::Scanned(_)),
                _ => return Err(error),
            };
            if begins_anew {
                self.phase = Phase::Begin;
            }
            self.failed = self.failed.saturating_add(1);
            tracing::debug!(failed = self.failed, error = error.report(), "snapshot goes on after a failure");
            self.client.pause_after(self.failed).await;
        }
    }

    /// One step, which may make events ready.
    async fn advance(&mut self) -> Result<()> {
        match &mut self.phase {
            Phase::Begin => {
                // The node may be another since, which sends longer messages.
                self.client.present_limits(Deadline::after(self.client.timeout())).await?;
                let view = self.client.scan(Scan::new(self.range.clone())).await?;
                self.phase = Phase::Scanning(Scanning::new(view));
            }
            Phase::Scanning(scanning) => match scanning.entries.next().await {
                Some(Ok(entries)) => self.compare(entries)?,
                Some(Err(error)) => return Err(error),
                None => self.complete()?,
            },
            Phase::Scanned(version) => {
                let watch = Watch::new(self.range.clone()).after(*version);
                let subscription = Subscription::begin(self.client.clone(), watch).await?;
                self.phase = Phase::Watching(Box::new(subscription));
            }
            Phase::Watching(subscription) => {
                let event = subscription.next().await?;
                self.failed = 0;
                self.follow(event);
            }
        }
        Ok(())
    }

    /// Compares the next part of a view with what was delivered.
    fn compare(&mut self, entries: Vec<Entry>) -> Result<()> {
        let Phase::Scanning(scanning) = &mut self.phase else { return Ok(()) };
        let Some(end) = entries.last().map(|entry| Box::<[u8]>::from(entry.key.as_ref())) else {
            return Ok(());
        };
        let last = scanning.last.as_deref();
        let first = entries.first().map(|entry| entry.key.as_ref());
        if !entries.is_sorted_by(|one, next| one.key < next.key) || first <= last {
            return Err(malformed("scan is not in order"));
        }
        let mut gone = between(&self.delivered, last, Some(&end));
        gone.retain(|key| entries.binary_search_by(|entry| entry.key.as_ref().cmp(key)).is_err());
        scanning.last = Some(end);
        let mut changes = self.remove(&gone)?;
        for Entry { key, record, .. } in entries {
            let record = record.ok_or_else(|| malformed("scan left out a record"))?;
            if self.delivered.get(key.as_ref()) != Some(&record.version) {
                self.delivered.insert(key.as_ref().into(), record.version);
                changes.push(Change { key, record: Some(record) });
            }
        }
        changes.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        self.tell(changes);
        Ok(())
    }

    /// The view ends here: so does what was delivered.
    fn complete(&mut self) -> Result<()> {
        let Phase::Scanning(scanning) = &self.phase else { return Ok(()) };
        let version = scanning.version;
        let gone = between(&self.delivered, scanning.last.as_deref(), None);
        let changes = self.remove(&gone)?;
        self.tell(changes);
        self.ready.push_back(SnapshotEvent::Complete(version));
        self.phase = Phase::Scanned(version);
        Ok(())
    }

    fn remove(&mut self, gone: &[Box<[u8]>]) -> Result<Vec<Change>> {
        let mut changes = Vec::with_capacity(gone.len());
        for key in gone {
            self.delivered.remove(key);
            changes.push(Change { key: Key::new(key.to_vec())?, record: None });
        }
        Ok(changes)
    }

    fn tell(&mut self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.ready.push_back(SnapshotEvent::Difference(changes));
        }
    }

    fn follow(&mut self, event: WatchEvent) {
        let event = match event {
            WatchEvent::Commit(commit) => {
                for op in &commit.ops {
                    match &op.record {
                        Some(record) => self.delivered.insert(op.key.as_ref().into(), record.version),
                        None => self.delivered.remove(op.key.as_ref()),
                    };
                }
                SnapshotEvent::Commit(commit)
            }
            // An event of another kind tells at least how far the watch has come.
            event => SnapshotEvent::Progress(event.version()),
        };
        self.ready.push_back(event);
    }

    /// The events.
    pub(crate) fn into_events(self) -> SnapshotStream {
        Box::pin(stream::unfold(Some(self), |open| async {
            let mut snapshot = open?;
            match snapshot.next().await {
                Ok(event) => Some((Ok(event), Some(snapshot))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

impl Client {
    /// Delivers what a range holds, then every change, without end: a scan, then a watch after its version.
    /// Where the history no longer has what comes next, the range is scanned again, and how it differs from
    /// what was delivered comes first. So a cache or an index stays right over restarts, whatever the node
    /// remembers.
    ///
    /// It keeps the key and the version of each record that was delivered: some 60 bytes and the key.
    ///
    /// # Errors
    /// As [`scan`](Engine::scan). The stream ends with [`Closed`](ErrorKind::Closed) where this client is
    /// closed, and with what cannot go away by itself; while the node is away it waits.
    pub async fn watch_from_snapshot(&self, range: KeyRange) -> Result<SnapshotStream> {
        Ok(Snapshot::begin(self.clone(), range).await?.into_events())
    }
}

/// The keys after one, up to another.
fn between(
    keys: &BTreeMap<Box<[u8]>, Version>,
    after: Option<&[u8]>,
    up_to: Option<&[u8]>,
) -> Vec<Box<[u8]>> {
    let range =
        (after.map_or(Bound::Unbounded, Bound::Excluded), up_to.map_or(Bound::Unbounded, Bound::Included));
    keys.range::<[u8], _>(range).map(|(key, _)| key.clone()).collect()
}
