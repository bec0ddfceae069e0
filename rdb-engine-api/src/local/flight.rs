//! Commits that take off: the thread that waits for the disk, so that the committer does not have to.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

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

/// Where commits take off. When it is dropped, the thread behind it has let go of the store.
#[derive(Debug)]
pub(super) struct Runway {
    flights: Option<Sender<(ChangeSet, Durability)>>,
    pilot: Option<JoinHandle<()>>,
}

impl Runway {
    pub(super) fn new<S: Store>(
        home: Arc<Home<S>>,
        queue: Arc<Queue>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (sender, flights) = channel();
        let pilot = Pilot { home, queue, clock, flights };
        let spawned = thread::Builder::new().name("flaredb-sync".to_owned()).spawn(move || pilot.run());
        let pilot = spawned.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "cannot start the thread of commits").because(error)
        })?;
        Ok(Self { flights: Some(sender), pilot: Some(pilot) })
    }

    /// Lets a commit take off. The one before has landed.
    pub(super) fn take_off(&self, changes: ChangeSet, level: Durability) -> Result<()> {
        let sent = self.flights.as_ref().and_then(|flights| flights.send((changes, level)).ok());
        sent.ok_or_else(|| Error::new(ErrorKind::Internal, "the thread of commits is gone"))
    }
}

impl Drop for Runway {
    fn drop(&mut self) {
        drop(self.flights.take());
        if let Some(pilot) = self.pilot.take() {
            // It does not panic: commits are caught.
            let _ = pilot.join();
        }
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
