use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rdb_bench::{EngineTarget, Run, Workload};
use rdb_client::{Engine, Key};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::failure::Result;
use crate::figures::Figures;
use crate::folder::Folder;
use crate::place::Place;
use crate::side::Side;

/// Reads between two looks at the clock, which would otherwise be a part of what is measured.
pub(crate) const STRIDE: u64 = 64;

/// Reads of an engine in this process, by as many tasks as there are processors.
pub(crate) struct InProcess {
    engine: Arc<dyn Engine>,
    keys: Arc<[Key]>,
    warm_up: Duration,
    time: Duration,
    tasks: usize,
    /// Behind the engine: it goes when that is gone.
    _data: Folder,
}

impl InProcess {
    /// Opens an engine and loads the records.
    pub(crate) async fn open(place: &Place) -> Result<Self> {
        let data = Folder::new(&place.disk, "engine")?;
        let engine = crate::engine::open(&place.engine, &data.path().join("data"))?;
        let target = EngineTarget::new(Arc::clone(&engine), "in process", None);
        Run::new(Arc::new(target), place.settings(Workload::Get, 1)).load().await?;
        let keys = place.keys()?;
        let keys = (0..place.records).map(|number| keys.key(number)).collect();
        let tasks = available_parallelism().map_or(1, Into::into);
        Ok(Self { engine, keys, warm_up: place.warm_up, time: place.time, tasks, _data: data })
    }
}

async fn reads(engine: &dyn Engine, keys: &[Key], random: &mut StdRng, time: Duration) -> Result<u64> {
    let begun = Instant::now();
    let mut count = 0;
    loop {
        for _ in 0..STRIDE {
            let key = &keys[random.random_range(0..keys.len())];
            if engine.get(key).await?.is_none() {
                return Err("a record is missing".into());
            }
        }
        count += STRIDE;
        if begun.elapsed() >= time {
            return Ok(count);
        }
    }
}

#[async_trait]
impl Side for InProcess {
    fn how(&self) -> String {
        format!("{} in process, {} tasks", self.engine.info().name, self.tasks)
    }

    async fn measure(&mut self) -> Result<Figures> {
        let mut tasks = JoinSet::new();
        for task in 0..self.tasks {
            let (engine, keys) = (Arc::clone(&self.engine), Arc::clone(&self.keys));
            let (warm_up, time) = (self.warm_up, self.time);
            tasks.spawn(async move {
                let mut random = StdRng::seed_from_u64(task as u64);
                reads(&*engine, &keys, &mut random, warm_up).await?;
                reads(&*engine, &keys, &mut random, time).await
            });
        }
        let mut count = 0;
        while let Some(ended) = tasks.join_next().await {
            count += ended??;
        }
        Ok(Figures::rate(count as f64 / self.time.as_secs_f64()))
    }
}
