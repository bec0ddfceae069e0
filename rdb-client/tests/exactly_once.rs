//! Writes take effect once, whatever becomes of their answers (C10, C17): proven against a node with sessions
//! that loses answers, restarts, and gets duplicates late.

#![allow(clippy::unwrap_used)] // a helper of a test that panics has failed it

mod fake;

use std::time::Duration;

use fake::table::Table;
use fake::{Act, Fake, until};
use futures::future::join_all;
use rdb_client::{
    Batch, Bytes, Client, Condition, Engine, EngineExt, Error, ErrorKind, Key, Outcome, Record, RetryPolicy,
    SessionOptions, WriteId, WriteOptions,
};
use tokio::time::Instant;
use tonic::Code;

const SHORT: Duration = Duration::from_millis(300);

fn key() -> Key {
    Key::new("k").unwrap()
}

fn fail(kind: ErrorKind) -> Act {
    Act::Fail(Error::new(kind, "no"))
}

/// A write that would be in conflict with itself.
async fn create(client: &Client) -> Result<Outcome, Error> {
    client.put_if_absent(&key(), "v").await
}

fn committed(told: &Result<Outcome, Error>) -> bool {
    matches!(told, Ok(Outcome::Committed(_)))
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_applied_once_and_told_as_committed() {
    let strangers = (1..=16).filter(|code| *code != 12).map(|code| Act::Stranger(Code::from(code)));
    let lost = [Act::Lose, Act::Mute, Act::Cut, Act::Hang, Act::Nonsense, fail(ErrorKind::Unknown)];
    for act in lost.into_iter().chain(strangers) {
        let fake = Fake::with_sessions().await;
        let client = fake.client().await.with_timeout(Duration::from_secs(1));
        fake.order_at("write", [act.clone(), act.clone()]);
        let told = create(&client).await;
        assert!(committed(&told), "{act:?}: {told:?}");
        assert_eq!(fake.table().applied(), 1, "{act:?}");
    }
}

#[tokio::test]
async fn a_write_survives_a_restart_of_a_durable_node_with_its_outcome() {
    let fake = Fake::with_sessions().await;
    let client = fake.client().await;
    fake.order_at("write", [Act::Restart(true), Act::Restart(true), Act::Lose]);
    assert!(committed(&create(&client).await));
    assert_eq!(fake.table().applied(), 1);
    let lives: Vec<_> = fake.stamps().iter().map(|stamp| stamp.unwrap().life).collect();
    assert_eq!(lives, [1, 2, 3, 3], "each restart was asked about once, before anything was sent");
    assert!(fake.stamps().iter().all(|stamp| stamp.unwrap().sequence == 1));
}

#[tokio::test]
async fn a_conflict_that_a_restart_forgot_is_judged_again_and_told_once() {
    let fake = Fake::with_sessions().await;
    let client = fake.client().await;
    client.put(&key(), "other").await.unwrap();
    fake.order_at("write", [Act::Restart(true)]);
    let Ok(Outcome::Conflict(conflict)) = create(&client).await else { panic!("a conflict") };
    assert_eq!(conflict.current.unwrap().value, "other");
}

#[tokio::test]
async fn a_delayed_duplicate_from_before_a_restart_is_refused() {
    let fake = Fake::with_sessions().await;
    let client = fake.client().await;
    // The first attempt does not arrive, the node restarts, the second does.
    fake.order_at("write", [Act::Cut]);
    fake.order_at("resume_session", [Act::Restart(true)]);
    assert!(committed(&create(&client).await));
    assert_eq!(fake.deliver_again(0).unwrap_err().kind(), ErrorKind::Stale);
    assert!(fake.deliver_again(1).unwrap().succeeded(), "the first outcome");
    assert_eq!(fake.table().applied(), 1);
}

#[tokio::test]
async fn where_nothing_can_have_been_executed_a_lost_session_is_replaced() {
    let fake = Fake::with_sessions().await;
    let client = fake.client().await;
    client.put(&key(), "1").await.unwrap();
    fake.table().restart(false);
    fake.order_at("write", []);
    client.put(&key(), "2").await.unwrap();
    assert_eq!(fake.names(), ["write", "resume_session", "open_session", "write"]);
    assert_eq!(fake.table().applied(), 2);
}

#[tokio::test]
async fn where_an_attempt_may_have_been_executed_a_lost_session_leaves_it_unknown() {
    for act in [Act::Restart(false), Act::Cut] {
        let fake = Fake::with_sessions().await;
        let client = fake.client().await;
        fake.order_at("write", [act]);
        fake.order_at("resume_session", [Act::Restart(false)]);
        let begun = Instant::now();
        let error = create(&client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5), "nothing is waited for that cannot come");
        assert_eq!(fake.stamps().len(), 1, "it is not sent in another session");
        let id = WriteId::of(&error).unwrap();
        assert_eq!(client.what_became_of(id).await.unwrap_err().kind(), ErrorKind::Unknown);
        client.put(&key(), "2").await.unwrap();
    }
}

