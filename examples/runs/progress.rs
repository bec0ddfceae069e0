//! How far a long run is, on standard error: a line that is written over on a terminal, else one every ten
//! seconds.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::Instant;

/// A progress bar.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    begun: Instant,
    told: AtomicU64,
}

impl Progress {
    /// So many of something are to be done.
    pub(crate) fn new(what: &'static str, total: u64) -> Self {
        Self { what, total, begun: Instant::now(), told: AtomicU64::new(0) }
    }

    /// So many are.
    pub(crate) fn show(&self, done: u64) {
        const WIDTH: u64 = 30;
        let (what, total, elapsed) = (self.what, self.total, self.begun.elapsed().as_secs());
        if stderr().is_terminal() {
            let filled = (done.min(total) * WIDTH / total.max(1)) as usize;
            let bar: String =
                (0..WIDTH as usize).map(|place| if place < filled { '=' } else { ' ' }).collect();
            eprint!("\r[{bar}] {done} of {total} {what}, {elapsed} s ");
            let _ = stderr().flush();
        } else if elapsed >= self.told.load(Relaxed) + 10 {
            self.told.store(elapsed, Relaxed);
            eprintln!("{done} of {total} {what}, {elapsed} s");
        }
    }

    /// Leaves the line.
    pub(crate) fn end(&self) {
        if stderr().is_terminal() {
            eprintln!();
        }
    }
}
