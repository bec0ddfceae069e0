use std::time::Duration;

use rdb_engine_api::{Error, ErrorKind, Outcome, Result};
use rdb_proto::kv::v1;
use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

use super::line::Number;
use super::verdict::{Verdict, after_send, after_session, after_settle};
use super::{Link, Sessions};
use crate::call::{Deadline, too_late};
use crate::request::{CURRENT, Request};
use crate::retry::RetryPolicy;
use crate::waits::Waits;

/// A write of the application, over all its attempts: the table of the [module](super).
pub(crate) struct Writing<'a> {
    sessions: &'a Sessions,
    policy: &'a RetryPolicy,
    link: Link,
    message: v1::WriteRequest,
    waits: Waits,
    deadline: Deadline,
    /// How often it was sent.
    sent: u32,
    /// Whether an attempt may have been executed.
    maybe: bool,
    /// Why sending is of no use any more: what is told where the write was never executed.
    refusal: Option<Error>,
}

/// How an attempt came out that brought no outcome.
struct Failed(Error, Verdict);

/// What an attempt brought.
enum Step {
    Outcome(Outcome),
    /// The write is certain never to be executed.
    Never(Error),
    /// The next attempt can be made at once.
    Onward,
    /// The session has ended.
    Ended,
}

impl<'a> Writing<'a> {
    pub(crate) fn new(
        sessions: &'a Sessions,
        policy: &'a RetryPolicy,
        link: Link,
        message: v1::WriteRequest,
        waits: Waits,
        deadline: Deadline,
    ) -> Self {
        Self { sessions, policy, link, message, waits, deadline, sent: 0, maybe: false, refusal: None }
    }

    /// Sends the write until there is something certain to tell, or the deadline passes. All attempts are one
    /// request, with one id.
    pub(crate) async fn run(mut self) -> Result<Outcome> {
        let request = Request::begin();
        let told = CURRENT.scope(request.clone(), self.attempts()).instrument(request.span().clone()).await;
        request.end(self.sent, told)
    }

    async fn attempts(&mut self) -> Result<Outcome> {
        let mut number: Option<Number> = None;
        let mut failed = 0;
        let mut last = None;
        loop {
            if self.deadline.has_passed() || (self.waits.turn_is_over() && failed > 0 && !self.maybe) {
                return Err(self.give_up(number, last));
            }
            let step = match &number {
                None => self.begin().await.map(|begun| {
                    number = Some(begun);
                    Step::Onward
                }),
                Some(number) => self.attempt(number).await,
            };
            let Failed(error, verdict) = match step {
                Ok(Step::Outcome(outcome)) => return Ok(outcome),
                Ok(Step::Never(error)) => return Err(error),
                Ok(Step::Onward) => continue,
                Ok(Step::Ended) if self.maybe => return Err(forgotten(number, last)),
                Ok(Step::Ended) => {
                    number = None;
                    continue;
                }
                Err(failed) => failed,
            };
            match verdict {
                Verdict::Tell => return Err(error),
                Verdict::Forgotten => return Err(forgotten(number, Some(error))),
                Verdict::Settle => continue,
                Verdict::Again | Verdict::Resume => {}
            }
            failed += 1;
            let Some(pause) = self.pause(failed) else {
                let error = if failed > 1 { error.with("attempts", failed) } else { error };
                return Err(self.give_up(number, Some(error)));
            };
            last = Some(error);
            sleep(pause).await;
        }
    }

    /// The pause before the next attempt, if there shall be one.
    fn pause(&self, failed: u32) -> Option<Duration> {
        let left = self.deadline.left();
        if !self.maybe {
            return self.policy.pause(failed, rand::random()).filter(|pause| *pause < left);
        }
        // Whatever time there is serves to learn what became of it.
        (self.policy.attempts > 1).then(|| self.policy.backoff(failed, rand::random()).min(left / 2))
    }

