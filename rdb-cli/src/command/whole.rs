use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::failure::{Exit, Failure};
use crate::signals::{self, Signals};

/// How long what is to end may take to clean up behind itself.
const CLEAN_UP: Duration = Duration::from_secs(1);

/// Does what writes a file, until its end or a signal, which leaves nothing half done.
pub(crate) async fn whole(
    what: &str,
    work: impl Future<Output = Result<(), Failure>> + Send + 'static,
) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    match until(signals.next(), what, work).await {
        Ok(done) => done,
        Err(exit) => Err(Failure::new(exit, format!("{}; {what} is not whole", signals::name(exit)))),
    }
}

/// Does what writes, until its end, or until something else comes first: then it is dropped where it waits,
/// and the error is what came.
///
/// On a thread of its own: a reader who takes nothing blocks the writing, but must not block what ends it.
pub(crate) async fn until<S>(
    stop: impl Future<Output = S>,
    what: &str,
    work: impl Future<Output = Result<(), Failure>> + Send + 'static,
) -> Result<Result<(), Failure>, S> {
    let (end, ended) = oneshot::channel::<()>();
    let runtime = Handle::current();
    let mut work = spawn_blocking(move || {
        runtime.block_on(async {
            tokio::select! {
                done = work => done,
                // What is not whole goes away with the writing that is dropped here.
                _ = ended => Ok(()),
            }
        })
    });
    let stop = tokio::select! {
        done = &mut work => {
            let died = |error| Err(Failure::new(Exit::Error, format!("{what} died: {error}")));
            return Ok(done.unwrap_or_else(died));
        }
        stop = stop => stop,
    };
    drop(end);
    // It has nothing to add, whether it ends in time or hangs in a pipe.
    let _ = timeout(CLEAN_UP, work).await;
    Err(stop)
}
