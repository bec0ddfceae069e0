use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rdb_engine_api::{Error, ErrorKind, Result};
use rdb_proto::pd::v1::{self, pd_client::PdClient};
use rdb_proto::{Call, from_status};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::link::Link;
use crate::call::{Deadline, Tell, attempt};
use crate::scan::malformed;
use crate::timestamp::Timestamps;

/// The most timestamps that one message may ask for.
pub(super) const MAX_COUNT: u32 = 1 << 18;

/// How many may wait for timestamps; those behind them wait to be let in.
const MAX_WAITING: usize = 4096;

/// Someone who waits for timestamps.
struct Ask {
    count: u32,
    answer: oneshot::Sender<Result<Timestamps>>,
}

/// Asks for timestamps on behalf of all who wait, over one stream.
///
/// One message is on its way at a time, and whoever comes meanwhile goes with the next: the busier it is, the
/// more share a message, and nobody ever waits for company. What comes after a timestamp was given goes with
/// a later message, so that it is given a greater one.
#[derive(Clone, Debug)]
pub(super) struct Oracle(mpsc::Sender<Ask>);

impl Oracle {
    /// Begins. It ends with the last clone. `patience` bounds the wait for each answer.
    pub(super) fn start(link: Arc<Link>, patience: Duration) -> Self {
        let (asks, asked) = mpsc::channel(MAX_WAITING);
        let worker = Worker { link, patience, asked, waiting: VecDeque::new(), exchange: None, last: 0 };
        tokio::spawn(worker.run());
        Self(asks)
    }

    pub(super) async fn ask(&self, count: u32) -> Result<Timestamps> {
        let gone = |_| malformed("nobody asks for timestamps any more");
        let (answer, answered) = oneshot::channel();
        self.0
            .send(Ask { count, answer })
            .await
            .map_err(|_| malformed("nobody asks for timestamps any more"))?;
        answered.await.map_err(gone)?
    }
}

struct Worker {
    link: Arc<Link>,
    patience: Duration,
    asked: mpsc::Receiver<Ask>,
    waiting: VecDeque<Ask>,
    exchange: Option<Exchange>,
    /// The greatest timestamp that was given so far.
    last: u64,
}

/// An open stream.
struct Exchange {
    requests: mpsc::Sender<v1::TimestampsRequest>,
    answers: Streaming<v1::TimestampsResponse>,
}

impl Worker {
    async fn run(mut self) {
        let mut failed = 0;
        loop {
            if self.waiting.is_empty() {
                match self.asked.recv().await {
                    Some(ask) => self.waiting.push_back(ask),
                    None => return,
                }
            }
            while self.waiting.len() < MAX_WAITING
                && let Ok(ask) = self.asked.try_recv()
            {
                self.waiting.push_back(ask);
            }
            // Nobody asks for those who gave up.
            self.waiting.retain(|ask| !ask.answer.is_closed());
            let (batch, count) = self.batch();
            if batch == 0 {
                // Who comes next has not been tried for yet.
                failed = 0;
                continue;
            }
            match self.get(count).await {
                Ok(mut first) => {
                    failed = 0;
                    for ask in self.waiting.drain(..batch) {
                        // Who gave up meanwhile leaves them to nobody.
                        let _ = ask.answer.send(Ok(Timestamps::new(first, ask.count)));
                        first += u64::from(ask.count);
                    }
                }
                Err(error) => {
                    self.exchange = None;
                    failed += 1;
                    let again = error.kind() == ErrorKind::Unavailable;
                    match self.link.retry.pause(failed, rand::random()).filter(|_| again) {
                        Some(pause) => sleep(pause).await,
                        None => {
                            let error = if failed > 1 { error.with("attempts", failed) } else { error };
                            for ask in self.waiting.drain(..batch) {
                                let _ = ask.answer.send(Err(error.clone()));
                            }
                            failed = 0;
                        }
                    }
                }
            }
        }
    }

    /// How many of those who wait fit into one message, and how many timestamps that makes.
    fn batch(&self) -> (usize, u32) {
        let (mut batch, mut count) = (0, 0);
        for ask in &self.waiting {
            if count + ask.count > MAX_COUNT {
                break;
            }
            (batch, count) = (batch + 1, count + ask.count);
        }
        (batch, count)
    }

    /// Gets so many timestamps, and answers the first.
    async fn get(&mut self, count: u32) -> Result<u64> {
        let deadline = Deadline::after(self.patience);
        let message = v1::TimestampsRequest { count };
        let answer = deadline.bound(async {
            let exchange = match &mut self.exchange {
                Some(exchange) => {
                    // Where the stream has ended, its end is read below.
                    let _ = exchange.requests.send(message).await;
                    exchange
                }
                none => none.insert(open(&self.link, message, deadline).await?),
            };
            let answer =
                exchange.answers.message().await.map_err(|status| from_status(&status, Call::Read))?;
            let ended =
                || Error::new(ErrorKind::Unavailable, "placement driver ended the stream of timestamps");
            answer.ok_or_else(ended)
        });
        let answer = answer.await?;
        self.link.verify(deadline).await?;
        if answer.count != count || answer.first.checked_add(u64::from(count)).is_none() {
            return Err(malformed("placement driver sent another number of timestamps than was asked for")
                .with("asked", count)
                .with("received", answer.count));
        }
        if answer.first <= self.last {
            return Err(malformed("placement driver gave a timestamp that is not greater than the last")
                .with("last", self.last)
                .with("given", answer.first));
        }
        self.last = answer.first + u64::from(count) - 1;
        Ok(answer.first)
    }
}

/// Opens a stream with its first message, which some servers await before they answer at all.
async fn open(link: &Link, first: v1::TimestampsRequest, deadline: Deadline) -> Result<Exchange> {
    let (requests, sent) = mpsc::channel(1);
    let _ = requests.send(first).await;
    let wire = link.wire.clone();
    let send = |request| async move { PdClient::new(wire).timestamps(request).await };
    let answers = attempt(Call::Read, deadline, Tell::Nothing, ReceiverStream::new(sent), send).await?;
    Ok(Exchange { requests, answers })
}
