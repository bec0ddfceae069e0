//! The version-order checker: it judges millions of operations, because the versions in the answers say in
//! which order they took effect.
//!
//! # The idea
//! A history is linearizable (Herlihy and Wing, "Linearizability: a correctness condition for concurrent
//! objects", 1990) if there is one order of all operations that explains every answer and in which no
//! operation stands before another that had returned when it was called. To find that order from values
//! alone is NP-complete (Gibbons and Korach, "Testing shared memories", 1997). A store that numbers its
//! commits tells most of it: what is left is to check it. That the versions of a store shorten the search is
//! known from Jepsen's Elle (Kingsbury and Alvaro, 2020), which infers dependencies from the order of versions
//! of each object, and from etcd's robustness tests, which check answers against the order of revisions.
//! The places, the greedy placing of reads without a view, and the treatment of unknown outcomes below are
//! our own.
//!
//! # Places
//! - A write that was answered `committed` at version v stands at (v, 0), all of its batch as one operation.
//! - What was judged in one view of version V, the state after exactly the commits up to V, stands at (V, 1):
//!   scans, reads of several keys, conflicts, and batches that changed nothing.
//! - A get tells the version of its record, not of its view. It stands at the earliest place at which its key
//!   holds just what it found, and that is not before any operation which had returned when it was called.
//!
//! Nothing is lost by placing gets, in the order of their calls, as early as possible: a get changes nothing,
//! and its place matters to others only in that those called after its return must not stand before it. An
//! earlier place allows all that a later one does. By induction each get stands at or before its place in
//! any order that explains the history, so that if these places break a rule, all do.
//!
//! Operations are replayed over an empty map in the order of their places, and at one place in that of their
//! calls. Every read and every condition must agree with the map, a commit must change something (a put
//! always does; a delete does where there is a record), and no operation may have returned before the call
//! of one that stands before it, for which the greatest call so far is enough to know. Versions are given
//! once, and a record has the value and the version of its commit. An operation that failed constrains
//! nothing, but its values must not be seen.
//!
//! # Unknown outcomes
//! A write without an answer took effect at some time after its call, or never.
//!
//! **Seen.** If any answer shows a record or a version that no answered write owns, the unknown write of that
//! value on that key is its owner, and stands at that version with its whole batch; its conditions held
//! there, and it had happened when the first that saw it returned. Values of unknown writes are meant to be
//! unique. If several writes can own a version, versions with one choice take theirs first, then the others
//! in their order take the earliest call that is left; if that leads to a contradiction, the verdict is
//! `Undecided`, since another choice may not.
//!
//! **Not seen.** Such a write may be dropped, unless it deleted a record that somebody then missed, or put one
//! of which somebody learned only that it was there: by a condition, a key without its record, or a blind
//! delete that changed something. This is answered in two steps.
//!
//! 1. *Proof.* Gets that found nothing where an unknown delete is possible are placed as if it had happened,
//!    so that all places are lower bounds in every explanation. What still contradicts them, and what no
//!    unknown write can explain, is a violation. An unknown write can explain what was found if it leaves the
//!    key so, was called before the finder returned and need not stand behind it, and if its conditions on
//!    the key allow it. A record that vanished does not return, and each record that vanishes takes a delete of
//!    its own (Hall's condition, counted for each key).
//! 2. *Search.* If there are findings left that may be explained, unknown writes are supposed to have taken
//!    effect for their sake: each at a version that no commit has, behind everything that had returned before
//!    its call and behind the last who found the state that it changes, and those with the most conditions
//!    first. All gets are then placed again. As places only ever have lower bounds, supposed writes only
//!    move up, until nothing changes: the least fixpoint. A supposition that fails is refuted, and another
//!    tried; a bounded number of attempts vary the order of preference.
//!
//! # Expiry
//! A record that was put with a time to live is removed by the store at some time behind that, counted from
//! the put: not before the call of the put, and the time. A removal that a watch saw is a commit of that
//! version, by nobody, which was called when the time was over: whoever missed the record and returned before
//! had seen it removed early. Every other removal that may have happened is a delete of unknown outcome,
//! called when the time was over, on condition of the record itself. It is left out where nobody can have
//! noticed it, and where a watch that delivered everything from the put to the next change of the key did
//! not show it.
//!
//! # Watches
//! What a watch delivered, and how far it says to have come, are reads of those views which had returned
//! when that arrived: what is called later must not see less. Versions ascend, keys are in the range, and each
//! commit that touches the range, from the watch's start to the last version up to which it tells to be
//! complete, was delivered, whole, with its values. A commit that a watch shows and that is nobody's else is
//! one of unknown outcome. A delete of a key that was, or may have been, absent already need not be delivered.
//!
//! # What a verdict means
//! `Violation` comes from the proof alone: no choice of what unknown writes did can explain the history with
//! its versions. `Linearizable` means that a whole order was found, and replayed without a fault.
//! Histories whose unknown writes have values of their own and explain nothing always get one of the two. The
//! search is not complete, so that the rest is `Undecided`, neither a false alarm nor a pass: ask
//! [`wgl`](crate::wgl). The one leniency: two supposed writes may be given the same free version, which is
//! an order of all operations still.
//!
//! Time is O(n log n) for n operations, with their entries counted, times the rounds of the search where
//! there is one, whose number is bounded. A version line is a promise beyond linearizability: a history can be
//! linearizable by its values, and break it.

