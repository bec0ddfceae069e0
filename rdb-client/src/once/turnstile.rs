use rdb_engine_api::{Error, Result};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::call::Deadline;

/// Lets one of many callers ask, while the others wait for its answer: also where it is an error, so that
/// a thousand writes do not ask a node that is away one after the other.
#[derive(Debug, Default)]
pub(super) struct Turnstile(Mutex<Option<Failure>>);

/// When and how the last one who asked failed.
#[derive(Debug)]
struct Failure {
    ended: Instant,
    error: Error,
}

impl Turnstile {
    /// What is `known` when it is the caller's turn, or else what it is told when it asks.
    pub(super) async fn pass<T>(
        &self,
        deadline: Deadline,
        known: impl Fn() -> Option<T>,
        ask: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let came = Instant::now();
        let mut failure = deadline.bound(async { Ok(self.0.lock().await) }).await?;
        if let Some(known) = known() {
            return Ok(known);
        }
        if let Some(failure) = failure.as_ref().filter(|failure| failure.ended >= came) {
            return Err(failure.error.clone());
        }
        let told = ask.await;
        *failure = told.as_ref().err().map(|error| Failure { ended: Instant::now(), error: error.clone() });
        told
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use futures::future::join_all;
    use rdb_engine_api::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn one_asks_and_all_who_waited_hear_the_answer() {
        for fails in [false, true] {
            let (turnstile, asked, answer) = (Turnstile::default(), Cell::new(0), Cell::new(None));
            let ask = || async {
                asked.set(asked.get() + 1);
                tokio::task::yield_now().await;
                match fails {
                    true => Err(Error::new(ErrorKind::Exhausted, "full")),
                    false => {
                        answer.set(Some(7));
                        Ok(7)
                    }
                }
            };
            let deadline = Deadline::after(Duration::from_secs(60));
            let told = join_all((0..9).map(|_| turnstile.pass(deadline, || answer.get(), ask()))).await;
            assert_eq!(asked.get(), 1, "fails: {fails}");
            for told in told {
                assert_eq!(
                    told.map_err(|error| error.kind()),
                    if fails { Err(ErrorKind::Exhausted) } else { Ok(7) }
                );
            }
            // Who comes later asks for itself.
            let _ = turnstile.pass(deadline, || None, ask()).await;
            assert_eq!(asked.get(), 2, "fails: {fails}");
        }
    }
}
