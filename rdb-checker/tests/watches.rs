//! Expiry and watches: random histories of a store that keeps its promises, and lies planted in those.

#[allow(dead_code)] // what only the version-order checker's own tests need
#[path = "version_order/generator.rs"]
mod generator;
#[path = "watches/lies.rs"]
mod lies;
#[path = "watches/rules.rs"]
mod rules;

use std::time::Duration;

use generator::{Plan, Random};
use lies::Lie;
use rdb_checker::{History, Verdict, version_order, wgl};

const SEEDS: u64 = 500;

fn watched(seed: u64) -> Plan {
    Plan { watchers: 3, ..Plan::expiring(seed) }
}

/// How many are undecided; none may be a violation.
fn undecided(plan: impl Fn(u64) -> Plan) -> u64 {
    let mut undecided = 0;
    for seed in 0..SEEDS {
        let history = generator::history(plan(seed));
        match version_order::check(&history) {
            Verdict::Linearizable => {}
            Verdict::Violation(violation) => panic!("seed {seed}: {}", violation.explain(&history)),
            Verdict::Undecided(_) => undecided += 1,
        }
    }
    undecided
}

#[test]
fn watched_expiries_are_writes_at_their_versions() {
    assert_eq!(undecided(|seed| Plan { unknown: 0, ..watched(seed) }), 0);
}

/// Of unknown writes that only delete, one is guessed to be the one that a watch saw.
#[test]
fn watches_raise_no_false_alarm_where_outcomes_are_unknown() {
    let undecided = undecided(watched);
    assert!(undecided <= SEEDS / 20, "{undecided} of {SEEDS}");
}

#[test]
fn expiries_that_nobody_watched_are_permitted_once_their_time_is_over() {
    let undecided = undecided(Plan::expiring);
    assert!(undecided <= SEEDS / 50, "{undecided} of {SEEDS}");
}

#[test]
fn wgl_permits_expiries_too() {
    for seed in 0..100 {
        let history = generator::history(Plan::expiring(seed));
        assert_eq!(wgl::check(&history, Duration::from_secs(60)), Verdict::Linearizable, "seed {seed}");
    }
}

#[test]
fn a_history_with_watches_and_times_to_live_is_read_as_it_was_written() {
    let history = generator::history(watched(1));
    let mut lines = Vec::new();
    history.write(&mut lines).unwrap();
    let read = History::read(&lines[..]).unwrap();
    assert_eq!(read.watches.len(), history.watches.len());
    for watch in &history.watches {
        assert!(read.watches.contains(watch), "{watch:?}");
    }
    assert_eq!(read.operations, history.operations);
}

#[test]
fn every_lie_of_a_watch_or_an_expiry_is_caught_in_every_history_that_has_a_place_for_it() {
    let mut tally = Lie::ALL.map(|lie| (lie, 0_u64, Vec::new()));
    for seed in 0..SEEDS {
        let plan = Plan { unknown: 0, ..watched(seed) };
        let truth = generator::history(plan);
        let clear = generator::key(plan.murky);
        for (lie, planted, missed) in &mut tally {
            let Some(history) = lie.plant(&truth, &clear, &mut Random(seed)) else { continue };
            *planted += 1;
            if !matches!(version_order::check(&history), Verdict::Violation(_)) {
                missed.push(seed);
            }
        }
    }
    for (lie, planted, missed) in tally {
        println!("{lie:?}: {} of {planted} caught", planted - missed.len() as u64);
        assert!(missed.is_empty(), "{lie:?} was missed in seeds {missed:?}");
        assert!(planted > SEEDS / 3, "{lie:?} found a place in {planted} histories only");
    }
}

/// Writes of unknown outcome that only delete are not told from each other in a watch, so that a verdict may be
/// left open.
#[test]
fn no_lie_passes_where_outcomes_are_unknown() {
    for seed in 0..SEEDS / 5 {
        let plan = watched(seed);
        let (truth, clear) = (generator::history(plan), generator::key(plan.murky));
        for lie in Lie::ALL {
            let Some(history) = lie.plant(&truth, &clear, &mut Random(seed)) else { continue };
            assert_ne!(version_order::check(&history), Verdict::Linearizable, "{lie:?}, seed {seed}");
        }
    }
}

/// The form of expiry that both checkers judge: nobody watches.
#[test]
fn both_checkers_catch_a_record_that_vanishes_early() {
    let mut planted = 0;
    for seed in 0..100 {
        let plan = Plan::expiring(seed);
        let truth = generator::history(plan);
        let clear = generator::key(plan.murky);
        let Some(history) = Lie::VanishedEarly.plant(&truth, &clear, &mut Random(seed)) else { continue };
        planted += 1;
        for verdict in [version_order::check(&history), wgl::check(&history, Duration::from_secs(60))] {
            assert!(matches!(verdict, Verdict::Violation(_)), "seed {seed}: {verdict}");
        }
    }
    assert!(planted > 50, "{planted} lies found a place");
}
