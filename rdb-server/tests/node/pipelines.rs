//! Many requests on one stream.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use rdb_engine_api::{Engine as _, EngineExt as _, ErrorKind, Key};
use rdb_proto::kv::v1;
use rdb_proto::kv::v1::answer::Answer;
use rdb_proto::kv::v1::command::Request;
use rdb_proto::kv::v1::kv_client::KvClient;
use rdb_proto::{Call, MAX_COMMANDS, from_status};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use crate::double::SESSION;
use crate::harness::{PATIENCE, Served, channel, gauge, get, metric, put, read_error, served};
use crate::raw::RawClient;

/// The client's side of a pipeline.
struct Pipe {
    say: mpsc::UnboundedSender<v1::PipelineRequest>,
    hear: Streaming<v1::PipelineResponse>,
}

impl Pipe {
    async fn open(kv: &mut KvClient<Channel>) -> Self {
        let (say, said) = mpsc::unbounded_channel();
        let hear = kv.pipeline(UnboundedReceiverStream::new(said)).await.unwrap().into_inner();
        Self { say, hear }
    }

    /// Sends commands in one message.
    fn say(&self, commands: impl IntoIterator<Item = v1::Command>) {
        self.say.send(v1::PipelineRequest { commands: commands.into_iter().collect() }).unwrap();
    }

    /// The next message of answers.
    async fn hear(&mut self) -> Result<Option<Vec<v1::Answer>>, Status> {
        let message = timeout(PATIENCE, self.hear.message()).await.unwrap()?;
        Ok(message.map(|message| message.answers))
    }

    /// So many answers, by number.
    async fn answers(&mut self, count: usize) -> Vec<(u64, Answer)> {
        let mut answers = Vec::new();
        while answers.len() < count {
            let more = self.hear().await.unwrap().unwrap();
            answers.extend(more.into_iter().map(|answer| (answer.number, answer.answer.unwrap())));
        }
        assert_eq!(answers.len(), count);
        answers.sort_by_key(|(number, _)| *number);
        answers
    }

    async fn ask(&mut self, request: Request) -> Answer {
        self.say([command(7, request)]);
        let [(7, answer)] = <[_; 1]>::try_from(self.answers(1).await).unwrap() else { panic!() };
        answer
    }
}

fn command(number: u64, request: Request) -> v1::Command {
    v1::Command { number, timeout_ms: None, request_id: String::new(), request: Some(request) }
}

fn within(timeout: Duration, mut command: v1::Command) -> v1::Command {
    command.timeout_ms = Some(timeout.as_millis() as u64);
    command
}

/// What a failure says, of a command of this kind.
fn failed(answer: &Answer, call: Call) -> ErrorKind {
    let Answer::Failure(failure) = answer else { panic!("{answer:?}") };
    assert!(!failure.details.is_empty(), "{failure:?}");
    let code = Code::from_i32(failure.code as i32);
    let status = Status::with_details(code, failure.message.clone(), failure.details.clone());
    from_status(&status, call).kind()
}

fn value(answer: &Answer) -> &[u8] {
    let Answer::Get(v1::GetResponse { record: Some(record) }) = answer else { panic!("{answer:?}") };
    &record.value
}

async fn quiet(served: &Served) {
    for line in ["flaredb_requests_in_flight 0", "flaredb_request_bytes_in_flight 0"] {
        metric(served.node.ops_addr(), line).await;
    }
    metric(served.node.ops_addr(), "flaredb_requests_waiting 0").await;
    metric(served.node.ops_addr(), "flaredb_answer_bytes_unsent 0").await;
}

fn swap(key: &'static str, condition: v1::condition::Condition) -> v1::CompareAndSwapRequest {
    let v1::PutRequest { key, put, options } = put(key, "swapped");
    v1::CompareAndSwapRequest {
        key,
        condition: Some(v1::Condition { condition: Some(condition) }),
        put,
        options,
    }
}