#[tokio::test]
async fn once_it_may_have_been_executed_no_refusal_ends_a_write() {
    for kind in ErrorKind::ALL {
        let fake = Fake::with_sessions().await;
        let client = fake.client().await;
        fake.order_at("write", [Act::Lose, fail(kind), fail(kind)]);
        fake.order_at("resume_session", [fail(kind)]);
        fake.order_at("settle", [fail(ErrorKind::Unavailable), fail(ErrorKind::Closed)]);
        let told = create(&client).await;
        assert!(committed(&told), "{kind}: {told:?}");
        assert_eq!(fake.table().applied(), 1, "{kind}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_only_when_the_engine_says_that_the_write_never_happened() {
    for kind in [ErrorKind::InvalidArgument, ErrorKind::Unsupported, ErrorKind::Corrupt, ErrorKind::Internal]
    {
        let fake = Fake::with_sessions().await;
        let client = fake.client().await;
        fake.order_at("write", [Act::Cut, fail(kind)]);
        let error = create(&client).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(fake.names().contains(&"settle"), "{kind}");
        // What the network kept of it comes too late for ever.
        let late = fake.deliver_again(0).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Unavailable, "{late}");
        assert_eq!(fake.table().applied(), 0);
    }
}

#[tokio::test]
async fn a_forgotten_outcome_is_unknown() {
    let fake = Fake::with_sessions().await;
    let client = fake.client().await;
    fake.order_at("write", [Act::Lose, fail(ErrorKind::Internal)]);
    fake.order_at("settle", [fail(ErrorKind::Stale), fail(ErrorKind::Unknown)]);
    let error = create(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown);
    assert!(WriteId::of(&error).is_some());
}

#[tokio::test]
async fn what_was_certainly_not_applied_is_told_as_without_sessions() {
    for kind in ErrorKind::ALL {
        let fake = Fake::with_sessions().await;
        let client = fake.client().await;
        fake.order_at("write", vec![fail(kind); 5]);
        let told = create(&client).await;
        match kind {
            ErrorKind::Unavailable => assert_eq!(told.unwrap_err().kind(), kind),
            ErrorKind::Stale => assert_eq!(told.unwrap_err().kind(), ErrorKind::Unavailable),
            ErrorKind::Unknown => assert!(committed(&told), "it was never executed, and is at last"),
            _ => {
                assert_eq!(told.unwrap_err().kind(), kind);
                assert_eq!(fake.stamps().len(), 1, "{kind}");
            }
        }
    }
}

#[tokio::test]
async fn after_the_deadline_the_application_can_ask_what_became_of_it() {
    for (act, was_executed) in [(Act::Mute, true), (Act::Hang, false)] {
        let fake = Fake::with_sessions().await;
        let client = fake.client().await;
        let hurried = client.with_timeout(SHORT);
        client.put(&Key::new("other").unwrap(), "v").await.unwrap();
        fake.order_at("write", [act]);
        fake.order_at("resume_session", vec![Act::Hang; 20]);
        let begun = Instant::now();
        let error = create(&hurried).await.unwrap_err();
        assert!(begun.elapsed() >= SHORT && begun.elapsed() < SHORT * 5);
        assert_eq!(error.kind(), ErrorKind::Unknown);
        let id = WriteId::of(&error).unwrap();
        assert!(error.report().contains(&format!("write=`{id}`")), "{}", error.report());
        fake.order_at("resume_session", [Act::Restart(true)]);
        // Others go on meanwhile, and do not acknowledge it.
        client.put(&Key::new("other").unwrap(), "w").await.unwrap();
        assert_eq!(fake.stamps().pop().unwrap().unwrap().acknowledged, 1);
        let settled = client.what_became_of(id).await.unwrap();
        assert_eq!(settled.is_some_and(|outcome| outcome.succeeded()), was_executed);
        assert_eq!(client.what_became_of(id).await.unwrap().is_some(), was_executed);
        assert_eq!(fake.table().record(&key()).is_some(), was_executed);
    }
}

#[tokio::test]
async fn a_policy_of_no_repetition_repeats_nothing() {
    let fake = Fake::with_sessions().await;
    let client = fake.builder().retry(RetryPolicy::never()).connect().await.unwrap();
    fake.order_at("write", [Act::Mute]);
    let error = create(&client.with_timeout(SHORT)).await.unwrap_err();
    assert_eq!((error.kind(), fake.stamps().len()), (ErrorKind::Unknown, 1));
    let id = WriteId::of(&error).unwrap();
    assert!(client.what_became_of(id).await.unwrap().unwrap().succeeded());
    client.put(&key(), "w").await.unwrap();
    fake.table().restart(true);
    assert_eq!(client.put(&key(), "w").await.unwrap_err().kind(), ErrorKind::Unavailable);
    client.put(&key(), "w").await.unwrap();
}

#[tokio::test]
async fn a_write_whose_turn_is_over_is_asked_about_and_not_sent_again() {
    for (act, was_executed) in [(Act::Lose, true), (Act::Cut, false)] {
        let fake = Fake::with_sessions().await;
        let client = fake.client().await;
        fake.order_at("write", [act]);
        let options = WriteOptions::default().timeout(Duration::from_millis(1));
        let told = client.write(Batch::new().put(key(), "v"), options).await;
        match was_executed {
            true => assert!(committed(&told), "{told:?}"),
            false => assert_eq!(told.unwrap_err().kind(), ErrorKind::Unavailable),
        }
        assert_eq!(fake.stamps().len(), 1);
    }
}

#[tokio::test]
async fn a_write_that_waits_for_its_conditions_has_that_time_besides_its_timeout() {
    let wait = SHORT * 2;
    for sessions in [true, false] {
        let fake = if sessions { Fake::with_sessions().await } else { Fake::start().await };
        let client = fake.builder().timeout(SHORT).retry(RetryPolicy::never()).connect().await.unwrap();
        fake.order_at("write", [Act::Hang]);
        let begun = Instant::now();
        let told = client.write(Batch::new().put(key(), "v"), WriteOptions::default().wait(wait)).await;
        assert_eq!(told.unwrap_err().kind(), ErrorKind::Unknown);
        assert!(begun.elapsed() >= wait + SHORT && begun.elapsed() < wait * 5, "{:?}", begun.elapsed());
    }
    // What is left of it is what the next attempt asks for.
    let fake = Fake::with_sessions().await;
    let client = fake.client().await;
    fake.order_at("write", [Act::Cut]);
    let options = WriteOptions::default().wait(Duration::from_secs(9));
    assert!(committed(&client.write(Batch::new().put(key(), "v"), options).await));
    let waits = fake.condition_waits();
    assert!(waits.len() == 2 && waits[0] <= Some(9_000) && waits[1] < waits[0], "{waits:?}");
}

#[tokio::test]
async fn many_writes_share_one_session_and_acknowledge_what_is_over() {
    let fake = Fake::with_sessions().await;
    let client = fake.client().await;
    let puts = (0..500).map(|_| async { client.put(&key(), "v").await.unwrap() });
    join_all(puts).await;
    assert_eq!(fake.names().iter().filter(|name| **name == "open_session").count(), 1);
    assert_eq!(fake.table().applied(), 500);
    client.put(&key(), "v").await.unwrap();
    assert_eq!(fake.table().acknowledged(1), 500);
}

#[tokio::test]
async fn a_write_beyond_the_window_waits_for_the_oldest() {
    let fake = Fake::start_with(Some(Table::with_window(2))).await;
    let client = fake.client().await;
    fake.order_at("write", [Act::Hang]);
    let oldest = tokio::spawn({
        let client = client.with_timeout(Duration::from_secs(3));
        async move { client.put(&key(), "v").await }
    });
    until(|| fake.stamps().len() == 1).await;
    client.put(&key(), "v").await.unwrap();
    let error = client.with_timeout(SHORT).put(&key(), "v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(fake.stamps().len(), 2, "it never left");
    client.put(&key(), "v").await.unwrap();
    oldest.await.unwrap().unwrap();
    assert_eq!(fake.table().applied(), 3);
}

#[tokio::test]
async fn unknown_writes_give_way_before_they_fill_the_window() {
    let fake = Fake::start_with(Some(Table::with_window(4))).await;
    let client = fake.builder().retry(RetryPolicy::never()).connect().await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..20 {
        fake.order_at("write", [fail(ErrorKind::Unknown)]);
        ids.push(WriteId::of(&client.put(&key(), "v").await.unwrap_err()).unwrap());
    }
    client.put(&key(), "v").await.unwrap();
    assert_eq!(client.what_became_of(ids[0]).await.unwrap_err().kind(), ErrorKind::Unknown, "forgotten");
    assert_eq!(client.what_became_of(ids[19]).await.unwrap(), None, "the last is not");
}

#[tokio::test]
async fn a_dropped_write_does_not_hold_up_the_others() {
    let fake = Fake::start_with(Some(Table::with_window(2))).await;
    let client = fake.client().await;
    for _ in 0..9 {
        fake.order_at("write", [Act::Hang]);
        let before = fake.stamps().len();
        let dropped = tokio::spawn({
            let client = client.clone();
            async move { client.put(&key(), "dropped").await }
        });
        until(|| fake.stamps().len() > before).await;
        dropped.abort();
        assert!(dropped.await.unwrap_err().is_cancelled());
    }
    client.put(&key(), "v").await.unwrap();
    assert_eq!(fake.stamps().pop().unwrap().unwrap().acknowledged, 9);
    assert_eq!(fake.deliver_again(0).unwrap_err().kind(), ErrorKind::Unknown, "too late");
    assert_eq!(fake.table().applied(), 1);
}

#[tokio::test]
async fn a_session_that_was_idle_for_long_is_asked_for_before_it_is_used() {
    let fake = Fake::start_with(Some(Table::with_idle_ms(100))).await;
    let client = fake.client().await;
    client.put(&key(), "v").await.unwrap();
    let rested = Instant::now();
    until(|| rested.elapsed() > Duration::from_millis(90)).await;
    fake.table().end(1);
    fake.order_at("write", []);
    client.put(&key(), "v").await.unwrap();
    assert_eq!(fake.names(), ["resume_session", "open_session", "write"]);
}

#[tokio::test]
async fn a_session_ends_with_its_client() {
    let fake = Fake::with_sessions().await;
    let client = fake.client().await;
    client.put(&key(), "v").await.unwrap();
    assert_eq!(fake.table().sessions(), 1);
    client.close().await.unwrap();
    assert_eq!(fake.table().sessions(), 0);

    let client = fake.client().await;
    client.put(&key(), "v").await.unwrap();
    drop(client.clone());
    assert_eq!(fake.table().sessions(), 1);
    drop(client);
    until(|| fake.table().sessions() == 0).await;

    let client = fake.client().await;
    client.get(&key()).await.unwrap();
    fake.order_at("end_session", []);
    client.close().await.unwrap();
    assert_eq!(fake.arrivals(), 0, "there was none to end");
}

#[tokio::test]
async fn close_does_not_wait_for_long_until_the_session_has_ended() {
    let fake = Fake::with_sessions().await;
    let client = fake.client().await;
    client.put(&key(), "v").await.unwrap();
    fake.order_at("end_session", [Act::Hang]);
    let begun = Instant::now();
    client.close().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn close_waits_until_it_is_known_what_became_of_each_write() {
    let fake = Fake::with_sessions().await;
    let client = fake.client().await.with_timeout(Duration::from_secs(2));
    fake.order_at("write", [Act::Mute, Act::Lose]);
    let writing = tokio::spawn({
        let client = client.clone();
        async move { create(&client).await }
    });
    until(|| fake.stamps().len() == 1).await;
    client.close().await.unwrap();
    assert!(writing.is_finished());
    assert!(committed(&writing.await.unwrap()));
}

#[tokio::test]
async fn a_node_with_too_many_sessions_refuses_the_write() {
    let fake = Fake::with_sessions().await;
    let client = fake.client().await;
    fake.order_at("open_session", [fail(ErrorKind::Exhausted), fail(ErrorKind::Unavailable)]);
    assert_eq!(create(&client).await.unwrap_err().kind(), ErrorKind::Exhausted);
    assert_eq!(fake.stamps().len(), 0);
    assert!(committed(&create(&client).await));
}

#[tokio::test]
async fn a_stamp_of_the_callers_own_passes_through_untouched() {
    let fake = Fake::with_sessions().await;
    let client = fake.client().await;
    let session = client.open_session(SessionOptions::default()).await.unwrap();
    let stamp = session.stamp(7.try_into().unwrap(), 3);
    fake.order_at("write", [Act::Lose]);
    let options = WriteOptions::default().stamp(stamp);
    let error = client.write(Batch::new().put(key(), "v"), options.clone()).await.unwrap_err();
    assert_eq!((error.kind(), WriteId::of(&error)), (ErrorKind::Unknown, None));
    let outcome = client.write(Batch::new().put(key(), "v"), options).await.unwrap();
    assert_eq!(client.settle(stamp).await.unwrap(), Some(outcome));
    assert_eq!(fake.stamps(), [Some(stamp.into()), Some(stamp.into())]);
    assert_eq!(client.resume_session(session.id).await.unwrap(), Some(session));
    client.end_session(session.id).await.unwrap();
    assert_eq!(client.resume_session(session.id).await.unwrap(), None);
    assert_eq!(client.settle(stamp).await.unwrap_err().kind(), ErrorKind::Unknown);
}

#[tokio::test]
async fn with_exactly_once_switched_off_a_lost_answer_leaves_a_write_unknown() {
    let fake = Fake::with_sessions().await;
    let client = fake.builder().exactly_once(false).connect().await.unwrap();
    fake.order_at("write", [Act::Lose]);
    let error = create(&client).await.unwrap_err();
    assert_eq!((error.kind(), WriteId::of(&error)), (ErrorKind::Unknown, None));
    assert_eq!(fake.stamps(), [None]);
    assert_eq!(fake.table().sessions(), 0);
    // Whoever tries again by himself meets his own write.
    assert!(matches!(create(&client).await, Ok(Outcome::Conflict(_))));
}

/// Adds one to a counter by compare-and-swap, so often; how many increments it was told.
async fn count(client: Client, times: u64) -> u64 {
    let number = |record: &Option<Record>| -> u64 {
        record.as_ref().map_or(0, |record| std::str::from_utf8(&record.value).unwrap().parse().unwrap())
    };
    let mut current = None;
    let mut added = 0;
    while added < times {
        let next = (number(&current) + 1).to_string();
        let condition = match &current {
            Some(record) => Condition::Version(record.version),
            None => Condition::Absent,
        };
        match client.compare_and_swap(&key(), condition, next.clone()).await {
            Ok(Outcome::Conflict(conflict)) => current = conflict.current,
            Ok(outcome) => {
                current = Some(Record::new(Bytes::from(next), outcome.version()));
                added += 1;
            }
            Err(error) => assert!(!error.may_have_been_applied(), "{}", error.report()),
        }
    }
    added
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_is_exact_over_lost_answers_and_restarts() {
    let fake = Fake::with_sessions().await;
    let acts = [Act::Lose, Act::Answer, Act::Cut, Act::Answer, Act::Answer, Act::Restart(true), Act::Answer];
    let acts = acts.into_iter().chain(vec![Act::Answer; 6]).chain([fail(ErrorKind::Unavailable)]);
    fake.order_at("write", acts.cycle().take(200));
    let client = fake.builder().timeout(Duration::from_secs(60)).connect().await.unwrap();
    let counted = join_all((0..8).map(|_| tokio::spawn(count(client.clone(), 25)))).await;
    let told: u64 = counted.into_iter().map(|told| told.unwrap()).sum();
    let record = fake.table().record(&key()).unwrap();
    assert_eq!((record.value.as_ref(), told), ("200".as_bytes(), 200));
    fake.table().applied();
}
