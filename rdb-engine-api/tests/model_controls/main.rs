//! The model test catches what it claims to catch: on each broken engine it fails, shrinks the sequence to the
//! shortest there is, and prints how to run it again; on the engine below them it passes.

#[path = "../broken_engines/broken.rs"]
mod broken;
mod defects;
#[allow(dead_code)] // nothing here holds commits or makes them fail
#[path = "../conformance/double.rs"]
mod double;
mod lineage;

use std::sync::Arc;

use rdb_engine_api::conformance::{self, Group, LocalHarness, Verdict, run_case};
use rdb_engine_api::{Engine, Result};

use broken::{Broken, Defect};
use defects::{
    DeletedComesBack, JudgesItsOwnWrites, LosesTheLastAtACrash, OpensScansLate, PrefixGoesToo,
    UnknownWithoutTime,
};
use lineage::{Lineage, Lineages, Opened};

const STEADY: &str = "c01_c03_c04_c06_c07_c08_random_sequences_agree_with_the_model";
const REOPENS: &str = "c05_c12_random_sequences_with_reopens_agree_with_the_model";
const CRASHES: &str = "c02_c05_c09_random_sequences_with_crashes_agree_with_the_model";

fn with_defect<D: Defect>(defect: fn(&Arc<Lineage>, Opened) -> D) -> LocalHarness {
    let lineages = Lineages::default();
    LocalHarness::new(move |directory, limits| -> Result<Broken<D>> {
        let (lineage, opened) = lineages.at(directory);
        let sound: Arc<dyn Engine> = Arc::new(lineage.open(limits)?);
        let info = sound.info().clone();
        Ok(Broken { sound, info, defect: defect(&lineage, opened) })
    })
}

/// What the model test says of a broken engine, and the sequence that it found, a line a step.
fn caught(case: &str, harness: LocalHarness) -> (String, Vec<String>) {
    let failure = match run_case(case, Arc::new(harness)) {
        Err(failure) => failure.to_string(),
        passed => panic!("{case} missed the defect: {passed:?}"),
    };
    println!("{failure}\n");
    let (_, sequence) = failure.split_once("attempts:\n").expect("the failure prints a sequence");
    let (sequence, replay) = sequence.split_once("  seed ").expect("the failure prints its seed");
    let (seed, again) = replay.split_once(';').expect("the failure says how to run it again");
    assert!(again.contains(&format!("FLAREDB_MODEL_SEED={seed} FLAREDB_MODEL_SEQUENCES=1")), "{failure}");
    let act = |line: &str| line.trim_start().trim_start_matches(char::is_numeric).trim_start().to_owned();
    let steps = sequence.lines().map(act).collect();
    (failure, steps)
}

/// Compares with the shortest sequence there is; with another seed an equally short one may be found first.
fn assert_shortest(steps: &[String], shortest: &[&str]) {
    if std::env::var_os("FLAREDB_MODEL_SEED").is_none() {
        assert_eq!(steps, shortest);
    }
    assert_eq!(steps.len(), shortest.len(), "{steps:?} is not as short as {shortest:?}");
}

#[test]
fn conditions_judged_against_the_batchs_own_writes_are_found_in_one_batch() {
    let (failure, steps) = caught(STEADY, with_defect(|_, _| JudgesItsOwnWrites));
    assert!(failure.contains("a batch with a condition that fails is a conflict (C3, C6)"), "{failure}");
    assert_shortest(&steps, &["write: if `k` is present, put `k` = `v0`"]);
}

#[test]
fn a_deleted_key_that_comes_back_is_found_by_put_delete_reopen_get() {
    let defect = |lineage: &_, _| DeletedComesBack::new(lineage);
    let (failure, steps) = caught(REOPENS, with_defect(defect));
    assert!(failure.contains("a get returns the latest record (C1)"), "{failure}");
    assert_shortest(&steps, &["write: put `k` = `v0`", "write: delete `k`", "reopen", "get `k`"]);
}

#[test]
fn a_defect_in_one_batch_of_many_is_found() {
    let (failure, steps) = caught(STEADY, with_defect(|_, _| PrefixGoesToo));
    assert!(failure.contains("a batch that changes something is a commit (C4)"), "{failure}");
    assert_shortest(&steps, &["write: put `kk` = `v0`, delete `k`"]);
}

#[test]
fn a_scan_that_sees_later_writes_is_found_by_open_put_read() {
    let (failure, steps) = caught(STEADY, with_defect(|_, _| OpensScansLate));
    assert!(failure.contains("an open scan shows the view it was opened in (C8)"), "{failure}");
    assert_shortest(
        &steps,
        &["open a scan of everything", "write: put `k` = `v0`", "read the scan of step 1 to its end"],
    );
}

#[test]
fn an_acknowledged_commit_lost_at_a_crash_is_found_by_put_crash() {
    let defect = |lineage: &Arc<Lineage>, opened| LosesTheLastAtACrash::new(lineage, opened);
    let (failure, steps) = caught(CRASHES, with_defect(defect));
    assert!(failure.contains("a commit that was answered as safe survives a crash (C9)"), "{failure}");
    assert_shortest(&steps, &["write: put `k` = `v0`", "crash, and open what the files hold"]);
}

#[test]
fn an_engine_that_cannot_tell_what_became_of_a_write_in_haste_agrees_with_the_model() {
    assert_agrees(with_defect(|_, _| UnknownWithoutTime));
}

#[test]
fn the_unbroken_engine_agrees_with_the_model() {
    let lineages = Lineages::default();
    assert_agrees(LocalHarness::new(move |directory, limits| lineages.at(directory).0.open(limits)));
}

fn assert_agrees(harness: LocalHarness) {
    let harness = Arc::new(harness);
    let cases = conformance::cases().iter().filter(|case| case.group == Group::Model);
    let passed = cases.map(|case| match run_case(case.name, Arc::clone(&harness) as _) {
        Ok(Verdict::Passed) => case.name,
        other => panic!("{case:?} ended in {other:?}"),
    });
    assert_eq!(passed.collect::<Vec<_>>(), [STEADY, CRASHES, REOPENS]);
}
