//! The two checkers, which share nothing but the vocabulary, judge the same random histories, and agree.

#[allow(dead_code)] // what only the version-order checker's own tests need
#[path = "version_order/generator.rs"]
mod generator;

use std::time::Duration;

use generator::Plan;
use rdb_checker::{History, Lie, Verdict, version_order, wgl};

const SEEDS: u64 = 200;

fn by_wgl(history: &History) -> Verdict {
    wgl::check(history, Duration::from_secs(60))
}

#[test]
fn both_checkers_accept_what_a_store_that_keeps_its_promises_answers() {
    for seed in 1_000..1_000 + SEEDS {
        let history = generator::history(Plan::small(seed));
        let verdicts = [version_order::check(&history), by_wgl(&history)];
        assert_eq!(verdicts, [Verdict::Linearizable, Verdict::Linearizable], "seed {seed}");
    }
}

/// The lies that time and values show, without a look at versions.
#[test]
fn both_checkers_catch_every_lie() {
    let mut planted = 0;
    for seed in 1_000..1_000 + SEEDS {
        let truth = generator::history(Plan::small(seed));
        for lie in Lie::ALL {
            let mut told = truth.clone();
            let Some(place) = lie.plant(&mut told, seed as usize) else { continue };
            planted += 1;
            for verdict in [version_order::check(&told), by_wgl(&told)] {
                assert!(
                    matches!(verdict, Verdict::Violation(_)),
                    "{lie:?} at {place}, seed {seed}: {verdict}"
                );
            }
        }
    }
    assert!(planted > 2 * SEEDS, "{planted} lies found a place");
}

/// Where writes of unknown outcome abound, one checker may be undecided, but never do they contradict each
/// other: neither on a true history nor on one with a lie about any key.
#[test]
fn the_checkers_never_contradict_each_other() {
    let mut decided = 0;
    for seed in 2_000..2_000 + SEEDS {
        let truth = generator::history(Plan { unknown: 25, ..Plan::small(seed) });
        let lie = Lie::ALL[seed as usize % 3];
        let mut told = truth.clone();
        let planted = lie.plant(&mut told, seed as usize).map(|_| told);
        for history in [Some(truth), planted].into_iter().flatten() {
            match (version_order::check(&history), by_wgl(&history)) {
                (Verdict::Undecided(_), _) | (_, Verdict::Undecided(_)) => {}
                (Verdict::Linearizable, Verdict::Linearizable) => decided += 1,
                (Verdict::Violation(_), Verdict::Violation(_)) => decided += 1,
                // Versions tell more than values: WGL may find an order that breaks the versions' own.
                (Verdict::Violation(_), Verdict::Linearizable) => {}
                (versions, values) => panic!("seed {seed}: {versions}, but {values}"),
            }
        }
    }
    assert!(decided > SEEDS, "{decided} histories decided by both");
}
