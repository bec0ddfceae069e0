//! The suite catches what it claims to catch: each broken engine fails the case that was written for its
//! defect, and the sound engine that all of them are made of passes every case.

mod broken;
#[allow(clippy::wildcard_imports)] // the table names every defect there is
mod controls;
mod defects;
mod disk;
mod document;
mod habits;
mod history;
mod log;
mod scans;
mod sessions;
mod sound;
mod state;
mod time;
mod waiters;
mod watches;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{iter, thread};

use rdb_engine_api::conformance::{self, Harness, Need, Verdict, run_case};

use controls::{CONTROLS, Control, sound, synced};

/// How many controls are tried at once.
const THREADS: usize = 6;

#[test]
fn each_broken_engine_fails_the_case_written_for_its_defect() {
    let next = AtomicUsize::new(0);
    println!("{:<6} {:<82} case that catches it", "clause", "defect");
    // Much of what is tried is waited for.
    let missed: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let next = || CONTROLS.get(next.fetch_add(1, Ordering::Relaxed));
                    iter::from_fn(next).filter_map(try_control).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a control does not panic")).collect()
    });
    println!("{} of {} defects missed", missed.len(), CONTROLS.len());
    assert!(missed.is_empty(), "the suite missed: {missed:#?}");
}

/// Runs the case that was written for a defect; says how it ended where that is not as it should.
fn try_control(control: &Control) -> Option<String> {
    let Control { clause, defect, case, promise, harness } = control;
    match run_case(case, Arc::new(harness())) {
        Err(failure) if failure.to_string().contains(promise) => {
            forget_history(&failure.to_string());
            println!("{clause:<6} {defect:<82} {case}");
            None
        }
        Ok(Verdict::Skipped(reason)) if case.ends_with("a_power_cut") => {
            println!("{clause:<6} {defect:<82} not tried: {reason}");
            None
        }
        other => Some(format!("{defect}: {case} ended in {other:?}")),
    }
}

/// A history that a caught defect leaves behind for a closer look is not wanted.
fn forget_history(failure: &str) {
    if let Some((_, path)) = failure.split_once("rdb-check ") {
        // Controls that are tried at once with the same case have one file between them.
        drop(std::fs::remove_file(path.trim_end()));
    }
}

#[test]
fn the_sound_engine_passes_every_case_that_applies() {
    let mut failed = Vec::new();
    let harness: Arc<dyn Harness> = Arc::new(sound());
    for case in conformance::cases() {
        match run_case(case.name, Arc::clone(&harness)) {
            Ok(Verdict::Passed) => {}
            Ok(Verdict::Skipped(reason)) => {
                let declared = matches!(
                    case.need,
                    Some(
                        Need::Volatile
                            | Need::NoExpiry
                            | Need::NoWatch
                            | Need::NoSessions
                            | Need::NoRestore
                            | Need::NoBlocking
                    )
                );
                assert!(declared, "{case:?} is to run on the sound engine, which left it out: {reason}");
            }
            Err(failure) => failed.push(format!("{case:?}: {failure}")),
        }
    }
    assert!(failed.is_empty(), "the sound engine failed: {failed:#?}");
}

/// The case with writers in the middle of a power cut wants an engine that outlives a disk which fails; this
/// one does not.
#[test]
fn the_sound_engine_survives_power_cuts_where_it_syncs() {
    for case in [
        "c02_c09_what_survives_a_power_cut_is_a_prefix_of_the_commits",
        "c05_a_version_that_a_power_cut_took_away_is_not_given_again",
        "c09_what_was_answered_as_synced_survives_a_power_cut",
    ] {
        match run_case(case, Arc::new(synced())) {
            Ok(Verdict::Passed) => {}
            Ok(Verdict::Skipped(reason)) => println!("skip: {case}: {reason}"),
            Err(failure) => panic!("{case}: {failure}"),
        }
    }
}

/// C11 takes a store that fails on demand.
#[test]
fn every_clause_that_the_suite_can_see_has_a_defect() {
    let seen = (1..=20).filter(|clause| *clause != 11);
    let expected: BTreeSet<String> = seen.map(|clause| format!("C{clause}")).collect();
    let covered: BTreeSet<String> = CONTROLS.iter().map(|control| control.clause.to_owned()).collect();
    assert_eq!(covered, expected);
}

#[test]
fn each_defect_is_told_once_and_caught_by_a_case_of_its_clause() {
    let mut told = HashSet::new();
    for Control { clause, defect, case, .. } in CONTROLS {
        assert!(told.insert(defect), "told twice: {defect}");
        let number: u32 = clause[1..].parse().expect("a clause has a number");
        let mut clauses = case.split('_').take_while(|word| word.starts_with('c'));
        assert!(clauses.any(|named| named == format!("c{number:02}")), "{case} is not a case of {clause}");
    }
}
