//! What a request leaves behind for those who look for it: an id at the node, in errors, and in the log.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use rdb_client::{Engine, EngineExt, Error, ErrorKind, RetryPolicy};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};

use super::fake::{Act, Fake};
use super::key;

#[tokio::test]
async fn a_request_keeps_its_id_over_its_attempts() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let busy = Act::Fail(Error::new(ErrorKind::Unavailable, "busy"));
    fake.order([busy.clone(), busy]);
    client.put(&key(), "v").await.unwrap();
    client.get(&key()).await.unwrap();
    let ids = fake.request_ids();
    let ids: Vec<_> = ids.iter().map(|id| id.as_deref().unwrap()).collect();
    assert!(ids.len() == 4 && ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
}

#[tokio::test]
async fn an_error_that_only_the_nodes_log_can_explain_names_the_request() {
    let fake = Fake::start().await;
    let client = fake.builder().retry(RetryPolicy::never()).connect().await.unwrap();
    for kind in ErrorKind::ALL {
        fake.order([Act::Fail(Error::new(kind, "no"))]);
        let error = client.put(&key(), "v").await.unwrap_err();
        let id = fake.request_ids().pop().unwrap().unwrap();
        let named = error.to_string().contains(&format!("request=`{id}`"));
        assert_eq!(named, matches!(kind, ErrorKind::Unknown | ErrorKind::Internal), "{error}");
    }
}

#[tokio::test]
async fn a_request_leaves_a_span_without_what_it_carried() {
    let log = Log::default();
    // While there is one subscriber, tracing asks whichever thread comes by first whether anybody listens, and
    // remembers the answer for all: that may be another test's, where nobody does.
    let _second = Dispatch::new(Log::default());
    let _guard = tracing::subscriber::set_default(log.clone());
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order([
        Act::Fail(Error::new(ErrorKind::Unavailable, "busy")),
        Act::Fail(Error::new(ErrorKind::Exhausted, "full")),
    ]);
    client.put(&key(), "secret-value").await.unwrap_err();
    let id = fake.request_ids().pop().unwrap().unwrap();
    let spans = log.0.lock();
    let span = spans.iter().find(|span| span.get("request") == Some(&id)).unwrap();
    assert_eq!(span["method"], "\"/flaredb.kv.v1.Kv/Write\"");
    assert_eq!((span["attempts"].as_str(), span["outcome"].as_str()), ("2", "\"exhausted\""));
    assert!(!format!("{spans:?}").contains("secret"));
}

/// Keeps the fields of every span.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<BTreeMap<String, String>>>>);

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").unwrap();
        self.0.insert(field.name().to_owned(), text);
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("rdb_client")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut spans = self.0.lock();
        let mut fields = BTreeMap::new();
        attributes.record(&mut Fields(&mut fields));
        spans.push(fields);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let mut spans = self.0.lock();
        values.record(&mut Fields(&mut spans[id.into_u64() as usize - 1]));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
