//! The suite catches what it claims to catch: each broken engine fails the case that was written for its
//! defect, and the sound engine below it passes the same case.

#[path = "broken_engines/broken.rs"]
mod broken;
#[path = "broken_engines/defects.rs"]
mod defects;
#[path = "broken_engines/sound.rs"]
mod sound;

use std::sync::Arc;

use rdb_engine_api::conformance::{self, Harness, LocalHarness, Skip, Verdict, run_case};
use rdb_engine_api::{Engine, Result};

use broken::{Broken, Defect};
use defects::{
    GetThenPut, ScanLosesTheLastKeyOfFf, ScanSeesLaterWrites, VersionsPerKey, counter_from_live_records,
};
use sound::{Sound, State};

/// A defect, the case that was written for it, and a word that its failure must contain: that of the
/// promise which is broken, so that a case that fails for another reason does not count.
struct Control {
    defect: &'static str,
    case: &'static str,
    promise: &'static str,
    harness: fn() -> LocalHarness,
}

const CONTROLS: [Control; 5] = [
    Control {
        defect: "a compare-and-swap that gets, then puts",
        case: "c01_a_compare_and_swap_counter_is_exact",
        promise: "no increment is lost",
        harness: || with_defect(|| GetThenPut),
    },
    Control {
        defect: "versions per key",
        case: "c04_versions_grow_over_all_keys",
        promise: "greater than that of every earlier commit of the engine",
        harness: || with_defect(VersionsPerKey::default),
    },
    Control {
        defect: "the counter rebuilt from live keys",
        case: "c05_deleting_the_newest_record_frees_no_version_at_a_reopen",
        promise: "not rebuilt from live records",
        harness: || recovering(counter_from_live_records),
    },
    Control {
        defect: "a scan that sees later writes",
        case: "c08_a_scan_shows_no_later_write",
        promise: "shows the view it was opened in",
        harness: || with_defect(|| ScanSeesLaterWrites),
    },
    Control {
        defect: "a scan that loses the last key under a 0xff prefix",
        case: "c08_a_prefix_of_ff_keeps_its_last_key",
        promise: "delivers the keys of",
        harness: || with_defect(|| ScanLosesTheLastKeyOfFf),
    },
];

fn recovering(recover: fn(&mut State)) -> LocalHarness {
    LocalHarness::new(move |directory, _| Sound::open(directory, recover))
}

fn with_defect<D: Defect>(defect: fn() -> D) -> LocalHarness {
    LocalHarness::new(move |directory, _| -> Result<Broken<D>> {
        let sound: Arc<dyn Engine> = Arc::new(Sound::open(directory, |_| ())?);
        Ok(Broken { sound, defect: defect() })
    })
}

/// The engine that the broken ones are made of, and what it leaves out to stay small.
fn sound() -> LocalHarness {
    let unbounded = "this engine reads a scan whole when it is opened, and counts none";
    let mut harness = recovering(|_| ());
    for (case, reason) in [
        ("c14_a_scan_too_many_is_refused_until_one_is_dropped", unbounded),
        ("c14_a_scan_at_rest_ends_in_an_error", unbounded),
        ("c12_close_ends_scans_with_closed", unbounded),
        ("c13_a_flipped_bit_never_gives_a_wrong_value", "this engine's log has no checksums"),
        ("c08_a_scan_is_stable_across_10000_writes", "this engine copies all its records for a scan"),
        ("c08_a_reverse_scan_is_stable_across_10000_writes", "this engine copies all its records for a scan"),
    ] {
        harness = harness.skip(Skip::case(case, reason));
    }
    harness
}

#[test]
fn each_broken_engine_fails_the_case_written_for_its_defect() {
    let mut missed = Vec::new();
    println!("{:<52} case that catches it", "defect");
    for control in CONTROLS {
        match run_case(control.case, Arc::new((control.harness)())) {
            Err(failure) if failure.to_string().contains(control.promise) => {
                println!("{:<52} {}", control.defect, control.case);
            }
            other => missed.push(format!("{}: {} ended in {other:?}", control.defect, control.case)),
        }
    }
    assert!(missed.is_empty(), "the suite missed: {missed:#?}");
}

#[test]
fn the_sound_engine_passes_every_case_that_applies() {
    let mut failed = Vec::new();
    let harness: Arc<dyn Harness> = Arc::new(sound());
    for case in conformance::cases() {
        match run_case(case.name, Arc::clone(&harness)) {
            Ok(Verdict::Passed) => {}
            Ok(Verdict::Skipped(reason)) => {
                let control = CONTROLS.iter().any(|control| control.case == case.name);
                assert!(!control, "{case:?} is a control and must run on the sound engine: {reason}");
            }
            Err(failure) => failed.push(format!("{case:?}: {failure}")),
        }
    }
    assert!(failed.is_empty(), "the sound engine failed: {failed:#?}");
}