/// One request of every kind, with the name of its method; and those that fail.
fn every_request() -> Vec<(&'static str, Request)> {
    use v1::condition::{Absent, Condition};
    let stamp = |acknowledged| v1::Stamp { session: SESSION, sequence: 3, life: 1, acknowledged };
    let check = v1::write_request::Check {
        key: Bytes::from_static(b"k"),
        condition: Some(v1::Condition { condition: Some(Condition::Absent(Absent {})) }),
    };
    let delete = v1::DeleteRequest { key: Bytes::from_static(b"gone"), options: None };
    let mut synced = put("k", "v");
    synced.options = Some(v1::WriteOptions { durability: 3, ..Default::default() });
    vec![
        ("put", Request::Put(put("k", "v"))),
        ("get", Request::Get(get("k"))),
        ("get", Request::Get(get("nothing"))),
        ("get_many", Request::GetMany(v1::GetManyRequest { keys: vec![get("k").key, get("x").key] })),
        ("delete", Request::Delete(delete)),
        ("compare_and_swap", Request::CompareAndSwap(swap("k", Condition::Absent(Absent {})))),
        ("write", Request::Write(v1::WriteRequest { conditions: vec![check], ..Default::default() })),
        ("open_session", Request::OpenSession(v1::OpenSessionRequest { idle_ms: Some(5_000) })),
        ("resume_session", Request::ResumeSession(v1::ResumeSessionRequest { session: SESSION })),
        ("end_session", Request::EndSession(v1::EndSessionRequest { session: SESSION })),
        ("settle", Request::Settle(v1::SettleRequest { stamp: Some(stamp(2)) })),
        ("time", Request::Time(v1::TimeRequest {})),
        // Failures, of every kind that there is a way to.
        ("get", Request::Get(get(""))),
        ("get", Request::Get(get("closed"))),
        ("get", Request::Get(get("panic"))),
        ("put", Request::Put(put("panic", "v"))),
        ("put", Request::Put(synced)),
        ("put", Request::Put(v1::PutRequest { put: None, ..put("k", "v") })),
        ("settle", Request::Settle(v1::SettleRequest { stamp: Some(stamp(3)) })),
        ("settle", Request::Settle(v1::SettleRequest { stamp: None })),
        ("resume_session", Request::ResumeSession(v1::ResumeSessionRequest { session: 0 })),
    ]
}

/// What the method of the same name answers.
async fn unary(kv: &mut KvClient<Channel>, request: Request) -> Result<Answer, Status> {
    Ok(match request {
        Request::Get(request) => Answer::Get(kv.get(request).await?.into_inner()),
        Request::GetMany(request) => Answer::GetMany(kv.get_many(request).await?.into_inner()),
        Request::Put(request) => Answer::Put(kv.put(request).await?.into_inner()),
        Request::Delete(request) => Answer::Delete(kv.delete(request).await?.into_inner()),
        Request::CompareAndSwap(request) => {
            Answer::CompareAndSwap(kv.compare_and_swap(request).await?.into_inner())
        }
        Request::Write(request) => Answer::Write(kv.write(request).await?.into_inner()),
        Request::OpenSession(request) => Answer::OpenSession(kv.open_session(request).await?.into_inner()),
        Request::ResumeSession(request) => {
            Answer::ResumeSession(kv.resume_session(request).await?.into_inner())
        }
        Request::EndSession(request) => Answer::EndSession(kv.end_session(request).await?.into_inner()),
        Request::Settle(request) => Answer::Settle(kv.settle(request).await?.into_inner()),
        Request::Time(request) => Answer::Time(kv.time(request).await?.into_inner()),
    })
}

/// Two puts of the same differ in their versions.
fn without_versions(answer: Answer) -> Answer {
    match answer {
        Answer::Put(mut response) => {
            response.commit.as_mut().unwrap().version = 0;
            Answer::Put(response)
        }
        answer => answer,
    }
}

#[tokio::test]
async fn a_command_is_answered_and_counted_as_the_request_of_its_method() {
    let mut served = served(|_| {}).await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    let ops = served.node.ops_addr();
    let mut counts = std::collections::HashMap::<_, u64>::new();
    for (method, request) in every_request() {
        let expected = unary(&mut served.kv, request.clone()).await;
        let answer = pipe.ask(request.clone()).await;
        let code = match expected {
            Ok(expected) => {
                assert_eq!(without_versions(answer), without_versions(expected), "{request:?}");
                "ok"
            }
            Err(status) => {
                let Answer::Failure(failure) = &answer else { panic!("{request:?}: {answer:?}") };
                assert_eq!(Code::from_i32(failure.code as i32), status.code(), "{request:?}");
                assert_eq!((&*failure.message, &failure.details[..]), (status.message(), status.details()));
                failed(&answer, Call::Read).name()
            }
        };
        let count = counts.entry((method, code)).or_default();
        *count += 2;
        let line = format!("flaredb_requests_total{{method=\"{method}\",code=\"{code}\"}} {count}");
        metric(ops, &line).await;
    }
    metric(ops, "flaredb_conflicts_total 4").await;
    metric(ops, "flaredb_panics_total 4").await;
    metric(ops, "flaredb_pipelines_open 1").await;
    metric(ops, "flaredb_pipeline_commands_total 21").await;
    drop(pipe);
    metric(ops, "flaredb_pipelines_open 0").await;
    quiet(&served).await;
}

