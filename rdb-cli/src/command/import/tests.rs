use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rdb_client::{
    Commit, EngineInfo, EntryStream, Error, Metric, Op, Record, Scan, Session, SessionOptions, Stamp, View,
    Watch, WatchStream,
};

use super::*;

/// An engine that takes its time over early batches, so that later ones overtake them wherever they can,
/// and that fails one batch if it is told to.
#[derive(Debug)]
struct Overtaken {
    info: EngineInfo,
    fail: Option<(u64, ErrorKind)>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<Bytes, Bytes>,
    arrived: u64,
    applied: Vec<u64>,
    under_way: usize,
    most_under_way: usize,
}

impl Overtaken {
    fn new(fail: Option<(u64, ErrorKind)>) -> Arc<Self> {
        let info = EngineInfo::new("overtaken", 1, Durability::Process);
        Arc::new(Self { info, fail, state: Mutex::default() })
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }
}

#[async_trait]
impl Engine for Overtaken {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }

    async fn get(&self, _: &Key) -> rdb_client::Result<Option<Record>> {
        unreachable!("an import reads nothing")
    }

    async fn get_many(&self, _: &[Key]) -> rdb_client::Result<View<Vec<Option<Record>>>> {
        unreachable!("an import reads nothing")
    }

    async fn scan(&self, _: Scan) -> rdb_client::Result<View<EntryStream>> {
        unreachable!("an import reads nothing")
    }

    async fn write(&self, batch: Batch, _: WriteOptions) -> rdb_client::Result<Outcome> {
        let place = self.with(|state| {
            state.arrived += 1;
            state.under_way += 1;
            state.most_under_way = state.most_under_way.max(state.under_way);
            state.arrived - 1
        });
        tokio::time::sleep(Duration::from_millis(100 - 20 * (place % 5))).await;
        self.with(|state| {
            state.under_way -= 1;
            if let Some((_, kind)) = self.fail.filter(|(failing, _)| *failing == place) {
                return Err(Error::new(kind, "told to fail"));
            }
            for (key, op) in batch.ops() {
                let Op::Put { value, .. } = op else { unreachable!("an import deletes nothing") };
                state.records.insert(key.to_bytes(), value.clone());
            }
            state.applied.push(place);
            let version = Version::new(place + 1).unwrap();
            Ok(Outcome::Committed(Commit { version, durability: Durability::Process }))
        })
    }

    async fn watch(&self, _: Watch) -> rdb_client::Result<View<WatchStream>> {
        unreachable!("an import watches nothing")
    }

    async fn open_session(&self, _: SessionOptions) -> rdb_client::Result<Session> {
        unreachable!("an import opens no session")
    }

    async fn resume_session(&self, _: NonZeroU64) -> rdb_client::Result<Option<Session>> {
        unreachable!("an import opens no session")
    }

    async fn end_session(&self, _: NonZeroU64) -> rdb_client::Result<()> {
        unreachable!("an import opens no session")
    }

    async fn settle(&self, _: Stamp) -> rdb_client::Result<Option<Outcome>> {
        unreachable!("an import opens no session")
    }

    async fn time(&self) -> rdb_client::Result<SystemTime> {
        unreachable!("an import asks for no time")
    }

    async fn restore(&self, _: View<EntryStream>) -> rdb_client::Result<Commit> {
        unreachable!("an import restores nothing")
    }

    async fn close(&self) -> rdb_client::Result<()> {
        Ok(())
    }
}

async fn run(engine: &Arc<Overtaken>, text: String) -> (Result<(), Failure>, Done) {
    let (ended, import) = run_whole(engine, text).await;
    (ended, import.done)
}

async fn run_whole(engine: &Arc<Overtaken>, text: String) -> (Result<(), Failure>, Import) {
    let engine: Arc<dyn Engine> = Arc::clone(engine) as _;
    let mut import = Import::new(engine, WriteOptions::default(), None, Progress::begin("importing", None));
    let source: Source = Box::pin(std::io::Cursor::new(text.into_bytes()));
    let ended = import.run(source, Format::Tsv, &mut Signals::listen().unwrap()).await;
    (ended, import)
}

/// Lines whose keys come again after `distinct` others.
fn lines(count: usize, distinct: usize) -> String {
    (0..count).map(|line| format!("{:05}\t{line}\n", line % distinct)).collect()
}

