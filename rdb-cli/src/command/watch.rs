use std::mem;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use rdb_client::{Client, Error, ErrorKind, SnapshotEvent, SnapshotStream, Version, View, Watch, WatchEvent};
use tokio::time::sleep;

use super::whole::until;
use crate::args;
use crate::changes::Changes;
use crate::failure::{Exit, Failure};
use crate::notices;
use crate::output::Output;
use crate::signals::{self, Signals};

/// The version up to which everything was shown, once there is one.
type Shown = Arc<Mutex<Option<Version>>>;

/// What ends a watch that goes on.
enum Stop {
    Signal(Exit),
    TimeIsOver,
}

/// Shows what is committed, until the time or the number asked for, or a signal.
pub(crate) async fn watch(client: Client, args: args::Watch, out: Output) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    notices::to_standard_error();
    let (time, shown) = (args.time, Shown::default());
    let changes = Changes::new(out, args.previous);
    let work = show(client, args, changes, Arc::clone(&shown));
    let stop = async {
        let time_is_over = async {
            match time {
                Some(time) => sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            exit = signals.next() => Stop::Signal(exit),
            () = time_is_over => Stop::TimeIsOver,
        }
    };
    match until(stop, "watch", work).await {
        Ok(done) => done,
        Err(Stop::TimeIsOver) => Ok(()),
        Err(Stop::Signal(exit)) => {
            let mut message = signals::name(exit).to_owned();
            if let Some(version) = *shown.lock() {
                message = format!("{message}; --after {version} goes on from here");
            }
            Err(Failure::new(exit, message))
        }
    }
}

/// Shows what the watch delivers, until so many commits have come.
async fn show(client: Client, args: args::Watch, mut changes: Changes, shown: Shown) -> Result<(), Failure> {
    if args.snapshot {
        let events = client.watch_from_snapshot(args.keys()).await?;
        return follow(events, &args, &mut changes, &shown).await;
    }
    let mut watch = Watch::new(args.keys());
    watch.after = args.after;
    watch.previous = args.previous;
    watch.progress = args.progress.unwrap_or(Watch::PROGRESS);
    let View { version, data } =
        client.subscribe(watch).await.map_err(|error| refused(error, args.after.is_some()))?;
    *shown.lock() = Some(version);
    match args.progress {
        Some(_) => changes.progress(version)?,
        None => changes.note(&format!("watching after version {version}"))?,
    }
    let events = data.map_ok(|event| match event {
        WatchEvent::Commit(commit) => SnapshotEvent::Commit(commit),
        event => SnapshotEvent::Progress(event.version()),
    });
    follow(events.boxed(), &args, &mut changes, &shown).await
}

/// Shows what comes, until so many commits have come.
async fn follow(
    mut events: SnapshotStream,
    args: &args::Watch,
    changes: &mut Changes,
    shown: &Shown,
) -> Result<(), Failure> {
    let (mut commits, mut records) = (0, 0);
    loop {
        let next = events.try_next().await.map_err(|error| ended(error, *shown.lock()))?;
        let Some(event) = next else {
            return Err(ended(
                Error::new(ErrorKind::Internal, "watch ended without an error"),
                *shown.lock(),
            ));
        };
        let version = match event {
            SnapshotEvent::Difference(difference) => {
                records += difference.len();
                changes.difference(difference.iter().map(|change| (&change.key, change.record.as_ref())))?;
                continue;
            }
            SnapshotEvent::Complete(version) => {
                changes.complete(version, mem::take(&mut records))?;
                version
            }
            SnapshotEvent::Commit(commit) => {
                changes.commit(&commit)?;
                commits += 1;
                commit.version
            }
            SnapshotEvent::Progress(version) => {
                if args.progress.is_some() {
                    changes.progress(version)?;
                }
                version
            }
            _ => continue,
        };
        *shown.lock() = Some(version);
        if args.limit == Some(commits) {
            return Ok(());
        }
    }
}

/// Says, besides why the watch did not begin, how it can.
fn refused(error: Error, is_after: bool) -> Failure {
    match error.kind() {
        ErrorKind::InvalidArgument if is_after => Failure::from(error).note(
            "--after takes a version that this node has shown; --snapshot begins with the records as they are now",
        ),
        _ => ended(error, None),
    }
}

/// Says, besides why the watch ended, how to go on.
fn ended(error: Error, shown: Option<Version>) -> Failure {
    let (kind, version) = (error.kind(), error.version());
    let failure = Failure::from(error);
    match (kind, version) {
        (ErrorKind::Compacted, Some(oldest)) => failure.note(&format!(
            "the history begins after version {oldest}, and what came before it cannot be watched any more: \
             --snapshot begins with the records as they are now, --after {oldest} with the oldest change kept"
        )),
        _ => match shown {
            Some(shown) => failure.note(&format!(
                "everything up to version {shown} was shown; --after {shown} goes on from there"
            )),
            None => failure,
        },
    }
}

#[cfg(test)]
mod tests;
