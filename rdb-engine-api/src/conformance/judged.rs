use std::fs::File;
use std::io::BufWriter;
use std::time::Duration;

use rdb_checker::{History, Verdict, version_order, wgl};

/// How long the slower checker may take: a tenth of what a case may, which counts as a failure.
const WGL_DEADLINE: Duration = Duration::from_secs(10);

/// Lets both checkers judge what the callers of an engine saw, and panics where one does not call it
/// linearizable (C1).
pub(super) fn judge(name: &str, history: &History) {
    let verdicts =
        [("version order", version_order::check(history)), ("WGL", wgl::check(history, WGL_DEADLINE))];
    for (checker, verdict) in &verdicts {
        let reason = match verdict {
            Verdict::Linearizable => continue,
            Verdict::Violation(violation) => violation.explain(history),
            Verdict::Undecided(reason) => reason.clone(),
        };
        let others: Vec<String> =
            verdicts.iter().map(|(checker, verdict)| format!("{checker}: {verdict}")).collect();
        panic!(
            "what the callers saw, together, is linearizable (C1), but {checker} finds: {reason}\n{}\n{}",
            others.join("\n"),
            kept(name, history),
        );
    }
}

/// Keeps the history for a closer look, and says how to take it.
fn kept(name: &str, history: &History) -> String {
    let path = std::env::temp_dir().join(format!("flaredb-{name}-{}.jsonl", std::process::id()));
    let written = File::create(&path).and_then(|file| history.write(BufWriter::new(file)));
    match written {
        Ok(()) => format!("judge it again: rdb-check {}", path.display()),
        Err(error) => format!("its history could not be kept: {error}"),
    }
}