fn is_the_last_of_each_key(state: &State, count: usize, distinct: usize) -> bool {
    state.records.len() == distinct.min(count)
        && state.records.iter().all(|(key, value)| {
            let number = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse::<usize>().unwrap();
            let (key, value) = (number(key), number(value));
            value % distinct == key && value + distinct >= count
        })
}

#[tokio::test(start_paused = true)]
async fn batches_without_a_common_key_overtake_each_other() {
    let engine = Overtaken::new(None);
    let (ended, done) = run(&engine, lines(10_000, 10_000)).await;
    ended.unwrap();
    assert_eq!((done.records, done.bytes), (10_000, lines(10_000, 10_000).len() as u64));
    assert_eq!((done.version, done.durability), (Version::new(10), Some(Durability::Process)));
    engine.with(|state| {
        assert!(is_the_last_of_each_key(state, 10_000, 10_000));
        assert_eq!(state.most_under_way, IN_FLIGHT);
        assert!(!state.applied.is_sorted(), "the engine was to disturb the order");
    });
}

#[tokio::test(start_paused = true)]
async fn of_two_lines_with_one_key_the_later_wins() {
    for distinct in [1, 700, 1_000, 1_500, 2_999, 4_001] {
        let engine = Overtaken::new(None);
        let (ended, done) = run(&engine, lines(12_000, distinct)).await;
        ended.unwrap();
        assert_eq!(done.records, 12_000);
        assert!(engine.with(|state| is_the_last_of_each_key(state, 12_000, distinct)), "{distinct}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_malformed_line_is_named_and_those_before_it_are_stored() {
    let engine = Overtaken::new(None);
    let text = lines(2_500, 2_500) + "no tab here\n" + &lines(10, 10);
    let (ended, done) = run(&engine, text).await;
    let failure = ended.unwrap_err();
    assert_eq!((failure.exit(), failure.message()), (Exit::Error, "line 2501: there is no TAB"));
    assert_eq!(done.records, 2_500);
    assert!(engine.with(|state| is_the_last_of_each_key(state, 2_500, 2_500)));
}

#[tokio::test(start_paused = true)]
async fn a_failed_batch_ends_the_import_with_an_exact_count_of_the_others() {
    for (kind, exit) in [
        (ErrorKind::Exhausted, Exit::Error),
        (ErrorKind::Unavailable, Exit::Unavailable),
        (ErrorKind::Unknown, Exit::Unavailable),
    ] {
        let engine = Overtaken::new(Some((1, kind)));
        let (ended, done) = run(&engine, lines(20_000, 20_000)).await;
        let failure = ended.unwrap_err();
        assert_eq!(failure.exit(), exit);
        assert!(failure.message().starts_with("lines 1001 to 2000: "), "{}", failure.message());
        engine.with(|state| {
            assert_eq!(done.records, 1_000 * state.applied.len() as u64);
            assert_eq!(state.records.len() as u64, done.records);
            assert!(state.arrived < 10, "it went on after the failure");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_lines_agrees_with_the_batch_that_failed() {
    // The first takes longest: those behind it are answered before.
    for failing in [0, 2] {
        let engine = Overtaken::new(Some((failing, ErrorKind::Unknown)));
        let (ended, import) = run_whole(&engine, lines(20_000, 20_000)).await;
        let first = failing * 1_000 + 1;
        let place = format!("lines {first} to {}: ", first + 999);
        let failure = ended.unwrap_err();
        assert!(failure.message().starts_with(&place), "{}", failure.message());
        assert!(import.done.records > failing * 1_000, "others were answered, too");
        let note = import.note();
        let before = format!("all lines before {first} were acknowledged");
        assert_eq!(note.contains(&before), failing > 0, "{note}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_batches_that_failed_the_lower_is_named() {
    let mut import = run_whole(&Overtaken::new(None), String::new()).await.1;
    for first in [3_001, 1_001, 2_001] {
        let _ = import.fail(first, Failure::new(Exit::Error, first.to_string()));
    }
    let (_, lowest) = import.failed.unwrap();
    assert_eq!(lowest.message(), "1001");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_bounded_in_bytes() {
    let engine = Overtaken::new(None);
    let value = "v".repeat(BATCH_BYTES / 4);
    let text = (0..8).map(|line| format!("{line}\t{value}\n")).collect();
    run(&engine, text).await.0.unwrap();
    engine.with(|state| assert_eq!(state.arrived, 3));
}
