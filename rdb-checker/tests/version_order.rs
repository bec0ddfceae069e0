//! The version-order checker: every rule with a history that keeps it and one that breaks it, random
//! histories that keep them all, and lies planted in those.

#[path = "version_order/builder.rs"]
mod builder;
#[allow(dead_code)] // what only the tests of watches need
#[path = "version_order/generator.rs"]
mod generator;
#[path = "version_order/lies.rs"]
mod lies;
#[path = "version_order/rules.rs"]
mod rules;
#[path = "version_order/unknown.rs"]
mod unknown;

use generator::{Plan, Random};
use lies::Lie;
use rdb_checker::{Operation, Request, Verdict, version_order};

const SEEDS: u64 = 500;

#[test]
fn random_histories_of_a_store_that_keeps_its_promises_are_linearizable() {
    for seed in 0..SEEDS {
        let history = generator::history(Plan::small(seed));
        let verdict = version_order::check(&history);
        assert_eq!(verdict, Verdict::Linearizable, "seed {seed}");
    }
}

/// A quarter of all writes on four keys have an unknown outcome: far more than any run has.
#[test]
fn many_unknown_outcomes_raise_no_false_alarm_and_are_nearly_always_explained() {
    let mut undecided = 0;
    for seed in 0..SEEDS {
        let history = generator::history(Plan { unknown: 25, ..Plan::small(seed) });
        match version_order::check(&history) {
            Verdict::Linearizable => {}
            Verdict::Violation(violation) => panic!("seed {seed}: {}", violation.explain(&history)),
            Verdict::Undecided(_) => undecided += 1,
        }
    }
    assert!(undecided <= SEEDS / 100, "{undecided} of {SEEDS}");
}

#[test]
fn every_lie_is_caught_in_every_history_that_has_a_place_for_it() {
    let mut tally = Lie::ALL.map(|lie| (lie, 0_u64, Vec::new()));
    for seed in 0..SEEDS {
        let plan = Plan::small(seed);
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

/// Run it with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_million_operations_of_32_callers_are_judged() {
    for unknown in [0, 1] {
        let plan = Plan {
            seed: 1,
            operations: 1_000_000,
            callers: 32,
            keys: 10_000,
            murky: 5_000,
            unknown,
            wide: 10,
            span: 50,
            ..Plan::small(1)
        };
        let history = generator::history(plan);
        let open = |operation: &&Operation| {
            operation.outcome.is_none() && matches!(operation.request, Request::Write { .. })
        };
        let open = history.operations.iter().filter(open).count();
        let before = status("VmRSS");
        #[allow(clippy::disallowed_methods)] // the clock of a measurement
        let start = std::time::Instant::now();
        let verdict = version_order::check(&history);
        let took = start.elapsed();
        println!("{} operations, {open} writes of unknown outcome: {verdict}, {took:?}", plan.operations);
        println!("resident before: {before:?}, peak: {:?}", status("VmHWM"));
        assert_eq!(verdict, Verdict::Linearizable);
    }
}

/// A line of what Linux says of this process.
fn status(name: &str) -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find(|line| line.starts_with(name)).map(str::to_owned)
}