    /// Takes a number in the session.
    async fn begin(&self) -> Result<Number, Failed> {
        let begun = async {
            loop {
                let line = self.sessions.line(&self.link, self.share()).await?;
                // Whoever lost the last place to others tries another session soon.
                let until = if self.sessions.rolls_over { self.share() } else { self.deadline };
                if let Some(number) = line.number(until).await? {
                    return Ok(number);
                }
            }
        };
        begun.await.map_err(|error| self.of_session(error, "cannot begin a write in a session"))
    }

    /// The next attempt on a number: asks for its session where that is in doubt, else for its outcome where
    /// sending is of no use, and else sends.
    async fn attempt(&mut self, number: &Number) -> Result<Step, Failed> {
        let line = number.line();
        if line.has_ended() {
            return Ok(Step::Ended);
        }
        if line.is_in_doubt() {
            return match line.resume(&self.link, self.share()).await {
                Ok(true) => Ok(Step::Onward),
                Ok(false) => Ok(Step::Ended),
                Err(error) => Err(self.of_session(error, "cannot resume the session of a write")),
            };
        }
        if self.refusal.is_none() && self.maybe && self.waits.turn_is_over() {
            self.refusal = Some(Error::new(ErrorKind::Unavailable, "turn of the write did not come in time"));
        }
        match self.refusal.clone() {
            Some(refusal) => self.settle(number, refusal).await,
            None => self.send(number).await,
        }
    }

    async fn send(&mut self, number: &Number) -> Result<Step, Failed> {
        let stamp = number.stamp();
        self.waits.tell(&mut self.message);
        self.message.options.get_or_insert_default().stamp = Some(stamp.into());
        let begun = Instant::now();
        self.sent += 1;
        let until = self.share();
        let error = match self.link.write(&mut self.message, until).await {
            Ok(outcome) => {
                number.line().was_seen(begun);
                return Ok(Step::Outcome(outcome));
            }
            Err(error) => error,
        };
        let verdict = after_send(error.kind(), self.maybe);
        match verdict {
            Verdict::Resume => number.line().doubt(stamp.life),
            Verdict::Settle => self.refusal = Some(error.clone()),
            _ => {}
        }
        self.maybe |= error.may_have_been_applied();
        Err(Failed(error, verdict))
    }

    async fn settle(&self, number: &Number, refusal: Error) -> Result<Step, Failed> {
        let stamp = number.stamp();
        match self.link.settle(stamp, self.share()).await {
            Ok(Some(outcome)) => Ok(Step::Outcome(outcome)),
            Ok(None) => Ok(Step::Never(refusal)),
            Err(error) => {
                let verdict = after_settle(error.kind());
                if verdict == Verdict::Resume {
                    number.line().doubt(stamp.life);
                }
                Err(Failed(error, verdict))
            }
        }
    }

    /// The deadline of one attempt: an answer that is lost must leave time to ask again.
    fn share(&self) -> Deadline {
        match self.policy.attempts {
            0 | 1 => self.deadline,
            _ => self.deadline.share(self.waits.left_for_conditions()),
        }
    }

    /// A failure that concerns the session, and says nothing of the write.
    fn of_session(&self, error: Error, what: &str) -> Failed {
        let kind = match error.kind() {
            ErrorKind::Unknown | ErrorKind::Stale => ErrorKind::Unavailable,
            kind => kind,
        };
        Failed(Error::new(kind, what).because(error), after_session(kind, self.maybe))
    }

    /// What is told when there is no further attempt.
    fn give_up(&self, number: Option<Number>, last: Option<Error>) -> Error {
        match number {
            Some(number) if self.maybe => {
                let id = number.id();
                number.hold();
                id.unknown("cannot tell in time what became of a write", last)
            }
            _ => match last {
                // The application knows of no session.
                Some(error) if error.kind() == ErrorKind::Stale => {
                    Error::new(ErrorKind::Unavailable, "node has restarted").because(error)
                }
                Some(error) => error,
                None => too_late(),
            },
        }
    }
}

/// The engine knows no more of the number.
fn forgotten(number: Option<Number>, last: Option<Error>) -> Error {
    let message = "write may have been applied, and nobody knows any more";
    match number {
        Some(number) => number.id().unknown(message, last),
        None => Error::new(ErrorKind::Unknown, message),
    }
}
