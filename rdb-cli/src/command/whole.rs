use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::failure::{Exit, Failure};
use crate::signals::{self, Signals};

/// How long a transfer that is to end may take to remove what is not whole.
const CLEAN_UP: Duration = Duration::from_secs(1);

/// Does what writes a file, until its end or a signal, which leaves nothing half done.
///
/// On a thread of its own: a reader who takes nothing blocks the writing, but must not block the signals.
pub(crate) async fn whole(
    what: &str,
    work: impl Future<Output = Result<(), Failure>> + Send + 'static,
) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = Handle::current();
    let mut transfer = spawn_blocking(move || {
        runtime.block_on(async {
            tokio::select! {
                done = work => done,
                // What is not whole goes away with the writing that is dropped here.
                _ = stopped => Ok(()),
            }
        })
    });
    let exit = tokio::select! {
        done = &mut transfer => {
            return done.unwrap_or_else(|error| Err(Failure::new(Exit::Error, format!("{what} died: {error}"))));
        }
        exit = signals.next() => exit,
    };
    drop(stop);
    // It has nothing to add: whether it ends in time or hangs in a pipe, the signal ends it.
    let _ = timeout(CLEAN_UP, transfer).await;
    Err(Failure::new(exit, format!("{}; {what} is not whole", signals::name(exit))))
}