#[tokio::test]
async fn an_answer_waits_for_no_other() {
    let mut served = served(|_| {}).await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    pipe.say([command(1, Request::Put(put("held", "v"))), command(2, Request::Get(get("k")))]);
    assert!(matches!(pipe.answers(1).await[..], [(2, Answer::Get(_))]));
    assert!(matches!(pipe.ask(Request::Put(put("k", "v"))).await, Answer::Put(_)));
    metric(served.node.ops_addr(), "flaredb_requests_in_flight 1").await;
    served.engine.release.notify_one();
    assert!(matches!(pipe.answers(1).await[..], [(1, Answer::Put(_))]));
    quiet_but_open(&served).await;
}

/// Nothing in flight, with one pipeline open.
async fn quiet_but_open(served: &Served) {
    let ops = served.node.ops_addr();
    metric(ops, "flaredb_requests_in_flight 0").await;
    metric(ops, "flaredb_requests_waiting 1").await;
}

#[tokio::test]
async fn what_is_ready_together_is_answered_together() {
    let mut served = served(|_| {}).await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    pipe.say((0..100).map(|number| command(number, Request::Get(get("k")))));
    assert_eq!(pipe.hear().await.unwrap().unwrap().len(), 100);
    // No message has more.
    pipe.say((0..300).map(|number| command(number, Request::Get(get("k")))));
    assert_eq!(pipe.hear().await.unwrap().unwrap().len(), 256);
    assert_eq!(pipe.hear().await.unwrap().unwrap().len(), 44);
}

#[tokio::test]
async fn a_large_answer_to_a_read_is_to_be_had_elsewhere_and_to_a_write_goes_alone() {
    let mut served = served(|_| {}).await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    for (key, length) in [("small", 60 << 10), ("large", 65 << 10)] {
        assert!(matches!(pipe.ask(Request::Put(put(key, vec![7; length]))).await, Answer::Put(_)));
    }
    let absent = v1::condition::Condition::Absent(v1::condition::Absent {});
    let many = v1::GetManyRequest { keys: vec![get("small").key, get("small").key] };
    pipe.say([
        command(1, Request::Get(get("small"))),
        command(2, Request::Get(get("large"))),
        command(3, Request::GetMany(many)),
        command(4, Request::CompareAndSwap(swap("large", absent))),
        command(5, Request::Get(get("k"))),
    ]);
    let answers = pipe.answers(5).await;
    assert_eq!(value(&answers[0].1).len(), 60 << 10);
    assert!(matches!(answers[1].1, Answer::Elsewhere(_)));
    assert!(matches!(answers[2].1, Answer::Elsewhere(_)));
    let Answer::CompareAndSwap(v1::CompareAndSwapResponse { outcome: Some(outcome) }) = &answers[3].1 else {
        panic!("{:?}", answers[3]);
    };
    let Some(v1::outcome::Outcome::Conflict(conflict)) = &outcome.outcome else { panic!("{outcome:?}") };
    assert_eq!(conflict.current.as_ref().unwrap().value.len(), 65 << 10);
    assert!(matches!(answers[4].1, Answer::Get(_)));
}

#[tokio::test]
async fn a_command_that_makes_no_sense_harms_no_other() {
    let mut served = served(|_| {}).await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    let empty = v1::Command { request: None, ..command(1, Request::Get(get("k"))) };
    pipe.say([]);
    pipe.say([empty, command(2, Request::Get(get(""))), command(3, Request::Get(get("k")))]);
    let answers = pipe.answers(3).await;
    assert_eq!(failed(&answers[0].1, Call::Write), ErrorKind::InvalidArgument);
    assert_eq!(failed(&answers[1].1, Call::Read), ErrorKind::InvalidArgument);
    assert!(matches!(answers[2].1, Answer::Get(_)));
    metric(served.node.ops_addr(), "flaredb_requests_refused_total 1").await;
}

#[tokio::test]
async fn two_commands_of_one_number_are_both_answered() {
    let mut served = served(|_| {}).await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    pipe.say([command(1, Request::Put(put("held", "v"))), command(1, Request::Get(get("k")))]);
    assert!(matches!(pipe.answers(1).await[..], [(1, Answer::Get(_))]));
    served.engine.release.notify_one();
    assert!(matches!(pipe.answers(1).await[..], [(1, Answer::Put(_))]));
}

