//! The report of a run of the suite, on an engine that is quick enough for that.

use rdb_engine_api::conformance::{self, LocalHarness};
use rdb_engine_mem::MemConfig;

#[test]
fn a_run_without_a_failure_gives_the_report_that_was_expected() {
    let harness = || {
        LocalHarness::new(|_, limits| {
            let mut config = MemConfig::default();
            config.local.limits = limits;
            rdb_engine_mem::open(&config)
        })
    };
    let report = conformance::report(harness()).unwrap();
    let expected = conformance::expected(harness()).unwrap();
    assert_eq!(report.info, expected.info);
    assert_eq!(report.to_string(), expected.to_string());
    assert_eq!(report.passed() + report.skipped(), conformance::cases().len());
    assert!(report.skipped() > 0, "some cases want a directory, which this engine has not");
}

#[test]
fn a_case_that_fails_is_in_the_report() {
    // Not held to the limits that the suite gives it.
    let report = conformance::report(LocalHarness::new(|_, _| rdb_engine_mem::open(&MemConfig::default())));
    let report = report.unwrap();
    let failed: Vec<_> = report.failures().map(|(case, _)| case.name).collect();
    assert!(failed.contains(&"c14_a_scan_at_rest_ends_in_an_error"), "{report}");
    assert_eq!(report.passed() + report.skipped() + failed.len(), conformance::cases().len());
    assert!(conformance::table(&["directly"], &[vec![report]]).contains("**failed**"));
}

#[test]
fn an_engine_that_does_not_open_gives_no_report() {
    let harness = LocalHarness::new(|_, _| -> rdb_engine_api::Result<rdb_engine_mem::MemEngine> {
        Err(rdb_engine_api::Error::new(rdb_engine_api::ErrorKind::Unavailable, "not today"))
    });
    let failure = conformance::expected(harness).unwrap_err();
    assert!(failure.to_string().contains("not today"), "{failure}");
}
