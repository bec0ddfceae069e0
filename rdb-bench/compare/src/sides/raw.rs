use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, Options, ReadOptions, WriteBatch,
    WriteOptions,
};
use tokio::time::Instant;

use super::in_process::STRIDE;
use crate::failure::{Failure, Result};
use crate::figures::{Figures, Percentiles};
use crate::folder::Folder;
use crate::place::Place;
use crate::side::Side;

/// The sizes of `rdb import`.
const IMPORT_RECORDS: usize = 1_000;
const IMPORT_BYTES: usize = 1 << 20;
/// The size of the values that are written.
const VALUE_BYTES: usize = 100;

/// What RocksDB is asked, without FlareDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Reads, by as many threads as there are processors.
    Gets,
    /// One thread: so many keys read and written, in one synced batch.
    Groups(usize),
    /// One thread: everything by one iterator.
    Scan,
    /// One thread: the package index, in synced batches of the size of an import's.
    Import,
}

/// RocksDB in this process, set up as FlareDB's engine does.
pub(crate) struct Raw {
    store: Arc<Store>,
    work: Work,
}

struct Store {
    db: Option<DB>,
    keys: Vec<Vec<u8>>,
    file: Option<(Folder, PathBuf)>,
    warm_up: Duration,
    time: Duration,
    disk: PathBuf,
    /// Behind the database: it goes when that is gone.
    _data: Folder,
}

impl Raw {
    /// Opens a database and loads the records.
    pub(crate) async fn open(work: Work, place: &Place) -> Result<Self> {
        let data = Folder::new(&place.disk, "raw")?;
        let (db, keys, file) = if work == Work::Import {
            (None, Vec::new(), Some(super::import::unpacked(place).await?))
        } else {
            let names = place.keys()?;
            let keys: Vec<Vec<u8>> =
                (0..place.records).map(|number| names.key(number).as_bytes().to_vec()).collect();
            let db = open(&data.path().join("store"))?;
            load(&db, &keys)?;
            (Some(db), keys, None)
        };
        let (warm_up, time, disk) = (place.warm_up, place.time, place.disk.clone());
        let store = Store { db, keys, file, warm_up, time, disk, _data: data };
        Ok(Self { store: Arc::new(store), work })
    }
}

/// As `rdb-engine-rocks` opens it unless it is told otherwise, but for the statistics, which cost time.
fn options() -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_hyper_clock_cache(256 << 20, 0));
    table.set_block_size(4 << 10);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(64 << 20);
    options.set_max_write_buffer_number(4);
    options.set_target_file_size_base(64 << 20);
    options.set_max_bytes_for_level_base(256 << 20);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Lz4);
    options
        .set_max_background_jobs(thread::available_parallelism().map_or(2, |it| it.get().clamp(2, 8)) as i32);
    options.set_max_open_files(512);
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_avoid_unnecessary_blocking_io(true);
    options.set_bytes_per_sync(1 << 20);
    options
}

pub(super) fn open(path: &Path) -> Result<DB> {
    Ok(DB::open(&options(), path)?)
}

pub(super) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

fn load(db: &DB, keys: &[Vec<u8>]) -> Result<()> {
    let mut random = StdRng::seed_from_u64(0);
    for keys in keys.chunks(1_000) {
        let mut batch = WriteBatch::default();
        for key in keys {
            batch.put(key, value(&mut random));
        }
        db.write_opt(batch, &synced())?;
    }
    Ok(())
}

fn value(random: &mut StdRng) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    random.fill_bytes(&mut value);
    value
}

impl Store {
    fn db(&self) -> Result<&DB> {
        self.db.as_ref().ok_or_else(|| "no database is open".into())
    }

    fn key(&self, random: &mut StdRng) -> &[u8] {
        &self.keys[random.random_range(0..self.keys.len())]
    }

    fn gets(&self) -> Result<Figures> {
        let threads = thread::available_parallelism().map_or(1, Into::into);
        let db = self.db()?;
        let reads = |random: &mut StdRng, time: Duration| {
            let begun = Instant::now();
            let mut count = 0;
            loop {
                for _ in 0..STRIDE {
                    // A copy, as any engine makes one: a block must not stay pinned as long as its value.
                    if db.get(self.key(random))?.is_none() {
                        return Err(Failure::from("a record is missing"));
                    }
                }
                count += STRIDE;
                if begun.elapsed() >= time {
                    return Ok(count);
                }
            }
        };
        let count = thread::scope(|scope| {
            let one = |thread: usize| {
                let mut random = StdRng::seed_from_u64(thread as u64);
                reads(&mut random, self.warm_up)?;
                reads(&mut random, self.time)
            };
            let all: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
            let counts = all.into_iter().map(|thread| thread.join().map_err(|_| "a reader panicked")?);
            counts.sum::<Result<u64>>()
        })?;
        Ok(Figures::rate(count as f64 / self.time.as_secs_f64()))
    }