#[tokio::test]
async fn a_command_is_cut_off_at_its_deadline_and_the_others_go_on() {
    let mut served = served(|config| config.request_timeout = Duration::from_millis(300)).await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    let start = Instant::now();
    pipe.say([
        command(1, Request::Put(put("stuck", "v"))),
        within(Duration::from_millis(50), command(2, Request::Put(put("stuck", "v")))),
        within(Duration::from_millis(50), command(3, Request::Get(get("stuck")))),
        within(PATIENCE, command(4, Request::Get(get("stuck")))),
    ]);
    let early = pipe.answers(2).await;
    assert!(start.elapsed() >= Duration::from_millis(50));
    let late = pipe.answers(2).await;
    assert!(start.elapsed() >= Duration::from_millis(300), "the node's own bounds the client's");
    let kinds = early.iter().zip([Call::Write, Call::Read]).map(|((_, answer), call)| failed(answer, call));
    assert_eq!(kinds.collect::<Vec<_>>(), [ErrorKind::Unknown, ErrorKind::Unavailable]);
    let kinds = late.iter().zip([Call::Write, Call::Read]).map(|((_, answer), call)| failed(answer, call));
    assert_eq!(kinds.collect::<Vec<_>>(), [ErrorKind::Unknown, ErrorKind::Unavailable]);
    assert!(matches!(pipe.ask(Request::Get(get("k"))).await, Answer::Get(_)));
    // The deadline is the engine's too.
    let soon = within(Duration::from_millis(100), command(5, Request::Put(put("k", "v"))));
    pipe.say([soon]);
    pipe.answers(1).await;
    let told = served.engine.options.lock().unwrap().timeout.unwrap();
    assert!(told <= Duration::from_millis(100), "{told:?}");
    quiet_but_open(&served).await;
}

#[tokio::test]
async fn a_full_node_refuses_commands_one_by_one() {
    let mut served = served(|config| config.max_in_flight = 2).await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    pipe.say((1..=4).map(|number| command(number, Request::Put(put("held", "v")))));
    let answers = pipe.answers(2).await;
    for (_, answer) in &answers {
        assert_eq!(failed(answer, Call::Write), ErrorKind::Exhausted);
    }
    metric(served.node.ops_addr(), "flaredb_shed_total{reason=\"requests\"} 2").await;
    served.engine.release.notify_waiters();
    pipe.answers(2).await;
}

#[tokio::test]
async fn pipelines_that_rest_keep_nobody_out_and_a_connection_has_so_many() {
    let mut served = served(|config| config.max_in_flight = 1).await;
    let mut pipes = Vec::new();
    for _ in 0..64 {
        pipes.push(Pipe::open(&mut served.kv).await);
    }
    let (_say, said) = mpsc::unbounded_channel();
    let status = served.kv.pipeline(UnboundedReceiverStream::new(said)).await.unwrap_err();
    assert_eq!(read_error(&status), ErrorKind::Exhausted);
    assert!(matches!(pipes[0].ask(Request::Get(get("k"))).await, Answer::Get(_)));
    let _ = served.kv.get(get("k")).await.unwrap();
    drop(pipes);
    quiet(&served).await;
    Pipe::open(&mut served.kv).await;
}

#[tokio::test]
async fn a_pipeline_is_read_no_further_than_its_commands_have_room() {
    let mut served = served(|config| config.max_streams_per_connection = 8).await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    // One message, and more behind it.
    pipe.say((0..20).map(|number| command(number, Request::Put(put("held", "v")))));
    pipe.say([command(20, Request::Get(get("k")))]);
    let ops = served.node.ops_addr();
    metric(ops, "flaredb_requests_in_flight 8").await;
    metric(ops, "flaredb_pipeline_messages_total 1").await;
    let mut answers = 0;
    while answers < 21 {
        served.engine.release.notify_one();
        answers += pipe.hear().await.unwrap().unwrap().len();
    }
    assert_eq!(answers, 21);
    quiet_but_open(&served).await;
}

#[tokio::test]
async fn a_pipeline_is_read_no_further_than_its_bytes_have_room() {
    let mut served = served(|_| {}).await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    let held = command(1, Request::Put(put("held", vec![7; 60 << 10])));
    let with_room = (4_usize << 20).div_ceil(held.encoded_len());
    for _ in 0..100 {
        pipe.say([held.clone()]);
    }
    let ops = served.node.ops_addr();
    metric(ops, &format!("flaredb_requests_in_flight {with_room}")).await;
    served.kv.get(get("k")).await.unwrap();
    assert_eq!(gauge(ops, "flaredb_pipeline_messages_total").await, with_room);
    // What it would be without them: a message.
    assert!(gauge(ops, "flaredb_request_bytes_in_flight").await >= with_room * (60 << 10));
    let mut answers = 0;
    while answers < 100 {
        served.engine.release.notify_one();
        answers += pipe.hear().await.unwrap().unwrap().len();
    }
    quiet_but_open(&served).await;
}

