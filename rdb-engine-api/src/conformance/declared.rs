//! The case that keeps skips honest.

use std::io::{self, Write as _};

use super::harness::Skipped;
use super::{Context, Group, Report, cases};
use crate::{Durability, EngineInfo};

/// What runs is what the engine declares. Prints what is skipped past the test runner's capture.
pub(super) async fn suite_runs_what_the_engine_declares(cx: &Context) {
    let info = cx.declared().await;
    check_declaration(&info);
    for skip in cx.harness().skips() {
        assert!(!skip.reason.trim().is_empty(), "a skip has a reason: {skip:?}");
        let meant: Vec<_> = cases().iter().filter(|case| case.is_meant_by(&skip.what)).collect();
        assert!(!meant.is_empty(), "a skip means a case that there is: {skip:?}");
        if let Skipped::Group(group) = skip.what {
            let always =
                matches!(group, Group::Core | Group::Batch | Group::Scan | Group::Concurrency | Group::Model);
            assert!(!always, "every engine runs the group {group}");
            let declared = group == Group::Durability && info.best_durability > Durability::Volatile;
            assert!(!declared, "an engine that declares durability runs the group durability");
            let declared = group == Group::Restore && info.capabilities.restore;
            assert!(!declared, "an engine that declares restores runs the group restore");
        }
        let itself = meant.iter().any(|case| case.name == "suite_runs_what_the_engine_declares");
        assert!(!itself, "this case is always run");
    }
    let text = Report::expected(info, cx.harness()).to_string();
    // Not by println!, which the test runner keeps to itself as long as the case passes.
    drop(io::stderr().write_all(text.as_bytes()));
}

/// What the engine declares must make sense, and the suite must be able to prove it.
fn check_declaration(info: &EngineInfo) {
    assert!(!info.name.is_empty(), "an engine has a name");
    assert!(
        info.default_durability <= info.best_durability,
        "the default durability is one that can be reached (C9)"
    );
}
