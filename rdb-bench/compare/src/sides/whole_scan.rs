use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use rdb_client::{Engine, KeyRange, Scan};
use tokio::time::Instant;

use crate::failure::Result;
use crate::figures::Figures;
use crate::side::Side;

/// Scans of everything, one after the other.
pub(crate) struct WholeScan {
    engine: Arc<dyn Engine>,
    records: u64,
    time: Duration,
    how: String,
    /// What has to live as long as the engine.
    _peer: Box<dyn Send + Sync>,
}

impl WholeScan {
    /// Of an engine that holds so many records.
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        records: u64,
        time: Duration,
        how: String,
        peer: impl Send + Sync + 'static,
    ) -> Self {
        Self { engine, records, time, how, _peer: Box::new(peer) }
    }
}

/// Reads everything once: how many records there were.
pub(crate) async fn whole(engine: &dyn Engine) -> Result<u64> {
    let mut entries = engine.scan(Scan::new(KeyRange::all())).await?.data;
    let mut records = 0;
    while let Some(chunk) = entries.try_next().await? {
        records += chunk.len() as u64;
    }
    Ok(records)
}

#[async_trait]
impl Side for WholeScan {
    fn how(&self) -> String {
        self.how.clone()
    }

    async fn measure(&mut self) -> Result<Figures> {
        whole(&*self.engine).await?; // to warm up
        let begun = Instant::now();
        let mut records = 0;
        while begun.elapsed() < self.time || records == 0 {
            let found = whole(&*self.engine).await?;
            if found != self.records {
                return Err(format!("a scan found {found} records of {}", self.records).into());
            }
            records += found;
        }
        Ok(Figures::rate(records as f64 / begun.elapsed().as_secs_f64()))
    }
}
