//! WGL.

use std::time::Duration;

use crate::{History, Verdict};

/// Judges a history.
pub fn check(_history: &History, _deadline: Duration) -> Verdict {
    Verdict::Undecided("under construction".to_owned())
}