/// Whether what the engine was given of the first put shares a buffer with the second.
fn share(served: &Served) -> bool {
    let puts = served.engine.puts.lock().unwrap();
    let [(first, _), (_, second)] = &puts[..] else { panic!("{puts:?}") };
    first.as_bytes().as_ptr().addr().abs_diff(second.as_ptr().addr()) < 512
}

#[tokio::test]
async fn a_command_keeps_no_large_message_that_it_came_in() {
    for (length, shares) in [(60 << 10, true), (70 << 10, false)] {
        let mut served = served(|_| {}).await;
        let mut pipe = Pipe::open(&mut served.kv).await;
        let held = command(1, Request::Put(put("held", "v")));
        pipe.say([held, command(2, Request::Put(put("k", vec![7; length])))]);
        assert!(matches!(pipe.answers(1).await[..], [(2, Answer::Put(_))]));
        assert_eq!(share(&served), shares, "{length}");
    }
}

#[tokio::test]
async fn a_write_that_may_wait_keeps_no_message_that_it_came_in() {
    let mut served = served(|_| {}).await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    let absent = v1::condition::Condition::Absent(v1::condition::Absent {});
    let mut locked = swap("locked", absent);
    locked.options = Some(v1::WriteOptions { condition_wait_ms: Some(60_000), ..Default::default() });
    pipe.say([command(1, Request::CompareAndSwap(locked)), command(2, Request::Put(put("k", "v")))]);
    assert!(matches!(pipe.answers(1).await[..], [(2, Answer::Put(_))]));
    assert!(!share(&served));
}

