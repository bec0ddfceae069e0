use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::runner::declared;
use super::{Case, Failure, Harness, Verdict, cases, run_case};
use crate::{Capabilities, EngineInfo};

/// What the suite has to say about one engine. Shown as text, it lists what does not apply and what failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// What the engine declares.
    pub info: EngineInfo,
    /// What became of each case, in the order of the list.
    pub results: Vec<(Case, Result<Verdict, Failure>)>,
}

impl Report {
    /// The report of a run in which every case that applies passes.
    pub(super) fn expected(info: EngineInfo, harness: &dyn Harness) -> Self {
        let verdict = |case: &Case| case.skipped(&info, harness).map_or(Verdict::Passed, Verdict::Skipped);
        let results = cases().iter().map(|case| (*case, Ok(verdict(case)))).collect();
        Self { info, results }
    }

    /// How many cases passed.
    pub fn passed(&self) -> usize {
        self.results.iter().filter(|(_, result)| *result == Ok(Verdict::Passed)).count()
    }

    /// How many cases do not apply.
    pub fn skipped(&self) -> usize {
        self.results.iter().filter(|(_, result)| matches!(result, Ok(Verdict::Skipped(_)))).count()
    }

    /// The cases that failed, and why.
    pub fn failures(&self) -> impl Iterator<Item = (&Case, &Failure)> {
        self.results.iter().filter_map(|(case, result)| Some((case, result.as_ref().err()?)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.results.len();
        let apply = all - self.skipped();
        writeln!(f, "conformance of {}: {apply} of {all} cases apply", self.info.name)?;
        let mut skipped: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
        for (case, result) in &self.results {
            if let Ok(Verdict::Skipped(reason)) = result {
                skipped.entry(reason).or_default().push(case);
            }
        }
        for (reason, cases) in skipped {
            writeln!(f, "  skipped: {reason}:")?;
            cases.into_iter().try_for_each(|case| writeln!(f, "    {case:?}"))?;
        }
        self.failures().try_for_each(|(case, failure)| writeln!(f, "  FAILED: {case:?}: {failure}"))
    }
}

/// Runs the whole suite, one case after the other.
///
/// # Errors
/// Where a fresh engine does not open, so that there is nothing to report on.
pub fn report(harness: impl Harness) -> Result<Report, Failure> {
    let harness: Arc<dyn Harness> = Arc::new(harness);
    let info = declared(Arc::clone(&harness))?;
    let results = cases().iter().map(|case| (*case, run_case(case.name, Arc::clone(&harness)))).collect();
    Ok(Report { info, results })
}

/// What [`report`] gives where nothing fails. Opens the engine once, to read what it declares, and runs no
/// case.
///
/// # Errors
/// As [`report`].
pub fn expected(harness: impl Harness) -> Result<Report, Failure> {
    let harness: Arc<dyn Harness> = Arc::new(harness);
    let info = declared(Arc::clone(&harness))?;
    Ok(Report::expected(info, &*harness))
}

/// A Markdown table with a row for each engine: what it declares, and how its cases went.
///
/// An engine may be reached in several ways, such as by a function call and over a wire: `ways` names them,
/// and each row has a report for each, in the same order. What the engine declares is taken from the first.
pub fn table(ways: &[&str], engines: &[Vec<Report>]) -> String {
    let titles: Vec<_> = ["engine", "a write is", "expiry", "watch", "sessions", "blocking", "restore"]
        .iter()
        .chain(ways)
        .copied()
        .collect();
    let rule = vec!["---"; titles.len()];
    let mut lines = vec![format!("| {} |", titles.join(" | ")), format!("|{}|", rule.join("|"))];
    for reports in engines {
        if let Some(first) = reports.first() {
            let cells = declarations(&first.info).into_iter().chain(reports.iter().map(tally));
            lines.push(format!("| {} |", cells.collect::<Vec<_>>().join(" | ")));
        }
    }
    lines.join("\n") + "\n"
}

fn declarations(info: &EngineInfo) -> [String; 7] {
    let (default, best) = (info.default_durability, info.best_durability);
    let durability = match best > default {
        true => format!("`{default}`: {}; on request `{best}`: {}", default.meaning(), best.meaning()),
        false => format!("`{default}`: {}", default.meaning()),
    };
    let yes_or_no = |declared| if declared { "yes" } else { "no" }.to_owned();
    let Capabilities { expiry, watch, sessions, restore, blocking } = info.capabilities;
    let [expiry, watch, sessions, restore, blocking] =
        [expiry, watch, sessions, restore, blocking].map(yes_or_no);
    [format!("`{}`", info.name), durability, expiry, watch, sessions, blocking, restore]
}

fn tally(report: &Report) -> String {
    let counts = [
        (report.passed(), "passed"),
        (report.skipped(), "skipped"),
        (report.failures().count(), "**failed**"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    counts.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Durability;

    fn report_of(info: EngineInfo, results: [Result<Verdict, Failure>; 3]) -> Report {
        Report { info, results: cases().iter().copied().zip(results).collect() }
    }

    fn skipped() -> Result<Verdict, Failure> {
        Ok(Verdict::Skipped("the engine is small".to_owned()))
    }

    #[test]
    fn table_shows_what_each_engine_declares_and_how_its_cases_went() {
        let plain = EngineInfo::new("plain", 1, Durability::Synced);
        let mut rich = EngineInfo::new("rich", 1, Durability::Synced);
        rich.default_durability = Durability::Process;
        rich.capabilities.watch = true;
        let failed = || Err(Failure::new("it does not"));
        let engines = [
            vec![report_of(plain.clone(), [Ok(Verdict::Passed), skipped(), skipped()]); 2],
            vec![
                report_of(rich.clone(), [Ok(Verdict::Passed), Ok(Verdict::Passed), Ok(Verdict::Passed)]),
                report_of(rich, [failed(), skipped(), Ok(Verdict::Passed)]),
            ],
        ];
        assert_eq!(
            table(&["directly", "afar"], &engines),
            "| engine | a write is | expiry | watch | sessions | blocking | restore | directly | afar |\n\
             |---|---|---|---|---|---|---|---|---|\n\
             | `plain` | `synced`: on stable storage before the answer | no | no | no | no | no \
             | 1 passed, 2 skipped | 1 passed, 2 skipped |\n\
             | `rich` | `process`: survives the process, not a power cut; \
             on request `synced`: on stable storage before the answer | no | yes | no | no | no \
             | 3 passed | 1 passed, 1 skipped, 1 **failed** |\n"
        );
    }

    #[test]
    fn text_lists_what_is_skipped_by_reason_and_what_failed() {
        let info = EngineInfo::new("small", 1, Durability::Volatile);
        let report = report_of(info, [skipped(), Err(Failure::new("it does not")), skipped()]);
        let [first, second, third] = [0, 1, 2].map(|number| cases()[number]);
        assert_eq!(
            report.to_string(),
            format!(
                "conformance of small: 1 of 3 cases apply\n  skipped: the engine is small:\n    {first:?}\n    \
                 {third:?}\n  FAILED: {second:?}: it does not\n"
            )
        );
    }
}
