use rdb_engine_api::ErrorKind;
use rdb_proto::kv::v1;

use crate::double::{BEGINNING, SESSION};
use crate::harness::{read_error, served, write_error};

#[tokio::test]
async fn a_session_is_opened_resumed_and_ended() {
    let mut served = served(|_| {}).await;
    let request = v1::OpenSessionRequest { idle_ms: Some(1_500) };
    let session = served.kv.open_session(request).await.unwrap().into_inner().session.unwrap();
    assert_eq!((session.id, session.life, session.window, session.idle_ms), (SESSION, 1, 1, 1_500));
    let request = v1::ResumeSessionRequest { session: SESSION };
    let resumed = served.kv.resume_session(request).await.unwrap().into_inner().session;
    assert_eq!(resumed, Some(v1::Session { idle_ms: 600_000, ..session }));
    let request = v1::ResumeSessionRequest { session: 404 };
    assert_eq!(served.kv.resume_session(request).await.unwrap().into_inner().session, None);
    let request = v1::EndSessionRequest { session: SESSION };
    assert_eq!(served.kv.end_session(request).await.unwrap().into_inner(), v1::EndSessionResponse {});
}

#[tokio::test]
async fn what_became_of_a_write_is_told() {
    let mut served = served(|_| {}).await;
    let mut settle = async |sequence| {
        let stamp = v1::Stamp { session: SESSION, life: 1, sequence, acknowledged: 4 };
        served.kv.settle(v1::SettleRequest { stamp: Some(stamp) }).await
    };
    let outcome = settle(5).await.unwrap().into_inner().outcome.unwrap().outcome;
    let Some(v1::outcome::Outcome::Committed(commit)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(commit.version, BEGINNING.get());
    assert_eq!(settle(6).await.unwrap().into_inner().outcome, None);
    assert_eq!(read_error(&settle(4).await.unwrap_err()), ErrorKind::Unknown);
}

#[tokio::test]
async fn a_session_or_number_of_nothing_is_an_invalid_argument() {
    let mut served = served(|_| {}).await;
    let status = served.kv.resume_session(v1::ResumeSessionRequest { session: 0 }).await.unwrap_err();
    assert_eq!(read_error(&status), ErrorKind::InvalidArgument);
    let status = served.kv.end_session(v1::EndSessionRequest { session: 0 }).await.unwrap_err();
    assert_eq!(write_error(&status).kind(), ErrorKind::InvalidArgument);
    for stamp in [None, Some(v1::Stamp { session: SESSION, life: 1, sequence: 0, acknowledged: 0 })] {
        let status = served.kv.settle(v1::SettleRequest { stamp }).await.unwrap_err();
        assert_eq!(read_error(&status), ErrorKind::InvalidArgument);
    }
}

#[tokio::test]
async fn the_engines_time_is_told() {
    let mut served = served(|_| {}).await;
    assert_eq!(served.kv.time(v1::TimeRequest {}).await.unwrap().into_inner().time_ms, 1_234);
}
