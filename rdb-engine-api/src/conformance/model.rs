//! Random sequences of every operation, compared answer by answer with a small model of the contract.
//!
//! The way of AWS's ShardStore (Bornholt et al., "Using lightweight formal methods to validate a key-value
//! storage node in Amazon S3", SOSP 2021): the [model](reference::Model) is a sorted map and a line of versions, and
//! reopening and crashing are operations among the others. A sequence that fails is shrunk until no step can
//! be left out or made simpler, each attempt on an engine and a directory of its own, and printed with the
//! setting that runs it again.
//!
//! The sequences are the same in every run. The environment asks for others:
//! - `FLAREDB_MODEL_SEED`: the seed of the first sequence, 1 by default; each next one's is one more;
//! - `FLAREDB_MODEL_SEQUENCES`: how many sequences each case runs. The case's deadline grows with it.
//!
//! An engine on which they take half of the deadline runs fewer, and the case's output says how many.
//!
//! What the contract leaves open raises no alarm: versions may have gaps, a write may be safer than asked, a
//! request that is refused for two reasons may name either, a scan may read ahead of its engine's end.

mod compare;
mod execute;
mod generate;
mod reference;
mod shrink;
mod step;

use std::env;
use std::ops::Range;
use std::time::Duration;

use self::execute::{ANSWERED, Disagreement, execute};
use self::generate::{Profile, generate};
use self::shrink::{Shrunk, shrink};
use self::step::Step;
use super::{Context, DEADLINE};
use crate::{Clock as _, SystemClock};

const SEED: &str = "FLAREDB_MODEL_SEED";
const SEQUENCES: &str = "FLAREDB_MODEL_SEQUENCES";
/// Sequences of a case where the environment asks for no number: a few seconds on the slowest engine.
const USUAL_SEQUENCES: u64 = 20;

/// The most that shrinking may cost: a failure is to be printed before its case's deadline.
const MOST_ATTEMPTS: usize = 2_000;
const MOST_TIME: Duration = Duration::from_secs(25);

/// C1, C3, C4, C6 to C8: whatever one caller does, every answer is the model's.
pub(super) async fn c01_c03_c04_c06_c07_c08_random_sequences_agree_with_the_model(cx: &Context) {
    let case = "c01_c03_c04_c06_c07_c08_random_sequences_agree_with_the_model";
    agrees(cx, case, Profile::Steady).await;
}

/// C5, C12: the same with closing and reopening among the operations.
pub(super) async fn c05_c12_random_sequences_with_reopens_agree_with_the_model(cx: &Context) {
    let case = "c05_c12_random_sequences_with_reopens_agree_with_the_model";
    agrees(cx, case, Profile::Reopens).await;
}

/// C2, C5, C9: the same with crashes among the operations: what survives each is a prefix of the commits.
pub(super) async fn c02_c05_c09_random_sequences_with_crashes_agree_with_the_model(cx: &Context) {
    let case = "c02_c05_c09_random_sequences_with_crashes_agree_with_the_model";
    agrees(cx, case, Profile::Crashes).await;
}

/// How long a case of this group may take.
pub(super) fn deadline() -> Duration {
    let times = sequences().div_ceil(USUAL_SEQUENCES);
    DEADLINE.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX))
}

fn sequences() -> u64 {
    number(SEQUENCES, 1).unwrap_or(USUAL_SEQUENCES)
}

fn seeds() -> Range<u64> {
    let first = number(SEED, 0).unwrap_or(1);
    first..first.saturating_add(sequences())
}

fn number(name: &str, least: u64) -> Option<u64> {
    let text = env::var_os(name)?.into_string().ok();
    let number = text.and_then(|text| text.parse().ok()).filter(|number| *number >= least);
    Some(number.unwrap_or_else(|| panic!("{name} has to be a number from {least} on")))
}

async fn agrees(cx: &Context, case: &str, profile: Profile) {
    let clock = SystemClock::new();
    let seeds = seeds();
    for seed in seeds.clone() {
        if clock.monotonic() > deadline() / 2 {
            // A slow engine is no broken one.
            println!("time for {} of {} sequences", seed - seeds.start, seeds.end - seeds.start);
            break;
        }
        let mut steps = generate(seed, profile);
        let Some(found) = execute(&cx.fresh(), &steps).await else { continue };
        // What lies behind the step that failed was not taken.
        let length = steps.len();
        steps.truncate(found.place + 1);
        let until = clock.monotonic() + MOST_TIME.min((deadline() / 2).saturating_sub(clock.monotonic()));
        let left = || until.saturating_sub(clock.monotonic());
        // Each attempt that is not answered would take as long again.
        let quick = found.broken.promise != ANSWERED;
        let may_try = |attempts| quick && attempts < MOST_ATTEMPTS && !left().is_zero();
        let fails = async |steps: &[Step]| {
            tokio::time::timeout(left(), execute(&cx.fresh(), steps)).await.ok().flatten()
        };
        let shrunk = shrink(steps, found, may_try, fails).await;
        panic!("{}", report(&shrunk, length, seed, case));
    }
}

fn report(shrunk: &Shrunk<Disagreement>, length: usize, seed: u64, case: &str) -> String {
    let Disagreement { place, broken } = &shrunk.failure;
    let mut text = format!(
        "an engine and the model of the contract disagree\n  promised: {}\n  seen: {}, at step {}\n",
        broken.promise,
        broken.seen,
        place + 1
    );
    let (left, attempts) = (shrunk.steps.len(), shrunk.attempts);
    text.push_str(&format!("  the sequence, shrunk from {length} steps to {left} in {attempts} attempts:\n"));
    for step in &shrunk.steps {
        text.push_str(&format!("  {step}\n"));
    }
    text.push_str(&format!("  seed {seed}; to run it again: {SEED}={seed} {SEQUENCES}=1 cargo test {case}"));
    text
}
