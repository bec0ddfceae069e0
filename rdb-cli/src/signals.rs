use std::io;

use tokio::signal;

use crate::failure::{Exit, Failure};

/// The signals that ask a transfer to end: it says what it did and leaves nothing half done.
pub(crate) struct Signals {
    #[cfg(unix)]
    hang_up: Option<signal::unix::Signal>,
    #[cfg(unix)]
    interrupt: Option<signal::unix::Signal>,
    #[cfg(unix)]
    terminate: Option<signal::unix::Signal>,
}

impl Signals {
    /// Takes notice of them from now on, but of none that the process was started to ignore, as by `nohup`.
    #[cfg(unix)]
    pub(crate) fn listen() -> Result<Self, Failure> {
        use signal::unix::SignalKind;

        let ignored = ignored();
        let listen = |kind: SignalKind| match ignored >> (kind.as_raw_value() - 1) & 1 {
            0 => signal::unix::signal(kind).map(Some),
            _ => Ok(None),
        };
        let signals: io::Result<_> = (|| {
            Ok(Self {
                hang_up: listen(SignalKind::hangup())?,
                interrupt: listen(SignalKind::interrupt())?,
                terminate: listen(SignalKind::terminate())?,
            })
        })();
        signals.map_err(|error| Failure::io("cannot listen for signals", &error))
    }

    /// Takes notice of Ctrl-C.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// Waits for the next one, and says how a command ends that it ends.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> Exit {
        tokio::select! {
            () = next(&mut self.hang_up) => Exit::HungUp,
            () = next(&mut self.interrupt) => Exit::Interrupted,
            () = next(&mut self.terminate) => Exit::Terminated,
        }
    }

    /// Waits for the next one, and says how a command ends that it ends.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) -> Exit {
        match signal::ctrl_c().await {
            Ok(()) => Exit::Interrupted,
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(unix)]
async fn next(signal: &mut Option<signal::unix::Signal>) {
    let came = match signal {
        Some(signal) => signal.recv().await.is_some(),
        None => false,
    };
    if !came {
        std::future::pending().await
    }
}

/// The signals that the process ignores, a bit each; none where the system does not tell.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// How a signal that ended something is called.
pub(crate) const fn name(exit: Exit) -> &'static str {
    match exit {
        Exit::HungUp => "hung up",
        Exit::Terminated => "terminated",
        _ => "interrupted",
    }
}
