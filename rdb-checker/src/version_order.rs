//! Version order.

mod facts;
mod owners;
mod pending;
mod placing;
mod proof;
mod replay;
mod search;
mod seen;
mod timeline;
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
    let mut facts = match Facts::new(history) {
        Ok(facts) => facts,
        Err(verdict) => return verdict,
    };
    let owners = match owners::find(&mut facts) {
        Ok(owners) => owners,
        Err((violation, guessed)) => return contradiction(violation, guessed),
    };
    let pending = Pending::new(&facts);
    let clock = Clock::new(&facts);
    let line = Timeline::new(&facts, owners.commits.iter().map(|(version, op)| (*op, *version)));
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
