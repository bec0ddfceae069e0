//! WGL: the search of Wing and Gong for an order that explains every answer, with Lowe's cache.
//!
//! - J. M. Wing, C. Gong: Testing and Verifying Concurrent Objects, 1993.
//! - G. Lowe: Testing for Linearizability, 2017.
//!
//! The store is a map from keys to records that is empty at first. Versions order nothing here: the checker
//! judges stores that have none, and does not believe those that a store gives. The one exception is a
//! condition [`Version`](crate::Condition::Version): it names a record, so that where a history has such
//! conditions a record carries the version that the answer to its write said, or that somebody saw with it.
//! A record whose version nobody ever learnt may have any that no other write of the history is known to
//! have.
//!
//! The keys that one operation connects (a batch, a get of several keys, a scan) are judged together, and
//! apart from all others: linearizability is local (Herlihy and Wing, 1990), and the keys of such a set
//! behave as one object. A scan connects those keys of its range that occur in the history.
//!
//! A record put with a time to live may vanish at any time once its time is over, and not before, but need
//! not: each such removal that somebody can have noticed is a delete without an answer. Watches are not looked
//! at: that is the business of [`version_order`](crate::version_order).
//!
//! # What keeps the search small, and why nothing is lost
//!
//! A history is linearizable if a *witness* exists: an order of all operations with an answer and of some of
//! those without, that respects time and explains every answer. Each step keeps a witness wherever there is
//! one, and adds none.
//!
//! 1. **Failed operations, and reads without an answer,** constrain nothing and are left out.
//! 2. **A write without an answer that was seen** (a put of a value that no other write puts under that key,
//!    and an answer that shows it) took effect before the answer that shows it: it gets the earliest return
//!    of those as its own, and has to be placed.
//! 3. **A write without an answer that nobody can have noticed** is left out: it only puts; no answer and no
//!    condition that held shows its values; and under none of its keys does an answer tell that a record is
//!    there, or that it differs from something, without telling its value. Take it out of a witness: until
//!    the next write of the key each operation that looks at the key would have had to see the value or to
//!    be one of those, so that there is none, and the rest of the order is a witness still.
//! 4. **An operation that changes nothing and fits now** is placed now, for good: moving it to the front of
//!    the rest of a witness changes nothing for the others.
//! 5. **A write without an answer that would change nothing now** is not placed now: a witness remains one
//!    without it.
//! 6. **Of two equal writes without an answer** the one that was called first is placed first: they can
//!    change places in a witness.
//! 7. **A write without an answer is followed by one that it matters to,** or by a later one without an
//!    answer: by an operation that looks at what it wrote, or that writes what it looks at, or that overwrites
//!    a part of it. Take a witness with as few of them as possible, those as late as possible among the other
//!    writes, and neighbours among them that do not matter to each other in the order of their calls. One
//!    that is followed by another write could change places with it, or be left out where that overwrites all
//!    of it unseen.
//! 8. **A value that is still expected is not overwritten** when no write that is left puts it.
//! 9. **Nor is one put too early** that no other write puts: when somebody who expects it was called after
//!    another write of that key, which is left, had returned.
//!
//! A configuration is the set of operations placed and the state. Of the operations with an answer, all that
//! returned before the first one that is not placed (the *frontier*) are placed, and the others of the set
//! were under way when it returned: with one bit for each operation that can be under way at once, the set
//! is as wide as there are callers, however long the history. These bits, those of the writes without an
//! answer and the records of the keys make one vector, which `configuration` stores as a shared tree: the
//! cache holds eight bytes for each configuration.

mod configuration;
mod partition;
mod problem;
mod search;
mod unknown;

use std::time::{Duration, Instant};

use crate::{Condition, History, Verdict, Violation, expiry};

use partition::Partitions;
use problem::Problem;
use search::{Found, Search};
use unknown::Prepared;

/// The most configurations that are remembered for one set of keys: beyond, the verdict is undecided. They
/// and the tree behind them take some 2 GB then, by calculation.
const CONFIGURATIONS: usize = 16_000_000;

/// Judges a history. A deadline that passes makes the verdict [`Undecided`](Verdict::Undecided).
pub fn check(history: &History, deadline: Duration) -> Verdict {
    #[allow(clippy::disallowed_methods)] // the clock of a measurement, not of behaviour
    let start = Instant::now();
    if let Err(problem) = history.check_form() {
        return Verdict::Undecided(format!("the history is malformed: {problem}"));
    }
    let own = history.operations.len();
    let permitted = with_removals(history);
    let history = permitted.as_ref().unwrap_or(history);
    let mut prepared = Prepared::new(history);
    if let Some(violation) = prepared.impossible.take() {
        return Verdict::Violation(violation);
    }
    let mut partitions = Partitions::new(&prepared);
    // The cheap ones first: a violation there is found whatever becomes of the others.
    partitions.groups.sort_by_key(|group| group.operations.len());
    let mut undecided = None;
    for (judged, group) in partitions.groups.iter().enumerate() {
        let problem = Problem::new(&prepared, &partitions, group);
        match Search::new(&problem).run(start, deadline, CONFIGURATIONS) {
            Found::Order => {}
            Found::None(stuck) => {
                return Verdict::Violation(Violation {
                    message: problem.explain(&stuck),
                    operations: problem.places(&stuck).into_iter().filter(|place| *place < own).collect(),
                });
            }
            Found::TooMany => {
                undecided = Some(format!(
                    "more than {CONFIGURATIONS} configurations of {} operations. keys=`{}`",
                    group.operations.len(),
                    problem.keys()
                ));
            }
            Found::Late => {
                return Verdict::Undecided(format!(
                    "the deadline passed. deadline=`{deadline:?}`, judged=`{judged} of {} sets of keys`",
                    partitions.groups.len()
                ));
            }
        }
    }
    undecided.map_or(Verdict::Linearizable, Verdict::Undecided)
}

/// The history with every removal that times to live permit, where somebody can have noticed it: as a delete
/// without an answer, called when the time was over, on condition of the value. They are behind all operations,
/// so that the places of those are as they were; none where there are none.
fn with_removals(history: &History) -> Option<History> {
    let removals = expiry::removals(history);
    let removals = removals.iter().map(|removal| removal.operation(Condition::Value(removal.value.clone())));
    let removals: Vec<_> = removals.collect();
    if removals.is_empty() {
        return None;
    }
    let mut with = History { operations: history.operations.clone(), ..History::default() };
    with.operations.extend(removals);
    Some(with)
}

/// What a history is about, as the checker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// How many keys occur in it.
    pub keys: usize,
    /// How many sets of keys are judged apart from each other.
    pub sets: usize,
}

/// Tells what a history is about, without judging it.
pub fn extent(history: &History) -> Extent {
    let prepared = Prepared::new(history);
    let partitions = Partitions::new(&prepared);
    Extent { keys: partitions.keys.len(), sets: partitions.groups.len() }
}
