//! The committer's side of writes that wait for their conditions to hold (C20).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::blocked::{Waiter, is_dead};
use super::committer::{Committer, certain};
use super::judge::GroupView;
use super::once::again;
use super::pending::{Kind, Pending};
use super::queue::Write;
use super::sessions::Fate;
use crate::{Error, ErrorKind, Result, Store};

/// What a write comes to: an end, or a wait under the key of one of its conditions.
enum Trial {
    Over(Kind),
    Wait { index: usize, until: Duration },
}

impl<S: Store> Committer<S> {
    /// Judges a write, unless it is one that has arrived before or has to wait: then nothing is pending.
    pub(super) fn arrive(
        &mut self,
        view: &mut GroupView<'_, S>,
        write: Write,
        bytes: usize,
        now: Duration,
    ) -> Option<Pending> {
        if let Some(stamped) = write.stamped {
            let kind = match self.look_up(&stamped, now) {
                Ok(Some(Fate::Parked)) => {
                    if let Err(full) = self.blocked.check_room() {
                        return Some(refused(Waiter::new(write, bytes), full));
                    }
                    let write = self.blocked.join(write)?;
                    let lost = Error::new(ErrorKind::Internal, "a write that waits is lost");
                    return Some(refused(Waiter::new(write, bytes), lost));
                }
                Ok(Some(fate)) => Some(again(view, &fate)),
                Ok(None) => None,
                Err(error) => Some(Err(error)),
            };
            if let Some(kind) = kind {
                let kind = kind.unwrap_or_else(|error| Kind::Other(Err(error)));
                return Some(pending(Waiter::new(write, bytes), kind));
            }
        }
        self.judge(view, Waiter::new(write, bytes), now)
    }

    /// Lets all waiters have their turns whose conditions were touched by the latest commits.
    pub(super) fn wake(&mut self, view: &mut GroupView<'_, S>, pending: &mut Vec<Pending>, now: Duration) {
        while let Some(key) = self.blocked.next_touched() {
            // They go on waiting where the record cannot be read: the end of their time will tell them.
            let Ok(current) = view.current(&key) else { continue };
            let mut after = 0;
            while let Some(waiter) =
                self.blocked.next_turn(&key, &mut after, current.as_ref(), view.version(), now)
            {
                pending.extend(self.retry(view, waiter, now));
                // It may have taken away what the next one is waiting for.
                if self.blocked.is_touched(&key) {
                    break;
                }
            }
        }
    }

    /// Judges one that has waited.
    pub(super) fn retry(
        &mut self,
        view: &mut GroupView<'_, S>,
        waiter: Waiter,
        now: Duration,
    ) -> Option<Pending> {
        self.queue.unpark(waiter.bytes);
        if waiter.is_forgotten() {
            self.forget(&waiter);
            return None;
        }
        self.judge(view, waiter, now)
    }

    fn judge(&mut self, view: &mut GroupView<'_, S>, mut waiter: Waiter, now: Duration) -> Option<Pending> {
        let tried = catch_unwind(AssertUnwindSafe(|| self.try_write(view, &mut waiter, now)));
        let kind = match tried {
            Ok(Ok(Trial::Over(kind))) => kind,
            Ok(Ok(Trial::Wait { index, until })) => {
                if let Some(stamped) = &waiter.write.stamped {
                    self.sessions.remember(stamped, Fate::Parked);
                }
                self.blocked.park(waiter, index, until);
                return None;
            }
            Ok(Err(error)) => Kind::Other(Err(error)),
            Err(_) => Kind::Other(Err(Error::new(ErrorKind::Internal, "judging the batch panicked"))),
        };
        if waiter.has_waited() && matches!(kind, Kind::Other(Err(_))) {
            self.forget(&waiter);
        }
        Some(pending(waiter, kind))
    }

    fn try_write(
        &mut self,
        view: &mut GroupView<'_, S>,
        waiter: &mut Waiter,
        now: Duration,
    ) -> Result<Trial> {
        let has_waited = waiter.has_waited();
        let write = &mut waiter.write;
        if let Some(until) = write.until.filter(|until| *until > now)
            && let Some(conflict) = view.conflict(&write.batch).map_err(certain)?
        {
            let (_, condition) = &write.batch.conditions()[conflict.index];
            let dead = is_dead(condition, view.version());
            if !dead || has_waited {
                if !has_waited {
                    self.blocked.check_room()?;
                }
                self.queue.park(waiter.bytes)?;
                // One that can never come about ends in a group whose conflicts are counted.
                let until = if dead { Duration::ZERO } else { until };
                return Ok(Trial::Wait { index: conflict.index, until });
            }
        }
        let batch = std::mem::take(&mut write.batch);
        let kind = self.judge_batch(view, batch)?;
        if let Some(stamped) = &write.stamped {
            self.remember(stamped, &kind)?;
        }
        Ok(Trial::Over(kind))
    }

    /// The write of a waiter has not been executed: if it comes again, it is a first arrival.
    fn forget(&mut self, waiter: &Waiter) {
        if let Some(stamped) = &waiter.write.stamped {
            self.sessions.forget(&stamped.stamp);
        }
    }

    /// Removes the waiters whose callers are gone.
    pub(super) fn sweep(&mut self, now: Duration, at_rest: bool) {
        for waiter in self.blocked.take_forgotten(now, at_rest) {
            self.queue.unpark(waiter.bytes);
            self.forget(&waiter);
        }
    }

    /// Tells all who want to know of a waiter that nothing was done.
    pub(super) fn cancel(&mut self, waiter: Waiter, error: Error) {
        self.queue.unpark(waiter.bytes);
        for answer in waiter.into_answers() {
            self.answer(answer, Err(error.clone()));
        }
    }

    /// Tells all who wait that nothing was done.
    pub(super) fn cancel_all(&mut self, error: &Error) {
        while let Some(waiter) = self.blocked.take_any() {
            self.forget(&waiter);
            self.cancel(waiter, error.clone());
        }
        self.meter.sessions.blocked(0);
    }
}

fn pending(waiter: Waiter, kind: Kind) -> Pending {
    let Waiter { write: Write { answer, durability, .. }, joined, .. } = waiter;
    Pending::Write { answer, joined, durability, kind }
}

fn refused(waiter: Waiter, error: Error) -> Pending {
    pending(waiter, Kind::Other(Err(error)))
}
