//! Timestamps over the wire.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use rdb_engine_api::{Clock as _, Engine, ErrorKind};
use rdb_proto::pd::v1::{TimestampsRequest, TimestampsResponse};
use rdb_proto::{Call, from_status};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::double::{Double, Fault};
use crate::harness::{HOUR, NOW_MS, PATIENCE, Served, clock, mem, served, until};
use crate::stores::metrics;

/// Sends requests all at once and returns the answers, and the error that comes last where there is one.
async fn ask(pd: &mut Served, counts: Vec<u32>) -> (Vec<TimestampsResponse>, Option<ErrorKind>) {
    let requests = stream::iter(counts.into_iter().map(|count| TimestampsRequest { count }));
    let mut answers = pd.client.timestamps(requests).await.unwrap().into_inner();
    let mut all = Vec::new();
    while let Some(next) = timeout(PATIENCE, answers.next()).await.unwrap() {
        match next {
            Ok(next) => all.push(next),
            Err(status) => return (all, Some(from_status(&status, Call::Read).kind())),
        }
    }
    (all, None)
}

#[tokio::test]
async fn each_request_is_answered_in_its_turn() {
    let mut pd = served(&mem(), &clock()).await;
    let counts: Vec<u32> = (0..1_000).map(|n| if n % 100 == 7 { 1 << 18 } else { n % 50 + 1 }).collect();
    let (answers, error) = ask(&mut pd, counts.clone()).await;
    assert_eq!(error, None);
    assert_eq!(answers.iter().map(|answer| answer.count).collect::<Vec<_>>(), counts);
    assert_eq!(answers[0].first >> 18, NOW_MS);
    assert!(answers.windows(2).all(|pair| pair[0].first + u64::from(pair[0].count) <= pair[1].first));
    let total = counts.iter().map(|count| u64::from(*count)).sum::<u64>();
    let line = format!("flaredb_pd_timestamps_total {total}");
    assert!(metrics(pd.driver.ops_addr()).await.contains(&line));
}

#[tokio::test]
async fn a_request_is_answered_while_the_next_one_is_not_there_yet() {
    let mut pd = served(&mem(), &clock()).await;
    let (say, said) = mpsc::unbounded_channel();
    let mut answers = pd.client.timestamps(UnboundedReceiverStream::new(said)).await.unwrap().into_inner();
    let mut last = 0;
    for _ in 0..10 {
        say.send(TimestampsRequest { count: 1 }).unwrap();
        let next = timeout(PATIENCE, answers.next()).await.unwrap().unwrap().unwrap();
        assert!(next.first > last);
        last = next.first;
    }
    drop(say);
    assert!(timeout(PATIENCE, answers.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_count_out_of_range_ends_the_stream_behind_the_answers_before_it() {
    for wrong in [0, (1 << 18) + 1] {
        let mut pd = served(&mem(), &clock()).await;
        let (answers, error) = ask(&mut pd, vec![1, 2, wrong, 3]).await;
        assert_eq!(answers.iter().map(|answer| answer.count).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(error, Some(ErrorKind::InvalidArgument));
    }
}

#[tokio::test]
async fn an_engine_that_fails_ends_the_stream_and_the_next_one_goes_on() {
    let double = Double::new();
    let engine: Arc<dyn Engine> = Arc::clone(&double) as _;
    let clock = clock();
    let mut pd = served(&engine, &clock).await;
    let before = ask(&mut pd, vec![1]).await.0[0].first;
    clock.advance(HOUR);
    // Not one alone: the oracle tries by itself too, and might meet it before it is asked.
    double.plan([Fault::Refused; 1000]);
    assert_eq!(ask(&mut pd, vec![1]).await, (vec![], Some(ErrorKind::Unavailable)));
    double.plan([]);
    let mut after = 0;
    until("given", async || match ask(&mut pd, vec![1]).await.0.first() {
        Some(answer) => {
            after = answer.first;
            true
        }
        None => false,
    })
    .await;
    assert!(after > before);
    let metrics = metrics(pd.driver.ops_addr()).await;
    let name = "flaredb_pd_timestamp_window_failures_total ";
    assert!(metrics.contains(name) && !metrics.contains(&format!("{name}0")), "{metrics}");
}

#[tokio::test]
async fn a_driver_that_another_one_has_taken_over_from_says_that_it_is_closed() {
    let (engine, clock) = (mem(), clock());
    let mut earlier = served(&engine, &clock).await;
    let mut later = served(&engine, &clock).await;
    clock.advance(HOUR);
    assert_eq!(ask(&mut earlier, vec![1]).await, (vec![], Some(ErrorKind::Closed)));
    assert_eq!(ask(&mut later, vec![1]).await.1, None);
}

#[tokio::test]
async fn it_ends_in_order_under_an_open_stream_and_goes_on_above() {
    let (engine, clock) = (mem(), clock());
    let mut pd = served(&engine, &clock).await;
    let (say, said) = mpsc::unbounded_channel();
    let mut answers = pd.client.timestamps(UnboundedReceiverStream::new(said)).await.unwrap().into_inner();
    say.send(TimestampsRequest { count: 1 }).unwrap();
    assert!(timeout(PATIENCE, answers.next()).await.unwrap().unwrap().is_ok());
    pd.driver.shutdown().await.unwrap();
    let status = timeout(PATIENCE, answers.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(from_status(&status, Call::Read).kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn the_metrics_tell_how_far_they_are_ahead_of_the_clock() {
    let clock = clock();
    let mut pd = served(&mem(), &clock).await;
    clock.set_wall(clock.wall() - HOUR);
    assert_eq!(ask(&mut pd, vec![1]).await.1, None);
    let line = "flaredb_pd_timestamps_ahead_seconds 3600";
    until(line, async || metrics(pd.driver.ops_addr()).await.contains(line)).await;
}
