use std::time::Duration;

use async_trait::async_trait;

use crate::failure::Result;
use crate::figures::{Figures, Percentiles};
use crate::peers::{Persistence, Redis};
use crate::place::Place;
use crate::side::Side;

/// How many requests find out how many there will be in a second.
const TRIAL: u64 = 20_000;

/// redis-benchmark: clients with a connection each, of which none sends before it has its answer.
#[derive(Debug)]
pub(crate) struct RedisBenchmark {
    redis: Redis,
    test: &'static str,
    clients: usize,
    records: u64,
    time: Duration,
    line: String,
    /// Requests a second at the last measurement.
    expected: Option<f64>,
}

impl RedisBenchmark {
    /// Starts a server and loads the records.
    pub(crate) async fn open(
        test: &'static str,
        clients: usize,
        persistence: Persistence,
        place: &Place,
    ) -> Result<Self> {
        let redis = Redis::start(persistence, &place.disk).await?;
        redis.load(place.records, 100).await?;
        let line = redis.line();
        Ok(Self { redis, test, clients, records: place.records, time: place.time, line, expected: None })
    }
}

#[async_trait]
impl Side for RedisBenchmark {
    fn how(&self) -> String {
        self.line.clone()
    }

    /// It takes a number of requests, not a time: the number is what fills the time at the last known speed.
    async fn measure(&mut self) -> Result<Figures> {
        let ask = |requests| self.redis.benchmark(self.test, self.clients, requests, self.records);
        let expected = match self.expected {
            Some(expected) => expected,
            None => ask(TRIAL).await?.1.per_second,
        };
        let (line, measured) = ask(((expected * self.time.as_secs_f64()) as u64).max(1)).await?;
        self.expected = Some(measured.per_second);
        self.line = format!("{}; {line}", self.redis.line());
        let latency =
            Percentiles { p50_us: measured.p50_us, p99_us: measured.p99_us, ..Percentiles::default() };
        Ok(Figures { latency: Some(latency), ..Figures::rate(measured.per_second) })
    }
}
