//! Commits that take off: the thread that waits for the disk, so that the committer does not have to.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::Home;
use super::committer::commit;
use super::queue::{Landing, Queue};
use crate::{ChangeSet, Clock, Durability, Error, ErrorKind, Result, Store};

/// Commits what it is given, one at a time, and says so in the queue. It ends with the [`Runway`].
#[derive(Debug)]
struct Pilot<S> {
    home: Arc<Home<S>>,
    queue: Arc<Queue>,
    clock: Arc<dyn Clock>,
    flights: Receiver<(ChangeSet, Durability)>,
}

/// Where commits take off.
#[derive(Debug)]
pub(super) struct Runway(Sender<(ChangeSet, Durability)>);

impl Runway {
    pub(super) fn new<S: Store>(
        home: Arc<Home<S>>,
        queue: Arc<Queue>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (sender, flights) = channel();
        let pilot = Pilot { home, queue, clock, flights };
        let spawned = thread::Builder::new().name("flaredb-sync".to_owned()).spawn(move || pilot.run());
        spawned.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "cannot start the thread of commits").because(error)
        })?;
        Ok(Self(sender))
    }

    /// Lets a commit take off. The one before has landed.
    pub(super) fn take_off(&self, changes: ChangeSet, level: Durability) -> Result<()> {
        let gone = |_| Error::new(ErrorKind::Internal, "the thread of commits is gone");
        self.0.send((changes, level)).map_err(gone)
    }
}

impl<S: Store> Pilot<S> {
    fn run(self) {
        while let Ok((changes, level)) = self.flights.recv() {
            let begun = self.clock.monotonic();
            let reached = commit(&self.home.store, changes, level);
            self.queue.land(Landing { reached, took: self.clock.monotonic().saturating_sub(begun) });
        }
    }
}