#[tokio::test]
async fn an_answer_without_room_is_told_so_and_that_of_a_write_is_unknown() {
    let mut served = served(|config| {
        config.max_message_bytes = Some(256 << 10);
        config.max_unsent_bytes_per_connection = 256 << 10;
    })
    .await;
    served.engine.put(&Key::new("k").unwrap(), vec![7; 60 << 10]).await.unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", served.node.addr())).unwrap();
    let channel = endpoint.initial_stream_window_size(8 << 10).connect().await.unwrap();
    let mut pipe = Pipe::open(&mut KvClient::new(channel)).await;
    let absent = || v1::condition::Condition::Absent(v1::condition::Absent {});
    pipe.say((0..20).map(|number| command(number, Request::Get(get("k")))));
    pipe.say((20..40).map(|number| command(number, Request::CompareAndSwap(swap("k", absent())))));
    let ops = served.node.ops_addr();
    metric(ops, "flaredb_requests_total{method=\"compare_and_swap\",code=\"ok\"} 20").await;
    assert!(gauge(ops, "flaredb_answer_bytes_unsent").await <= 256 << 10);
    let mut told = [0, 0];
    for (number, answer) in pipe.answers(40).await {
        let (call, kind) = match number < 20 {
            true => (Call::Read, ErrorKind::Exhausted),
            false => (Call::Write, ErrorKind::Unknown),
        };
        if let Answer::Failure(_) = answer {
            assert_eq!(failed(&answer, call), kind);
            told[usize::from(call == Call::Write)] += 1;
        }
    }
    assert!(told[0] > 10 && told[1] == 20, "{told:?}");
    served.kv.get(get("k")).await.unwrap();
    quiet_but_open(&served).await;
    metric(ops, "flaredb_answer_bytes_unsent 0").await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_held_up_and_then_let_go() {
    let served = served(|config| config.request_timeout = Duration::from_millis(500)).await;
    served.engine.put(&Key::new("k").unwrap(), vec![7; 60 << 10]).await.unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", served.node.addr())).unwrap();
    let channel = endpoint.initial_stream_window_size(64 << 10).connect().await.unwrap();
    let mut pipe = Pipe::open(&mut KvClient::new(channel)).await;
    for message in 0..1000 {
        pipe.say((0..10).map(|number| command(message * 10 + number, Request::Get(get("k")))));
    }
    let ops = served.node.ops_addr();
    metric(ops, "flaredb_requests_total{method=\"pipeline\",code=\"exhausted\"} 1").await;
    let unsent = gauge(ops, "flaredb_answer_bytes_unsent").await;
    assert!(unsent < 8 << 20, "{unsent}");
    let status = loop {
        match pipe.hear().await {
            Ok(answers) => assert!(answers.is_some()),
            Err(status) => break status,
        }
    };
    assert_eq!(read_error(&status), ErrorKind::Exhausted);
    quiet(&served).await;
}

#[tokio::test]
async fn a_client_that_leaves_cancels_no_write_that_the_engine_has() {
    let mut served = served(|_| {}).await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    pipe.say([command(1, Request::Get(get("stuck"))), command(2, Request::Put(put("k", "v")))]);
    assert!(matches!(pipe.answers(1).await[..], [(2, Answer::Put(_))]));
    drop(pipe);
    metric(served.node.ops_addr(), "flaredb_requests_total{method=\"get\",code=\"cancelled\"} 1").await;
    quiet(&served).await;
    assert!(served.engine.get(&Key::new("k").unwrap()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_client_that_has_said_all_gets_all_answers_and_a_good_end() {
    let mut served = served(|_| {}).await;
    let pipe = Pipe::open(&mut served.kv).await;
    pipe.say([command(1, Request::Put(put("held", "v"))), command(2, Request::Get(get("k")))]);
    let Pipe { say, hear } = pipe;
    drop(say);
    let mut pipe = Pipe { say: mpsc::unbounded_channel().0, hear };
    assert!(matches!(pipe.answers(1).await[..], [(2, _)]));
    served.engine.release.notify_one();
    assert!(matches!(pipe.answers(1).await[..], [(1, _)]));
    assert_eq!(pipe.hear().await.unwrap(), None);
    metric(served.node.ops_addr(), "flaredb_requests_total{method=\"pipeline\",code=\"ok\"} 1").await;
}

#[tokio::test]
async fn a_client_that_has_said_all_and_reads_nothing_counts_no_more_among_the_requests() {
    let served = served(|_| {}).await;
    served.engine.put(&Key::new("k").unwrap(), vec![7; 60 << 10]).await.unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", served.node.addr())).unwrap();
    let channel = endpoint.initial_stream_window_size(8 << 10).connect().await.unwrap();
    let Pipe { say, hear } = Pipe::open(&mut KvClient::new(channel)).await;
    let commands = (0..20).map(|number| command(number, Request::Get(get("k")))).collect();
    say.send(v1::PipelineRequest { commands }).unwrap();
    drop(say);
    let ops = served.node.ops_addr();
    metric(ops, "flaredb_requests_total{method=\"get\",code=\"ok\"} 20").await;
    metric(ops, "flaredb_requests_waiting 0").await;
    metric(ops, "flaredb_pipelines_open 1").await;
    let mut pipe = Pipe { say: mpsc::unbounded_channel().0, hear };
    pipe.answers(20).await;
    assert_eq!(pipe.hear().await.unwrap(), None);
    quiet(&served).await;
}

#[tokio::test]
async fn a_pipeline_ends_at_the_deadline_that_its_client_gave_it() {
    let served = served(|_| {}).await;
    let mut client = RawClient::connect(served.node.addr()).await;
    let mut request = client.open("/flaredb.kv.v1.Kv/Pipeline", Some("100m"));
    assert!(request.answer().await.is_none());
    metric(served.node.ops_addr(), "flaredb_requests_total{method=\"pipeline\",code=\"unavailable\"} 1")
        .await;
    quiet(&served).await;
}

#[tokio::test]
async fn a_node_that_drains_answers_what_it_has_and_refuses_what_comes_later() {
    let mut served = served(|config| config.drain_timeout = PATIENCE).await;
    let ops = served.node.ops_addr();
    let mut pipe = Pipe::open(&mut served.kv).await;
    let mut idle = Pipe::open(&mut served.kv).await;
    pipe.say([command(1, Request::Put(put("held", "v")))]);
    served.engine.waiting.notified().await;
    let start = Instant::now();
    let shutdown = tokio::spawn(served.node.shutdown());
    assert_eq!(read_error(&idle.hear().await.unwrap_err()), ErrorKind::Unavailable);
    pipe.say([command(2, Request::Put(put("k", "v"))), command(3, Request::Get(get("k")))]);
    let answers = pipe.answers(2).await;
    assert_eq!(failed(&answers[0].1, Call::Write), ErrorKind::Unavailable);
    assert_eq!(failed(&answers[1].1, Call::Read), ErrorKind::Unavailable);
    let (status, _) = crate::harness::http(ops, "GET", "/livez").await;
    assert_eq!(status, 200, "it waits for the write");
    served.engine.release.notify_one();
    assert!(matches!(pipe.answers(1).await[..], [(1, Answer::Put(_))]));
    assert_eq!(read_error(&pipe.hear().await.unwrap_err()), ErrorKind::Unavailable);
    shutdown.await.unwrap().unwrap();
    assert!(start.elapsed() < PATIENCE / 4, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_node_that_drains_reads_no_further_than_there_is_room_for_answers() {
    let mut served = served(|config| {
        config.max_streams_per_connection = 8;
        config.drain_timeout = PATIENCE;
    })
    .await;
    let endpoint = Endpoint::from_shared(format!("http://{}", served.node.addr())).unwrap();
    let channel = endpoint.initial_stream_window_size(8 << 10).connect().await.unwrap();
    let mut pipe = Pipe::open(&mut KvClient::new(channel)).await;
    pipe.say((0..8).map(|number| command(number, Request::Put(put("held", "v")))));
    for _ in 0..50 {
        pipe.say((0..100).map(|number| command(number, Request::Get(get("k")))));
    }
    let ops = served.node.ops_addr();
    metric(ops, "flaredb_requests_in_flight 8").await;
    let _ = served.kv.get(get("k")).await.unwrap();
    let shutdown = tokio::spawn(served.node.shutdown());
    served.engine.release.notify_waiters();
    // The client reads nothing.
    let (mut received, mut quiet) = (0, 0);
    while quiet < 20 {
        let before = std::mem::replace(&mut received, gauge(ops, "flaredb_pipeline_commands_total").await);
        quiet = if before == received { quiet + 1 } else { 0 };
    }
    assert!(received < 1_000, "{received}");
    let mut answers = 0;
    let status = loop {
        match pipe.hear().await {
            Ok(more) => answers += more.unwrap().len(),
            Err(status) => break status,
        }
    };
    assert_eq!(answers, 5_008);
    assert_eq!(read_error(&status), ErrorKind::Unavailable);
    shutdown.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_pipeline_that_is_flooded_leaves_the_others_their_turn() {
    let served = served(|_| {}).await;
    let mut pipe = Pipe::open(&mut served.kv.clone()).await;
    for number in 0..20_000 {
        pipe.say([command(number, Request::Get(get("k")))]);
    }
    let others = async {
        let (mut most, mut seen) = (0, 0);
        while seen < 20_000 {
            tokio::task::yield_now().await;
            let now = served.engine.gets.load(Ordering::Relaxed);
            most = most.max(now - seen);
            seen = now;
        }
        most
    };
    let (most, _) = tokio::join!(timeout(PATIENCE, others), pipe.answers(20_000));
    let most = most.unwrap();
    assert!(most < 512, "{most} commands in a turn");
}

#[tokio::test]
async fn commands_that_hang_are_told_the_truth_and_do_not_hold_up_the_end() {
    let limit = Duration::from_secs(2);
    let mut served = served(|config| config.drain_timeout = limit).await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    let absent = v1::condition::Condition::Absent(v1::condition::Absent {});
    let mut locked = swap("locked", absent);
    locked.options = Some(v1::WriteOptions { condition_wait_ms: Some(60_000), ..Default::default() });
    pipe.say([
        command(1, Request::Put(put("stuck", "v"))),
        command(2, Request::Get(get("stuck"))),
        command(3, Request::CompareAndSwap(locked)),
    ]);
    metric(served.node.ops_addr(), "flaredb_requests_in_flight 2").await;
    metric(served.node.ops_addr(), "flaredb_requests_waiting 2").await;
    let shutdown = tokio::spawn(served.node.shutdown());
    let first = pipe.answers(1).await;
    assert_eq!(first[0].0, 3, "nobody comes for whom it waits");
    assert_eq!(failed(&first[0].1, Call::Write), ErrorKind::Unknown);
    let rest = pipe.answers(2).await;
    assert_eq!(failed(&rest[0].1, Call::Write), ErrorKind::Unknown);
    assert_eq!(failed(&rest[1].1, Call::Read), ErrorKind::Unavailable);
    assert_eq!(read_error(&pipe.hear().await.unwrap_err()), ErrorKind::Unavailable);
    // What holds it up does so for longer; how soon it ends is the machine's business too.
    timeout(PATIENCE, shutdown).await.expect("the end is not held up").unwrap().unwrap();
}

#[tokio::test]
async fn a_write_that_may_wait_takes_no_place_and_has_the_time_it_asks_for() {
    let mut served = served(|config| {
        config.max_in_flight = 1;
        config.request_timeout = Duration::from_millis(100);
    })
    .await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    let absent = v1::condition::Condition::Absent(v1::condition::Absent {});
    let mut locked = swap("locked", absent);
    locked.options = Some(v1::WriteOptions { condition_wait_ms: Some(400), ..Default::default() });
    let start = Instant::now();
    pipe.say([command(1, Request::CompareAndSwap(locked))]);
    served.engine.waiting.notified().await;
    assert!(matches!(pipe.ask(Request::Get(get("k"))).await, Answer::Get(_)));
    let answers = pipe.answers(1).await;
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    assert!(matches!(answers[..], [(1, Answer::CompareAndSwap(_))]));
    metric(
        served.node.ops_addr(),
        "flaredb_request_duration_seconds_count{method=\"compare_and_swap\",outcome=\"waited\"} 1",
    )
    .await;
}

#[tokio::test]
async fn a_message_that_cannot_be_taken_ends_the_pipeline_once_the_rest_is_answered() {
    let mut served = served(|config| config.max_message_bytes = Some(1 << 10)).await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    pipe.say([command(1, Request::Put(put("held", "v")))]);
    served.engine.waiting.notified().await;
    pipe.say([command(2, Request::Put(put("k", vec![7; 2 << 10])))]);
    metric(served.node.ops_addr(), "flaredb_requests_refused_total 1").await;
    served.engine.release.notify_one();
    assert!(matches!(pipe.answers(1).await[..], [(1, Answer::Put(_))]));
    assert_eq!(read_error(&pipe.hear().await.unwrap_err()), ErrorKind::InvalidArgument);
    quiet(&served).await;
}

#[tokio::test]
async fn a_message_of_too_many_commands_ends_the_pipeline_and_none_of_them_is_begun() {
    let mut served = served(|_| {}).await;
    let mut pipe = Pipe::open(&mut served.kv).await;
    pipe.say((0..MAX_COMMANDS as u64).map(|number| command(number, Request::Get(get("k")))));
    pipe.answers(MAX_COMMANDS).await;
    pipe.say((0..=MAX_COMMANDS as u64).map(|number| command(number, Request::Put(put("k", "v")))));
    assert_eq!(read_error(&pipe.hear().await.unwrap_err()), ErrorKind::InvalidArgument);
    assert!(served.engine.get(&Key::new("k").unwrap()).await.unwrap().is_none());
    metric(served.node.ops_addr(), "flaredb_requests_refused_total 1").await;
    quiet(&served).await;
}

#[tokio::test]
async fn a_pipeline_on_another_connection_is_another_pipeline() {
    let mut served = served(|_| {}).await;
    let one = Pipe::open(&mut served.kv).await;
    let mut two = Pipe::open(&mut KvClient::new(channel(served.node.addr()).await)).await;
    one.say([command(1, Request::Get(get("stuck")))]);
    assert!(matches!(two.ask(Request::Get(get("k"))).await, Answer::Get(_)));
    drop(one);
    assert!(matches!(two.ask(Request::Get(get("k"))).await, Answer::Get(_)));
}

#[tokio::test]
async fn a_client_that_rests_in_the_middle_of_a_message_keeps_no_room() {
    let served = served(|config| config.stall_timeout = Duration::from_millis(200)).await;
    let mut client = RawClient::connect(served.node.addr()).await;
    let mut request = client.open("/flaredb.kv.v1.Kv/Pipeline", None);
    assert!(request.answer().await.is_none());
    request.send(vec![0, 0, 0, 0, 100, 7, 7]);
    let ops = served.node.ops_addr();
    metric(ops, "flaredb_request_bytes_in_flight 7").await;
    metric(ops, "flaredb_requests_total{method=\"pipeline\",code=\"unavailable\"} 1").await;
    quiet(&served).await;
}

#[tokio::test]
async fn a_client_that_has_said_all_does_not_hold_up_the_end() {
    let limit = Duration::from_secs(1);
    let mut served = served(|config| config.drain_timeout = limit).await;
    let Pipe { say, hear } = Pipe::open(&mut served.kv).await;
    say.send(v1::PipelineRequest { commands: vec![command(1, Request::Put(put("stuck", "v")))] }).unwrap();
    served.engine.waiting.notified().await;
    drop(say);
    let shutdown = tokio::spawn(served.node.shutdown());
    let mut pipe = Pipe { say: mpsc::unbounded_channel().0, hear };
    assert_eq!(failed(&pipe.answers(1).await[0].1, Call::Write), ErrorKind::Unknown);
    // What holds it up does so for longer; how soon it ends is the machine's business too.
    timeout(PATIENCE, shutdown).await.expect("the end is not held up").unwrap().unwrap();
}
