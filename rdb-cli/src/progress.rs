use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::count;

/// Shows on standard error how far a transfer is, where that is a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Begins `what`, such as "restoring"; of how many bytes in all, where that is known.
    pub(crate) fn begin(what: &'static str, total_bytes: Option<u64>) -> Self {
        let (bar, template) = match total_bytes {
            // The bar takes what is left of the line: a line that is too long would be two.
            Some(total) => (
                ProgressBar::new(total),
                "{prefix} {wide_bar} {percent:>3}%  {bytes}  {msg}  {bytes_per_sec}  {eta} left",
            ),
            None => (ProgressBar::new_spinner(), "{prefix} {spinner} {bytes}  {msg}  {bytes_per_sec}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    /// So much is done.
    pub(crate) fn advance(&self, bytes: u64, records: u64) {
        self.bar.inc(bytes);
        self.bar.set_message(count::records(records));
    }
}

/// Leaves the line to what is said next.
impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
