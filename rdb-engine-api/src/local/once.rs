//! The committer's side of sessions: judging once, and what callers ask about sessions (C17).

use std::time::Duration;

use super::committer::{Committer, certain};
use super::judge::GroupView;
use super::pending::{Kind, Pending};
use super::sessions::{Call, Fate, Met, Stamped};
use crate::{Batch, Conflict, Error, ErrorKind, Outcome, Result, Session, Stamp, Store};

impl<S: Store> Committer<S> {
    /// Judges a write of a session, unless it has arrived before.
    pub(super) fn judge_once(
        &mut self,
        view: &mut GroupView<'_, S>,
        batch: Batch,
        stamped: &Stamped,
        now: Duration,
    ) -> Result<Kind> {
        let arrived = self.sessions.arrive(stamped, now).inspect_err(|error| {
            if error.kind() == ErrorKind::Stale {
                self.meter.sessions.stale.increment();
            }
        });
        if let Some(fate) = arrived? {
            self.meter.sessions.again.increment();
            return again(view, &fate);
        }
        let kind = self.judge_batch(view, batch)?;
        let fate = match &kind {
            Kind::Committed(version) => Fate::Committed(*version),
            Kind::Unchanged(version) => Fate::Unchanged(*version),
            Kind::Other(Ok(Outcome::Conflict(conflict))) => {
                self.sessions.check_memory(conflict)?;
                Fate::Conflict(Box::new(Met::of(conflict)?))
            }
            // Nothing was done, and nothing is remembered: it may come again.
            Kind::Again(_) | Kind::Other(_) => return Ok(kind),
        };
        self.sessions.remember(stamped, fate);
        Ok(kind)
    }

    pub(super) fn call(&mut self, view: &GroupView<'_, S>, call: Call, now: Duration) -> Pending {
        match call {
            Call::Open { idle, answer } => match self.open_session(view, idle, now) {
                Ok(session) => Pending::Opened(answer, session),
                Err(error) => Pending::Refused(Call::Open { idle, answer }, error),
            },
            Call::Resume { id, answer } => Pending::Resumed(answer, self.sessions.resume(id, now)),
            Call::End { id, answer } => Pending::Ended(answer, self.sessions.end(id)),
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
        match self.sessions.settle(stamp, now)? {
            Fate::Never => Ok(None),
            fate => again(view, &fate).map(Some),
        }
    }
}

/// The first outcome, told again.
fn again<S: Store>(view: &GroupView<'_, S>, fate: &Fate) -> Result<Kind> {
    Ok(match fate {
        Fate::Committed(version) => Kind::Again(*version),
        Fate::Unchanged(version) => Kind::Unchanged(*version),
        Fate::Conflict(met) => Kind::Other(Ok(Outcome::Conflict(met_again(view, met)?))),
        Fate::Never => {
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
