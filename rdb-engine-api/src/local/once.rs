//! The committer's side of sessions: judging once, and what callers ask about sessions (C17).

use std::time::Duration;

use super::committer::{Committer, certain};
use super::judge::GroupView;
use super::pending::{Kind, Pending};
use super::sessions::{Call, Fate, Met, Stamped};
use crate::{Conflict, Error, ErrorKind, Outcome, Result, Session, Stamp, Store};

impl<S: Store> Committer<S> {
    /// What became of a write of a session where it has arrived before.
    pub(super) fn look_up(&mut self, stamped: &Stamped, now: Duration) -> Result<Option<Fate>> {
        let arrived = self.sessions.arrive(stamped, now).inspect_err(|error| {
            if error.kind() == ErrorKind::Stale {
                self.meter.sessions.stale.increment();
            }
        });
        self.cancel_acknowledged(&stamped.stamp);
        arrived.inspect(|fate| {
            if fate.as_ref().is_some_and(|fate| !matches!(fate, Fate::Never)) {
                self.meter.sessions.again.increment();
            }
        })
    }

    /// Remembers what became of a write of a session.
    pub(super) fn remember(&mut self, stamped: &Stamped, kind: &Kind) -> Result<()> {
        let fate = match kind {
            Kind::Committed(version) => Fate::Committed(*version),
            Kind::Unchanged(version) => Fate::Unchanged(*version),
            Kind::Other(Ok(Outcome::Conflict(conflict))) => {
                self.sessions.check_memory(conflict)?;
                Fate::Conflict(Box::new(Met::of(conflict)?))
            }
            // Nothing was done, and nothing is remembered: it may come again.
            Kind::Again(_) | Kind::Other(_) => return Ok(()),
        };
        self.sessions.remember(stamped, fate);
        Ok(())
    }

    pub(super) fn call(&mut self, view: &GroupView<'_, S>, call: Call, now: Duration) -> Pending {
        match call {
            Call::Open { idle, answer } => match self.open_session(view, idle, now) {
                Ok(session) => Pending::Opened(answer, session),
                Err(error) => Pending::Refused(Call::Open { idle, answer }, error),
            },
            Call::Resume { id, answer } => Pending::Resumed(answer, self.sessions.resume(id, now)),
            Call::End { id, answer } => {
                while let Some(waiter) = self.blocked.take_up_to(id, u64::MAX) {
                    let ended = "the session was ended while the write was waiting for its conditions";
                    self.cancel(waiter, Error::new(ErrorKind::Unavailable, ended));
                }
                Pending::Ended(answer, self.sessions.end(id))
            }
            Call::Settle { stamp, answer } => match self.settle(view, &stamp, now) {
                Ok(kind) => Pending::Settle { answer, durability: self.default_durability, kind },
                Err(error) => Pending::Refused(Call::Settle { stamp, answer }, error),
            },
        }
    }

    fn open_session(&mut self, view: &GroupView<'_, S>, idle: Duration, now: Duration) -> Result<Session> {
        self.sessions.check_room()?;
        let id = self.line.take(view.version())?;
        Ok(self.sessions.begin(id, idle, now))
    }

    fn settle(&mut self, view: &GroupView<'_, S>, stamp: &Stamp, now: Duration) -> Result<Option<Kind>> {
        let settled = self.sessions.settle(stamp, now);
        self.cancel_acknowledged(stamp);
        match settled? {
            Fate::Parked => {
                self.sessions.fence(stamp);
                if let Some(waiter) = self.blocked.take_stamped(stamp) {
                    let settled = "the write was settled while it was waiting for its conditions";
                    self.cancel(waiter, Error::new(ErrorKind::Unavailable, settled));
                }
                Ok(None)
            }
            Fate::Never => Ok(None),
            fate => again(view, &fate).map(Some),
        }
    }

    /// Nobody wants to know of writes that wait, if they are acknowledged.
    fn cancel_acknowledged(&mut self, stamp: &Stamp) {
        if stamp.life != self.line.life {
            return;
        }
        while let Some(waiter) = self.blocked.take_up_to(stamp.session, stamp.acknowledged) {
            let gone = "the write was acknowledged while it was waiting for its conditions";
            self.cancel(waiter, Error::new(ErrorKind::Unavailable, gone));
        }
    }
}

/// The first outcome, told again.
pub(super) fn again<S: Store>(view: &GroupView<'_, S>, fate: &Fate) -> Result<Kind> {
    Ok(match fate {
        Fate::Committed(version) => Kind::Again(*version),
        Fate::Unchanged(version) => Kind::Unchanged(*version),
        Fate::Conflict(met) => Kind::Other(Ok(Outcome::Conflict(met_again(view, met)?))),
        Fate::Never | Fate::Parked => {
            return Err(Error::new(ErrorKind::Unavailable, "the write was settled before it arrived"));
        }
    })
}

fn met_again<S: Store>(view: &GroupView<'_, S>, met: &Met) -> Result<Conflict> {
    let mut conflict = Conflict::new(met.index, met.key.clone(), met.version, None);
    if let Some(version) = met.current {
        let current = view.current(&met.key).map_err(certain)?;
        conflict.current = current.filter(|record| record.version == version);
        conflict.replaced = conflict.current.is_none().then_some(version);
    }
    Ok(conflict)
}
