use std::fs::File;
use std::io::BufWriter;
use std::time::Duration;

use rdb_checker::{History, Verdict, version_order, wgl};

/// How long the slower checker may take: half of what a case may, which counts as a failure.
const WGL_DEADLINE: Duration = Duration::from_secs(30);

/// Lets both checkers judge what the callers of an engine saw, and panics where one finds it not linearizable
/// (C1), or neither can tell. What takes a search among writes of unknown outcome, version order leaves to
/// WGL.
pub(super) fn judge(name: &str, history: &History) {
    let (versions, values) = (version_order::check(history), wgl::check(history, WGL_DEADLINE));
    let reason = match (&versions, &values) {
        (Verdict::Violation(violation), _) | (_, Verdict::Violation(violation)) => violation.explain(history),
        (_, Verdict::Undecided(reason)) => reason.clone(),
        _ => {
            let open = history.operations.iter().filter(|operation| operation.outcome.is_none()).count();
            println!(
                "{} operations, {open} of them of unknown outcome: {versions}",
                history.operations.len()
            );
            return;
        }
    };
    panic!(
        "what the callers saw, together, is linearizable (C1), but: {reason}\nversion order: {versions}\n\
         WGL: {values}\n{}",
        kept(name, history),
    );
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
