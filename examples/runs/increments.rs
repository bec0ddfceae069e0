//! Many callers increment shared counters by compare-and-swap, through a proxy that misbehaves, at a node that
//! is killed again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rdb_client::{
    Client, Condition, Conflict, Engine as _, EngineExt as _, Error, ErrorKind, Key, Outcome, Record, Result,
    WriteId,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::node::{Node, NodePlan, VOLATILE};
use crate::proxy::{Proxy, Trouble};

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) increments: u64,
    pub(crate) callers: u64,
    /// How many clients, each with its connection, the callers share.
    pub(crate) clients: u64,
    pub(crate) counters: u64,
    /// How often the node is killed, or, where its data would be gone, every connection is cut.
    pub(crate) kill_every: Duration,
    pub(crate) trouble: Trouble,
    /// How long a request may take, repetitions included.
    pub(crate) timeout: Duration,
    /// Without, a write whose outcome is unknown is simply sent again, as a careless client does.
    pub(crate) exactly_once: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// What the counters hold together.
    pub(crate) sum: u64,
    /// Conflicts with the very write that was answered so.
    pub(crate) false_conflicts: u64,
    /// True conflicts: another caller was faster.
    pub(crate) conflicts: u64,
    /// Writes that ended unknown, and what became of them was learnt later.
    pub(crate) settled: u64,
    /// Writes that ended unknown, and nobody could tell what became of them.
    pub(crate) unknown: u64,
    /// Writes that were certainly not applied, and tried again.
    pub(crate) refused: u64,
    pub(crate) kills: usize,
    pub(crate) cuts: u64,
    pub(crate) answers_dropped: u64,
    pub(crate) answers_delayed: u64,
    /// Requests delivered once more: answered, refused, and lost where no node was.
    pub(crate) repeated: [u64; 3],
    pub(crate) seconds: f64,
}

impl Found {
    /// Whether it was seen that a write took effect twice, or was refused because of itself.
    #[allow(dead_code)] // not every run asks
    pub(crate) const fn shows_a_write_twice(&self, plan: &Plan) -> bool {
        self.sum > plan.increments || self.false_conflicts > 0
    }

    /// Whether every increment took effect once, and every caller learnt what became of it.
    pub(crate) const fn is_exact(&self, plan: &Plan) -> bool {
        self.sum == plan.increments && self.false_conflicts == 0 && self.unknown == 0
    }
}

#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    false_conflicts: AtomicU64,
    conflicts: AtomicU64,
    settled: AtomicU64,
    unknown: AtomicU64,
    refused: AtomicU64,
}

/// Runs it; `progress` is told how many increments are done, now and then.
pub(crate) async fn run(plan: &Plan, node: NodePlan, progress: impl Fn(u64)) -> Result<Found> {
    let volatile = node.engine == VOLATILE;
    let mut node = Node::start(node)?;
    let proxy = Proxy::start(node.address(), plan.trouble).await?;
    let mut clients = Vec::new();
    for _ in 0..plan.clients {
        let client = Client::builder().endpoint(proxy.address()).timeout(plan.timeout);
        clients.push(client.exactly_once(plan.exactly_once).connect().await?);
    }
    let counts = Arc::new(Counts::default());
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..plan.callers {
        let share = plan.increments / plan.callers + u64::from(caller < plan.increments % plan.callers);
        let client = clients[(caller % plan.clients) as usize].clone();
        callers.spawn(increment(client, plan.clone(), caller, share, Arc::clone(&counts)));
    }
    let mut kills = interval(plan.kill_every);
    kills.set_missed_tick_behavior(MissedTickBehavior::Delay);
    kills.tick().await;
    let mut ticks = interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            ended = callers.join_next() => match ended {
                None => break,
                Some(ended) => ended.map_err(|error| {
                    Error::new(ErrorKind::Internal, "a caller panicked").because(error)
                })??,
            },
            _ = kills.tick() => {
                if volatile {
                    proxy.cut();
                } else {
                    // The start waits for the node's word, which the callers need not.
                    node = tokio::task::spawn_blocking(move || {
                        node.kill()?;
                        node.start_again()?;
                        Ok::<_, Error>(node)
                    })
                    .await
                    .map_err(|error| Error::new(ErrorKind::Internal, "a killer panicked").because(error))??;
                }
            }
            _ = ticks.tick() => progress(counts.done.load(Relaxed)),
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    // What is still under way could be applied once more.
    proxy.settle().await;
    let reader = Client::connect(node.address()).await?;
    let mut sum = 0;
    for counter in 0..plan.counters {
        sum += number(reader.get(&key(counter)?).await?.as_ref());
    }
    progress(plan.increments);
    let tally = proxy.tally();
    Ok(Found {
        sum,
        false_conflicts: counts.false_conflicts.load(Relaxed),
        conflicts: counts.conflicts.load(Relaxed),
        settled: counts.settled.load(Relaxed),
        unknown: counts.unknown.load(Relaxed),
        refused: counts.refused.load(Relaxed),
        kills: node.kills(),
        cuts: tally.cuts.load(Relaxed),
        answers_dropped: tally.dropped.load(Relaxed),
        answers_delayed: tally.delayed.load(Relaxed),
        repeated: [&tally.repeated, &tally.refused, &tally.lost].map(|count| count.load(Relaxed)),
        seconds,
    })
}

