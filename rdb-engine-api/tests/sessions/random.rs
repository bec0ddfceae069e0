//! A counter that is exact whatever becomes of the messages.

use futures::future::join_all;
use rdb_engine_api::{Batch, Condition, Engine as _, ErrorKind, Outcome, Session, Stamp, Version};

use crate::bench::{Bench, key, number};

/// A generator of numbers that tells its seed (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

/// A client that increments the counter, sending as often as it takes to learn what became of it.
struct Client {
    session: Session,
    sequence: u64,
    acknowledged: u64,
    /// What was sent and not yet answered to the application.
    sent: Option<Batch>,
    /// That this was committed, if an answer said so.
    committed: Option<(Version, Option<Version>)>,
}

/// What must be the same whenever an outcome is told: its version, and that of the record that was met.
fn first(outcome: &Outcome) -> (Version, Option<Version>) {
    let met = match outcome {
        Outcome::Conflict(conflict) => {
            conflict.replaced.or(conflict.current.as_ref().map(|record| record.version))
        }
        _ => None,
    };
    (outcome.version(), met)
}

#[tokio::test]
async fn counter_is_exact_under_duplicates_reorderings_lost_answers_and_restarts() {
    for seed in 1..=12 {
        exact(seed).await;
    }
}

async fn exact(seed: u64) {
    let mut random = Random(seed);
    let mut bench = Bench::with(|limits| limits.session_window = 3);
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client {
            session: bench.session().await,
            sequence: 0,
            acknowledged: 0,
            sent: None,
            committed: None,
        });
    }
    // What the network keeps back.
    let mut late: Vec<(Batch, Stamp)> = Vec::new();
    let (mut count, mut conflicts, mut stale) = (0u64, 0, 0);
    for _ in 0..400 {
        if random.below(25) == 0 {
            let left = match random.below(3) {
                0 => bench.shelf.after_crash(),
                1 => bench.shelf.after_power_cut(),
                _ => {
                    bench.reopen().await;
                    bench.shelf.clone()
                }
            };
            bench.engine.close().await.unwrap();
            bench.reopen_on(left);
        }
        let current = bench.engine.get(&key("counter")).await.unwrap();
        // Who still waits for an answer sends again; others begin an increment.
        let mut sends = Vec::new();
        for (place, client) in clients.iter_mut().enumerate() {
            if client.sent.is_none() {
                let (condition, value) = match &current {
                    None => (Condition::Absent, 0),
                    Some(record) => {
                        let value = std::str::from_utf8(&record.value).unwrap().parse().unwrap();
                        (Condition::Version(record.version), value)
                    }
                };
                let value: u64 = value + 1;
                client.sequence += 1;
                client.committed = None;
                let batch =
                    Batch::new().when(key("counter"), condition).put(key("counter"), value.to_string());
                client.sent = Some(batch);
            }
            let batch = client.sent.clone().unwrap();
            let stamp = client.session.stamp(number(client.sequence), client.acknowledged);
            for _ in 0..1 + random.below(3) {
                match random.below(4) {
                    0 => late.push((batch.clone(), stamp)),
                    _ => sends.push((Some(place), batch.clone(), stamp)),
                }
            }
        }
        for _ in 0..random.below(4) {
            if !late.is_empty() {
                let (batch, stamp) = late.swap_remove(random.below(late.len() as u64) as usize);
                sends.push((None, batch, stamp));
            }
        }
        for place in (1..sends.len()).rev() {
            sends.swap(place, random.below(place as u64 + 1) as usize);
        }
        let answers = join_all(sends.iter().map(|(_, batch, stamp)| bench.write(batch, *stamp))).await;
        let mut told: [Option<Outcome>; 3] = [None, None, None];
        for ((place, ..), answer) in sends.iter().zip(answers) {
            let Some(place) = *place else { continue };
            match answer {
                Ok(outcome) => {
                    if let Some(before) = &told[place] {
                        assert_eq!(first(before), first(&outcome), "seed {seed}: two outcomes");
                    }
                    if let Some(before) = &clients[place].committed {
                        assert_eq!(*before, first(&outcome), "seed {seed}: a commit became something else");
                    }
                    if let Outcome::Committed(_) = outcome {
                        clients[place].committed = Some(first(&outcome));
                    }
                    told[place] = Some(outcome);
                }
                Err(error) if error.kind() == ErrorKind::Stale => {
                    stale += 1;
                    clients[place].session = bench.resumed(clients[place].session).await;
                }
                Err(error) => panic!("seed {seed}: {error:?}"),
            }
        }
        for (client, told) in clients.iter_mut().zip(told) {
            // A lost answer: it sends again, or asks.
            let told = match random.below(3) {
                0 => continue,
                1 => {
                    client.session = bench.resumed(client.session).await;
                    let stamp = client.session.stamp(number(client.sequence), client.acknowledged);
                    match bench.engine.settle(stamp).await.unwrap() {
                        Some(outcome) => Some(outcome),
                        None => {
                            assert_eq!(told, None, "seed {seed}: an outcome was told, and then none");
                            client.acknowledged = client.sequence;
                            client.sent = None;
                            continue;
                        }
                    }
                }
                _ => told,
            };
            let Some(outcome) = told else { continue };
            client.sent = None;
            client.acknowledged = client.sequence;
            match outcome {
                Outcome::Committed(_) => count += 1,
                Outcome::Conflict(_) => conflicts += 1,
                Outcome::Unchanged(_) => panic!("seed {seed}: a put changes something"),
            }
        }
    }
    for client in &mut clients {
        client.session = bench.resumed(client.session).await;
        if client.sent.is_some() {
            let stamp = client.session.stamp(number(client.sequence), client.acknowledged);
            let settled = bench.engine.settle(stamp).await.unwrap();
            count += u64::from(matches!(settled, Some(Outcome::Committed(_))));
        }
    }
    assert_eq!(bench.value("counter").await.unwrap(), count.to_string(), "seed {seed}");
    assert!(count > 50 && conflicts > 50 && stale > 5, "seed {seed}: {count}, {conflicts}, {stale}");
}