mod facts;
mod nobody;
mod owners;
mod pending;
mod placing;
mod proof;
mod replay;
mod respect;
mod search;
mod seen;
mod timeline;
mod watches;
mod wording;

use crate::{History, Verdict, Violation};
use facts::Facts;
use pending::Pending;
use placing::{Absence, Clock};
use timeline::Timeline;

/// Judges a history by the versions in its answers.
///
/// [`Verdict::Undecided`] is the answer to a history that is not well formed, that has an answer without a
/// version, or of which the unknown outcomes allow for more explanations than this checker tries.
pub fn check(history: &History) -> Verdict {
    if let Some(violation) = watches::malformed(history) {
        return Verdict::Violation(violation);
    }
    match nobody::tell(history) {
        Ok(None) => judge(history, false),
        Ok(Some(told)) => told.retell(judge(&told.history, told.guessed)),
        Err(verdict) => verdict,
    }
}

/// Judges a history in which what watches and times to live tell is put as operations.
fn judge(history: &History, guessed: bool) -> Verdict {
    let mut facts = match Facts::new(history) {
        Ok(facts) => facts,
        Err(verdict) => return verdict,
    };
    let mut owners = match owners::find(&mut facts) {
        Ok(owners) => owners,
        Err((violation, more)) => return contradiction(violation, guessed || more),
    };
    owners.guessed |= guessed;
    let pending = Pending::new(&facts);
    let clock = Clock::new(&facts);
    let line = Timeline::new(&facts, owners.commits.iter().map(|(version, op)| (*op, *version)));
    if let Some(violation) = watches::violation(&facts, &line, &pending) {
        return contradiction(violation, owners.guessed);
    }
    let placed = clock.place(&facts, &line, &pending, &Absence::Lenient);
    let order = replay::order(&facts, &placed, &[]);
    let replayed = replay::replay(&facts, &line, &placed, &order);
    drop(order);
    if let Some(violation) = proof::violation(&facts, &line, &pending, &placed, &replayed) {
        return contradiction(violation, owners.guessed);
    }
    if replayed.troubles.is_empty() || search::explain(&facts, &owners, &pending, &clock, &line) {
        return Verdict::Linearizable;
    }
    let example = wording::trouble(&facts, &replayed.troubles[0], &line.entries);
    Verdict::Undecided(format!(
        "writes of unknown outcome may explain it, but not in any way that was tried: {}",
        example.message
    ))
}

fn contradiction(violation: Violation, guessed: bool) -> Verdict {
    if !guessed {
        return Verdict::Violation(violation);
    }
    Verdict::Undecided(format!(
        "several writes of unknown outcome wrote the same value, and by one choice of which was seen: {}",
        violation.message
    ))
}