    fn groups(&self, size: usize) -> Result<Figures> {
        let db = self.db()?;
        let mut random = StdRng::seed_from_u64(size as u64);
        let options = synced();
        let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
        let mut run = |time: Duration, latencies: &mut Histogram<u64>| {
            let begun = Instant::now();
            let mut last = begun;
            let mut groups = 0_u64;
            while last.duration_since(begun) < time {
                let mut batch = WriteBatch::default();
                for _ in 0..size {
                    let key = self.key(&mut random);
                    if db.get_pinned(key)?.is_none() {
                        return Err(Failure::from("a record is missing"));
                    }
                    batch.put(key, value(&mut random));
                }
                db.write_opt(batch, &options)?;
                let now = Instant::now();
                latencies.saturating_record(now.duration_since(last).as_nanos() as u64);
                (last, groups) = (now, groups + 1);
            }
            Ok((groups * size as u64) as f64 / last.duration_since(begun).as_secs_f64())
        };
        run(self.warm_up, &mut latencies)?;
        latencies.reset();
        let rate = run(self.time, &mut latencies)?;
        let at = |percentile| latencies.value_at_percentile(percentile) as f64 / 1e3;
        let latency = Percentiles {
            p50_us: at(50.0),
            p90_us: Some(at(90.0)),
            p99_us: at(99.0),
            p99_9_us: Some(at(99.9)),
        };
        Ok(Figures { latency: Some(latency), ..Figures::rate(rate) })
    }

    fn scan(&self) -> Result<Figures> {
        let db = self.db()?;
        let whole = || {
            let mut options = ReadOptions::default();
            options.fill_cache(false);
            let mut rows = db.raw_iterator_opt(options);
            let (mut records, mut bytes) = (0_u64, 0);
            rows.seek_to_first();
            while let Some((key, value)) = rows.item() {
                records += 1;
                bytes += key.len() + value.len();
                rows.next();
            }
            rows.status()?;
            std::hint::black_box(bytes);
            Ok::<_, Failure>(records)
        };
        whole()?; // to warm up
        let begun = Instant::now();
        let mut records = 0;
        while begun.elapsed() < self.time || records == 0 {
            records += whole()?;
        }
        Ok(Figures::rate(records as f64 / begun.elapsed().as_secs_f64()))
    }

    fn import(&self) -> Result<Figures> {
        let Some((_, file)) = &self.file else { return Err("there is nothing to import".into()) };
        let data = Folder::new(&self.disk, "raw")?;
        let db = open(&data.path().join("store"))?;
        let options = synced();
        let begun = Instant::now();
        let (mut batch, mut bytes, mut records) = (WriteBatch::default(), 0, 0_u64);
        for line in BufReader::with_capacity(256 << 10, File::open(file)?).lines() {
            let line = line?;
            let (key, value) = line.split_once('\t').ok_or("a line without TAB")?;
            if batch.len() >= IMPORT_RECORDS || bytes + key.len() + value.len() > IMPORT_BYTES {
                db.write_opt(std::mem::take(&mut batch), &options)?;
                bytes = 0;
            }
            batch.put(key, value);
            bytes += key.len() + value.len();
            records += 1;
        }
        db.write_opt(batch, &options)?;
        Ok(Figures::rate(records as f64 / begun.elapsed().as_secs_f64()))
    }

    fn measure(&self, work: Work) -> Result<Figures> {
        match work {
            Work::Gets => self.gets(),
            Work::Groups(size) => self.groups(size),
            Work::Scan => self.scan(),
            Work::Import => self.import(),
        }
    }
}

#[async_trait]
impl Side for Raw {
    fn how(&self) -> String {
        match self.work {
            Work::Gets => "DB::get by a thread for each processor".into(),
            Work::Groups(1) => "one thread: get, put, sync".into(),
            Work::Groups(size) => format!("one thread: {size} times get and put, one synced batch"),
            Work::Scan => "one raw iterator over everything, without filling the cache".into(),
            Work::Import => format!("one thread: batches of {IMPORT_RECORDS} records or 1 MiB, synced"),
        }
    }

    async fn measure(&mut self) -> Result<Figures> {
        let (store, work) = (Arc::clone(&self.store), self.work);
        tokio::task::spawn_blocking(move || store.measure(work)).await?
    }
}
