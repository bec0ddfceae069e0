use indicatif::{ProgressBar, ProgressStyle};
use rdb_bench::{Phase, Progress, Settings};

/// What the bar counts to.
const WHOLE: u64 = 1_000;

/// Shows on standard error how far a run is, where that is a terminal.
pub(super) struct Bar {
    bar: ProgressBar,
    what: String,
}

impl Bar {
    pub(super) fn begin(settings: &Settings) -> Self {
        let bar = ProgressBar::new(WHOLE);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {percent:>3}%  {msg}") {
            bar.set_style(style);
        }
        let callers = match settings.callers {
            1 => "1 caller".to_owned(),
            callers => format!("{callers} callers"),
        };
        Self { bar, what: format!("{}, {callers}", settings.workload) }
    }

    pub(super) fn show(&self, progress: &Progress) {
        let (what, unit) = match progress.phase {
            Phase::Load => ("storing records".to_owned(), "records/s"),
            Phase::WarmUp => (format!("{}, warming up", self.what), "ops/s"),
            Phase::Measure => (self.what.clone(), "ops/s"),
        };
        self.bar.set_prefix(what);
        self.bar.set_message(format!("{:.0} {unit}", progress.per_second));
        self.bar.set_position((progress.done * WHOLE as f64) as u64);
    }
}

/// Leaves the line to what is said next.
impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
