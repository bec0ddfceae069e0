use clap::Parser as _;
use futures::stream;
use rdb_client::{Cause, CommittedBatch, CommittedOp, Key, Previous};

use super::*;
use crate::args::{Args, Command};
use crate::output::Print;
use crate::output::tests::Sink;

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

#[test]
fn a_history_that_is_too_short_names_its_beginning_and_the_ways_on() {
    let failure = ended(Error::new(ErrorKind::Compacted, "history is compacted").at(version(90)), None);
    assert_eq!(failure.exit(), Exit::Error);
    assert!(failure.message().starts_with("compacted: "), "{}", failure.message());
    for said in ["begins after version 90", "--snapshot", "--after 90"] {
        assert!(failure.message().contains(said), "{said}: {}", failure.message());
    }
}

#[test]
fn a_watch_that_fell_behind_says_where_to_go_on() {
    let failure =
        ended(Error::new(ErrorKind::Exhausted, "reader fell behind").at(version(17)), Some(version(17)));
    assert_eq!(failure.exit(), Exit::Error);
    assert!(failure.message().ends_with("--after 17 goes on from there"), "{}", failure.message());
    let refused = ended(Error::new(ErrorKind::Exhausted, "too many watches"), None);
    assert_eq!(refused.message(), "exhausted: too many watches");
}

#[test]
fn a_version_from_beyond_the_present_is_told_with_the_ways_on() {
    let beyond = || Error::new(ErrorKind::InvalidArgument, "watch begins beyond the present");
    let failure = refused(beyond(), true);
    assert_eq!(failure.exit(), Exit::Error);
    for said in ["invalid_argument: watch begins", "that this node has shown", "--snapshot"] {
        assert!(failure.message().contains(said), "{said}: {}", failure.message());
    }
    assert!(!refused(beyond(), false).message().contains("--after"), "it did not ask for a version");
}

/// Follows these events, and returns how it ended, what was shown, and up to which version.
async fn followed(
    line: &str,
    events: Vec<Result<SnapshotEvent, Error>>,
) -> (Result<(), Failure>, String, Option<Version>) {
    let args = match Args::try_parse_from(line.split(' ')).unwrap().command {
        Command::Watch(args) => args,
        _ => unreachable!("it is a watch"),
    };
    let sink = Sink::default();
    let mut changes = Changes::new(Output::new(Print::Raw, Box::new(sink.clone())), args.previous);
    let shown = Shown::default();
    let done = follow(Box::pin(stream::iter(events)), &args, &mut changes, &shown).await;
    let version = *shown.lock();
    (done, sink.text(), version)
}

fn commit(number: u64) -> SnapshotEvent {
    let op = CommittedOp::new(Key::new("k").unwrap(), None, Previous::NotAsked);
    SnapshotEvent::Commit(CommittedBatch::new(version(number), Cause::Write, vec![op]))
}

fn progress(number: u64) -> SnapshotEvent {
    SnapshotEvent::Progress(version(number))
}

#[tokio::test]
async fn a_watch_ends_after_so_many_commits() {
    let events = || vec![Ok(progress(3)), Ok(commit(4)), Ok(progress(5)), Ok(commit(6)), Ok(commit(7))];
    let (done, text, shown) = followed("rdb watch --limit 2", events()).await;
    done.unwrap();
    assert_eq!(text, "4\twrite\tdelete\tk\t\n6\twrite\tdelete\tk\t\n");
    assert_eq!(shown, Some(version(6)));
    let (done, text, _) = followed("rdb watch --limit 1 --progress", events()).await;
    done.unwrap();
    assert_eq!(text, "3\tprogress\n4\twrite\tdelete\tk\t\n");
}

#[tokio::test]
async fn what_was_shown_is_where_a_broken_watch_goes_on() {
    let broken = Error::new(ErrorKind::Exhausted, "reader fell behind").at(version(9));
    let (done, _, shown) = followed("rdb watch", vec![Ok(commit(8)), Ok(progress(9)), Err(broken)]).await;
    assert_eq!(shown, Some(version(9)));
    let failure = done.unwrap_err();
    assert!(failure.message().ends_with("--after 9 goes on from there"), "{}", failure.message());
}

#[tokio::test]
async fn a_snapshot_that_is_complete_is_a_place_to_go_on() {
    let away = Error::new(ErrorKind::Internal, "broken");
    let events = vec![Ok(SnapshotEvent::Complete(version(5))), Err(away)];
    let (done, text, shown) = followed("rdb watch --snapshot", events).await;
    assert_eq!((text.as_str(), shown), ("5\tsnapshot\n", Some(version(5))));
    assert!(done.unwrap_err().message().ends_with("--after 5 goes on from there"));
}
