//! A group of writes, from its first judgement to its answers.

use std::sync::Arc;
use std::vec::IntoIter;

use super::Home;
use super::committer::Committer;
use super::history::Kept;
use super::judge::{Changes, GroupView};
use super::pending::Pending;
use super::queue::{Request, Task};
use crate::{ChangeSet, Durability, Error, ErrorKind, Store, Version};

/// Writes for which a group has room from its beginning.
const USUAL_GROUP: usize = 1_024;

/// A group that is being judged.
#[derive(Debug)]
pub(super) struct Group<'s, S> {
    view: GroupView<'s, S>,
    pending: Vec<Pending>,
    /// Bytes that the answers hold until the commit.
    held_bytes: usize,
    /// Bytes of the writes.
    bytes: usize,
}

/// A group that has been judged, until its callers are answered.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) version: Version,
    /// What is to be committed, if anything, and how safely.
    pub(super) write: Option<(ChangeSet, Durability)>,
    /// What the history takes.
    pub(super) commits: Vec<Kept>,
    /// What is seen of the group before the store has it.
    pub(super) changes: Arc<Changes>,
    pub(super) pending: Vec<Pending>,
    /// The level that the view has reached, once what is to be committed is.
    pub(super) durability: Durability,
}

impl<S: Store> Group<'_, S> {
    /// Whether the records that conflicts and removals report have become too many bytes to hold any more of
    /// them until the commit (C14).
    fn is_full(&self, max_bytes: usize) -> bool {
        self.held_bytes + self.view.replaced_bytes() > max_bytes
    }

    /// Whether one more may join. One that is too large for any group has a group of its own.
    fn has_room(&self, next: &Request, max_bytes: usize) -> bool {
        let fits = self.bytes == 0 || self.bytes.saturating_add(next.bytes) <= max_bytes;
        fits && !self.is_full(max_bytes)
    }

    /// Whom nobody will commit anything for.
    pub(super) fn into_pending(self) -> Vec<Pending> {
        self.pending
    }

    fn hold(&mut self, from: usize) {
        self.held_bytes += self.pending[from..].iter().map(Pending::held_bytes).sum::<usize>();
    }
}

impl<S: Store> Committer<S> {
    /// Begins a group: ends what was idle, removes what is due, and wakes who waits for that.
    pub(super) fn begin<'s>(&mut self, home: &'s Home<S>, waiting: &[Request]) -> Group<'s, S> {
        let now = self.line.time.now(&*self.clock);
        let looks_back = home.log.begin();
        let is_expiring = self.expiry.is_expiring();
        let below = self.flight.as_ref().map(|flight| Arc::clone(&flight.changes));
        // Who waits is counted in bytes too, but may be many: room for the usual group, to grow without haste.
        let len = waiting.len().min(USUAL_GROUP);
        let view = GroupView::new(&home.store, below, len, self.line.last, looks_back, now, is_expiring);
        let mut group = Group { view, pending: Vec::with_capacity(len), held_bytes: 0, bytes: 0 };
        let begun = self.clock.monotonic();
        // Whoever has used a session by now is not idle, however long the committer has kept him waiting.
        let used_by = waiting.first().map_or(begun, |oldest| oldest.queued);
        self.meter.sessions.ended_idle(self.sessions.end_idle(used_by));
        self.sweep(begun, waiting.is_empty());
        // Whose time is over does not get what is removed now.
        while !group.is_full(self.max_group_bytes)
            && let Some(waiter) = self.blocked.take_due(begun)
        {
            let from = group.pending.len();
            let judged = self.retry(&mut group.view, waiter, begun);
            group.pending.extend(judged);
            self.wake(&mut group.view, &mut group.pending, begun);
            group.hold(from);
        }
        // What is due is looked for in the store, which has to have everything.
        if !self.blocked.is_due(begun) && self.flight.is_none() {
            self.expire(&mut group.view, now);
        }
        // Who waits for what has just been removed comes before all who come now.
        let from = group.pending.len();
        self.wake(&mut group.view, &mut group.pending, begun);
        group.hold(from);
        group
    }

    /// Judges what waits, as far as the group has room for it.
    pub(super) fn judge_waiting(&mut self, group: &mut Group<'_, S>, waiting: &mut IntoIter<Request>) {
        let begun = self.clock.monotonic();
        group.view.set_time(self.line.time.now(&*self.clock));
        while let Some(next) = waiting.as_slice().first()
            && group.has_room(next, self.max_group_bytes)
            && let Some(Request { task, bytes, queued }) = waiting.next()
        {
            let from = group.pending.len();
            match task {
                Task::Write(write) => {
                    self.meter.writes.taken(write.durability, begun.saturating_sub(queued));
                    if write.not_after.is_some_and(|deadline| self.clock.monotonic() > deadline) {
                        let late =
                            Error::new(ErrorKind::Unavailable, "deadline passed before the write began");
                        self.answer(write.answer, Err(late));
                    } else if !write.answer.is_closed() {
                        group.bytes += bytes;
                        let judged = self.arrive(&mut group.view, write, bytes, begun);
                        group.pending.extend(judged);
                        self.wake(&mut group.view, &mut group.pending, begun);
                    }
                }
                Task::Session(call) => {
                    let called = self.call(&group.view, call, begun);
                    group.pending.push(called);
                }
            }
            group.hold(from);
        }
    }

    /// Ends the judging of a group. From here on its end is the committer's present view: a commit that fails
    /// ends all writing (C11).
    pub(super) fn seal(&mut self, home: &Home<S>, group: Group<'_, S>) -> Judged {
        let Group { view, pending, bytes, .. } = group;
        if !pending.is_empty() {
            self.meter.writes.grouped(pending.len(), bytes);
        }
        self.meter.sessions.opened(self.sessions.count());
        self.meter.sessions.blocked(self.blocked.count());
        self.expiry.added(view.first_entry());
        let changed = view.is_changed();
        let version = view.version();
        let best = home.store.info().best_durability;
        let levels = pending.iter().filter_map(|pending| pending.level(changed, self.line.durability, best));
        // Nobody asked for a removal, nor for the end of a session.
        let tidies = changed || (pending.is_empty() && self.sessions.has_garbage());
        let level = levels.max().or(tidies.then_some(Durability::Volatile));
        let (mut rows, commits, changes) = view.into_changes();
        let commits = home.log.prepare(commits, &mut rows);
        let write = level.map(|mut level| {
            if self.line.needs_block(version) {
                level = best;
                self.line.reserve_behind(version.get());
            }
            self.sessions.record(version, &mut rows);
            self.line.record(version, &mut rows);
            self.line.committed(version, level);
            (rows, level)
        });
        let durability = self.line.durability;
        Judged { version, write, commits, changes: Arc::new(changes), pending, durability }
    }
}