fn key(counter: u64) -> Result<Key> {
    Key::new(format!("counter/{counter}"))
}

/// The count in a record, which is followed by the name of the write that left it; 0 where there is none.
fn number(record: Option<&Record>) -> u64 {
    let text = record.map(|record| String::from_utf8_lossy(&record.value).into_owned()).unwrap_or_default();
    text.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// How a write is named in its value, so that it is known again.
fn is_by(record: Option<&Record>, name: &str) -> bool {
    record.is_some_and(|record| record.value.ends_with(name.as_bytes()))
}

/// One caller's share.
async fn increment(client: Client, plan: Plan, caller: u64, share: u64, counts: Arc<Counts>) -> Result<()> {
    for turn in 0..share {
        let key = key((caller + turn) % plan.counters)?;
        let name = format!(" {caller}.{turn}");
        let mut current = read(&client, &key).await?;
        loop {
            let condition = match &current {
                Some(record) => Condition::Version(record.version),
                None => Condition::Absent,
            };
            let value = format!("{}{name}", number(current.as_ref()) + 1);
            match swap(&client, &plan, &counts, &key, condition, value).await? {
                Outcome::Conflict(conflict) => {
                    let mine = is_by(conflict.current.as_ref(), &name);
                    let count = if mine { &counts.false_conflicts } else { &counts.conflicts };
                    count.fetch_add(1, Relaxed);
                    current = found(&client, &key, conflict).await?;
                }
                Outcome::Committed(_) | Outcome::Unchanged(_) => break,
            }
        }
        counts.done.fetch_add(1, Relaxed);
    }
    Ok(())
}

/// What a conflict met; where that is gone since, what is there now.
async fn found(client: &Client, key: &Key, conflict: Conflict) -> Result<Option<Record>> {
    if conflict.replaced.is_some() { read(client, key).await } else { Ok(conflict.current) }
}

/// Reads, however long the node is away.
async fn read(client: &Client, key: &Key) -> Result<Option<Record>> {
    loop {
        match client.get(key).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => sleep(Duration::from_millis(20)).await,
            ended => return ended,
        }
    }
}

/// Writes until it is known what became of it; or, carelessly, until there is any answer.
async fn swap(
    client: &Client,
    plan: &Plan,
    counts: &Counts,
    key: &Key,
    condition: Condition,
    value: String,
) -> Result<Outcome> {
    loop {
        let error = match client.compare_and_swap(key, condition.clone(), value.clone()).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::Unknown => match WriteId::of(&error).filter(|_| plan.exactly_once) {
                Some(write) => match learn(client, write).await {
                    Ok(Some(outcome)) => {
                        counts.settled.fetch_add(1, Relaxed);
                        return Ok(outcome);
                    }
                    // It never happened, and never will.
                    Ok(None) => _ = counts.settled.fetch_add(1, Relaxed),
                    Err(error) if error.kind() == ErrorKind::Unknown => {
                        counts.unknown.fetch_add(1, Relaxed);
                    }
                    Err(error) => return Err(error),
                },
                None => _ = counts.unknown.fetch_add(1, Relaxed),
            },
            ErrorKind::Unavailable | ErrorKind::Exhausted => {
                counts.refused.fetch_add(1, Relaxed);
                sleep(Duration::from_millis(20)).await;
            }
            _ => return Err(error),
        }
    }
}

/// Asks what became of a write, however long the node is away.
async fn learn(client: &Client, write: WriteId) -> Result<Option<Outcome>> {
    loop {
        match client.what_became_of(write).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => sleep(Duration::from_millis(20)).await,
            ended => return ended,
        }
    }
}
