//! What the client makes of HTTP/2's own failures, proven against a server that speaks HTTP/2 by hand.

#![allow(clippy::unwrap_used)] // a helper of a test that panics has failed it

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use h2::server::SendResponse;
use h2::{Reason, SendStream};
use prost::Message;
use rdb_client::{
    Bytes, Client, Commit, Durability, EngineExt, EngineInfo, ErrorKind, Key, Outcome, Version,
};
use rdb_proto::kv::v1;
use tokio::net::TcpListener;
use tonic::codegen::http::{HeaderMap, Response};

/// Serves the node's description, and resets the first write, or the stream that brings it, with this reason.
/// Counts the writes.
async fn resetting(reason: Reason, pipelines: usize) -> (Client, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&writes);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
                    match method.as_str() {
                        "Info" => answer(&mut respond, &info()),
                        "Write" | "Pipeline" if counted.fetch_add(1, Ordering::SeqCst) == 0 => {
                            // Not before the message is there: that the request was not sent is no way out.
                            let mut body = request.into_body();
                            tokio::spawn(async move {
                                assert!(body.data().await.unwrap().is_ok());
                                respond.send_reset(reason);
                            });
                        }
                        "Write" => answer(&mut respond, &v1::WriteResponse::from(outcome())),
                        "Pipeline" => {
                            let mut body = request.into_body();
                            tokio::spawn(async move {
                                let message = body.data().await.unwrap().unwrap();
                                answer(&mut respond, &answered(message));
                            });
                        }
                        other => panic!("nobody asked for {other}"),
                    }
                }
            });
        }
    });
    (Client::builder().endpoint(address).pipelines(pipelines).connect().await.unwrap(), writes)
}

/// The writes of a message of commands, answered.
fn answered(message: Bytes) -> v1::PipelineResponse {
    let message = v1::PipelineRequest::decode(message.slice(5..)).unwrap();
    let answer_to = |command: &v1::Command| v1::Answer {
        number: command.number,
        answer: Some(v1::answer::Answer::Write(outcome().into())),
    };
    v1::PipelineResponse { answers: message.commands.iter().map(answer_to).collect() }
}

fn begin_answer(respond: &mut SendResponse<Bytes>, message: &impl Message) -> SendStream<Bytes> {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut body = respond.send_response(head, false).unwrap();
    let message = message.encode_to_vec();
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&message);
    body.send_data(frame.into(), false).unwrap();
    body
}

fn info() -> v1::InfoResponse {
    let info = EngineInfo::new("raw", 1, Durability::Synced);
    v1::InfoResponse {
        engine: Some((&info).into()),
        server_version: "0.0.0".into(),
        max_message_bytes: rdb_proto::max_message_bytes(&info.limits) as u64,
    }
}

fn outcome() -> Outcome {
    Outcome::Committed(Commit { version: Version::MIN, durability: Durability::Synced })
}

fn answer(respond: &mut SendResponse<Bytes>, message: &impl Message) {
    let mut body = begin_answer(respond, message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    body.send_trailers(trailers).unwrap();
}

#[tokio::test]
async fn a_refused_stream_is_sent_again() {
    for pipelines in [0, 1] {
        let (client, writes) = resetting(Reason::REFUSED_STREAM, pipelines).await;
        client.put(&Key::new("k").unwrap(), "v").await.unwrap();
        assert_eq!(writes.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn a_stream_that_was_reset_for_another_reason_may_have_been_applied() {
    for reason in [
        Reason::NO_ERROR,
        Reason::PROTOCOL_ERROR,
        Reason::INTERNAL_ERROR,
        Reason::CANCEL,
        Reason::ENHANCE_YOUR_CALM,
        Reason::HTTP_1_1_REQUIRED,
    ] {
        for pipelines in [0, 1] {
            let (client, writes) = resetting(reason, pipelines).await;
            let error = client.put(&Key::new("k").unwrap(), "v").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unknown, "{reason:?}");
            assert_eq!(writes.load(Ordering::SeqCst), 1, "{reason:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_brought_answers_can_no_longer_say_that_it_did_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            if request.uri().path().ends_with("Info") {
                answer(&mut respond, &info());
                continue;
            }
            let mut said = request.into_body();
            tokio::spawn(async move {
                let message = said.data().await.unwrap().unwrap();
                let mut answers = begin_answer(&mut respond, &answered(message));
                said.data().await.unwrap().unwrap();
                answers.send_reset(Reason::REFUSED_STREAM);
            });
        }
    });
    let client = Client::builder().endpoint(address).pipelines(1).connect().await.unwrap();
    let key = Key::new("k").unwrap();
    client.put(&key, "v").await.unwrap();
    assert_eq!(client.put(&key, "v").await.unwrap_err().kind(), ErrorKind::Unknown);
}

#[tokio::test]
async fn a_server_that_is_no_node_is_unsupported() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let head = Response::builder().status(404).header("content-type", "text/html");
                    respond.send_response(head.body(()).unwrap(), true).unwrap();
                }
            });
        }
    });
    let error = Client::connect(address).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().starts_with("cannot connect: no FlareDB node answers there"), "{error}");
}
