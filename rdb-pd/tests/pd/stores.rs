//! Stores: who may register, who has the key range, and how they fare.

use std::sync::Arc;
use std::time::Duration;

use rdb_engine_api::{Engine, ErrorKind, ManualClock, Result};
use rdb_proto::pd::v1::{self, StoreActivity, StoreState};

use crate::double::{Double, Fault};
use crate::harness::{Served, answer, clock, mem, served, until};

const INTERVAL: Duration = Duration::from_secs(1);

fn info(address: &str, is_volatile: bool) -> Option<v1::StoreInfo> {
    let engine = if is_volatile { "mem" } else { "rocks" }.to_owned();
    Some(v1::StoreInfo {
        address: address.to_owned(),
        engine,
        server_version: "0.1.0".to_owned(),
        is_volatile,
    })
}

fn new(address: &str, is_volatile: bool) -> v1::RegisterRequest {
    v1::RegisterRequest { info: info(address, is_volatile), ..Default::default() }
}

impl Served {
    async fn register(&mut self, request: v1::RegisterRequest) -> Result<u64> {
        let response = answer(self.client.register(request).await)?;
        assert_eq!(response.cluster_id, self.driver.cluster_id());
        assert_eq!(response.heartbeat_interval_ms, 1_000);
        Ok(response.store_id)
    }

    /// A store that comes again with the id that it has.
    async fn again(&mut self, store_id: u64, address: &str, is_volatile: bool) -> Result<u64> {
        let cluster_id = self.driver.cluster_id();
        let info = info(address, is_volatile);
        self.register(v1::RegisterRequest { cluster_id, store_id, info, token: 0 }).await
    }

    async fn heartbeat(&mut self, store_id: u64, activity: StoreActivity) -> Result<()> {
        let cluster_id = self.driver.cluster_id();
        let request =
            v1::HeartbeatRequest { cluster_id, store_id, activity: activity.into(), address: String::new() };
        answer(self.client.heartbeat(request).await).map(|_| ())
    }

    /// Who has the range: epoch, id and address.
    async fn holder(&mut self) -> Result<(u64, u64, String)> {
        let located = answer(self.client.locate(v1::LocateRequest { key: "k".into() }).await)?;
        assert_eq!(located.cluster_id, self.driver.cluster_id());
        assert!(located.start.is_empty() && located.end.is_empty());
        let store = located.store.unwrap();
        Ok((located.epoch, store.store_id, store.info.unwrap().address))
    }

    async fn stores(&mut self) -> Vec<(u64, StoreState)> {
        let response = answer(self.client.stores(v1::StoresRequest {}).await).unwrap();
        assert_eq!(response.cluster_id, self.driver.cluster_id());
        response.stores.iter().map(|store| (store.store_id, store.state())).collect()
    }
}

async fn start() -> (Served, Arc<dyn Engine>, Arc<ManualClock>) {
    let (engine, clock) = (mem(), clock());
    (served(&engine, &clock).await, engine, clock)
}

#[tokio::test]
async fn the_first_store_has_the_range_and_a_second_durable_one_does_not_take_it() {
    let (mut pd, ..) = start().await;
    assert_eq!(pd.holder().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let first = pd.register(new("a:1", false)).await.unwrap();
    assert_eq!(pd.holder().await.unwrap(), (1, first, "a:1".to_owned()));
    for is_volatile in [false, true] {
        let next = pd.register(new("b:2", is_volatile)).await.unwrap();
        assert!(next > first);
        assert_eq!(pd.holder().await.unwrap(), (1, first, "a:1".to_owned()));
    }
    assert_eq!(pd.stores().await, [(1, StoreState::Up), (2, StoreState::Up), (3, StoreState::Up)]);
}

#[tokio::test]
async fn a_volatile_store_that_has_the_range_is_replaced_by_the_next_one() {
    let (mut pd, ..) = start().await;
    let first = pd.register(new("a:1", true)).await.unwrap();
    let second = pd.register(new("a:2", true)).await.unwrap();
    assert_eq!(pd.holder().await.unwrap(), (2, second, "a:2".to_owned()));
    let third = pd.register(new("a:3", false)).await.unwrap();
    assert_eq!(pd.holder().await.unwrap(), (3, third, "a:3".to_owned()));
    let expected = [(first, StoreState::Replaced), (second, StoreState::Replaced), (third, StoreState::Up)];
    assert_eq!(pd.stores().await, expected);
    // It does not come back: two would take the range from each other in turns.
    let error = pd.again(first, "a:1", true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("replaced"), "{error}");
    let error = pd.heartbeat(first, StoreActivity::Serving).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(pd.holder().await.unwrap().1, third);
}

#[tokio::test]
async fn a_store_that_comes_back_elsewhere_is_found_there() {
    let (mut pd, _, clock) = start().await;
    let first = pd.register(new("a:1", false)).await.unwrap();
    let second = pd.register(new("b:1", false)).await.unwrap();
    assert_eq!(pd.again(first, "a:1", false).await.unwrap(), first);
    assert_eq!(pd.holder().await.unwrap(), (1, first, "a:1".to_owned()));
    pd.heartbeat(first, StoreActivity::Leaving).await.unwrap();
    assert_eq!(pd.again(first, "a:2", false).await.unwrap(), first);
    assert_eq!(pd.holder().await.unwrap(), (2, first, "a:2".to_owned()));
    clock.advance(INTERVAL * 6);
    assert_eq!(pd.again(second, "b:2", false).await.unwrap(), second);
    assert_eq!(pd.holder().await.unwrap().0, 2);
}

#[tokio::test]
async fn a_store_that_is_up_is_not_replaced_by_a_copy_of_itself() {
    let (mut pd, _, clock) = start().await;
    let id = pd.register(new("a:1", false)).await.unwrap();
    for activity in [StoreActivity::Serving, StoreActivity::EngineClosed] {
        pd.heartbeat(id, activity).await.unwrap();
        let error = pd.again(id, "copy:1", false).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("address=`a:1`"), "{error}");
    }
    assert_eq!(pd.holder().await.unwrap(), (1, id, "a:1".to_owned()));

    // Once it is silent it may be anywhere; if it was only out of reach, it is told.
    clock.advance(INTERVAL * 6);
    assert_eq!(pd.again(id, "copy:1", false).await.unwrap(), id);
    let cluster_id = pd.driver.cluster_id();
    let of = |address: &str| v1::HeartbeatRequest {
        cluster_id,
        store_id: id,
        activity: StoreActivity::Serving.into(),
        address: address.to_owned(),
    };
    let error = answer(pd.client.heartbeat(of("a:1")).await).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    answer(pd.client.heartbeat(of("copy:1")).await).unwrap();
}

#[tokio::test]
async fn a_store_of_another_cluster_is_refused_and_both_are_named() {
    let (mut pd, ..) = start().await;
    let id = pd.register(new("a:1", false)).await.unwrap();
    let cluster = pd.driver.cluster_id();
    let other = cluster ^ 1;
    let request = v1::RegisterRequest { cluster_id: other, store_id: id, ..new("a:1", false) };
    let register = pd.register(request).await.unwrap_err();
    let request = v1::HeartbeatRequest {
        cluster_id: other,
        store_id: id,
        activity: StoreActivity::Serving.into(),
        address: String::new(),
    };
    let heartbeat = answer(pd.client.heartbeat(request).await).unwrap_err();
    for error in [register, heartbeat] {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let named = format!("its_cluster=`{other}`, this_cluster=`{cluster}`");
        assert!(error.to_string().contains(&named), "{error}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let (mut pd, ..) = start().await;
    let id = pd.register(new("a:1", false)).await.unwrap();
    let long = format!("{}:1", "a".repeat(300));
    let mut requests: Vec<_> =
        ["", "a", ":1", "a:", "a:0", "a:65536", &long].map(|address| new(address, false)).into();
    requests.push(v1::RegisterRequest::default());
    requests.push(v1::RegisterRequest { store_id: id, ..new("a:1", false) });
    let cluster_id = pd.driver.cluster_id();
    requests.push(v1::RegisterRequest { cluster_id, store_id: id + 1, ..new("a:1", false) });
    requests.push(v1::RegisterRequest { cluster_id, store_id: id, ..new("a:1", true) });
    for request in requests {
        let error = pd.register(request.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{request:?}: {error}");
    }
    for (store_id, activity) in [(id + 1, StoreActivity::Serving), (id, StoreActivity::Unspecified)] {
        let error = pd.heartbeat(store_id, activity).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    let error = answer(pd.client.locate(v1::LocateRequest { key: vec![0; 4097].into() }).await).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(pd.stores().await.len(), 1);
}

#[tokio::test]
async fn a_first_registration_that_is_sent_again_makes_one_store() {
    let (mut pd, ..) = start().await;
    let mut ids = Vec::new();
    for address in ["a:1", "a:1", "a:2"] {
        ids.push(pd.register(v1::RegisterRequest { token: 7, ..new(address, false) }).await.unwrap());
    }
    assert_eq!(ids, [1, 1, 1]);
    assert_eq!(pd.holder().await.unwrap(), (2, 1, "a:2".to_owned()));
    assert_eq!(pd.register(v1::RegisterRequest { token: 8, ..new("a:1", false) }).await.unwrap(), 2);
}

#[tokio::test]
async fn a_heartbeat_tells_how_a_store_fares_and_silence_does_too() {
    let (mut pd, _, clock) = start().await;
    let id = pd.register(new("a:1", false)).await.unwrap();
    for (activity, state) in [
        (StoreActivity::Serving, StoreState::Up),
        (StoreActivity::Leaving, StoreState::Leaving),
        (StoreActivity::EngineClosed, StoreState::EngineClosed),
    ] {
        pd.heartbeat(id, activity).await.unwrap();
        assert_eq!(pd.stores().await, [(id, state)]);
        clock.advance(INTERVAL * 5);
        assert_eq!(pd.stores().await, [(id, state)]);
        clock.advance(Duration::from_millis(1));
        assert_eq!(pd.stores().await, [(id, StoreState::Silent)]);
    }
    let stores = answer(pd.client.stores(v1::StoresRequest {}).await).unwrap().stores;
    assert_eq!(stores[0].silent_ms, Some(5_001));
}

#[tokio::test]
async fn stores_ids_and_the_range_outlive_the_driver_and_heartbeats_do_not() {
    let (mut pd, engine, clock) = start().await;
    pd.register(new("a:1", true)).await.unwrap();
    let id = pd.register(new("a:2", true)).await.unwrap();
    let first = answer(pd.client.allocate_ids(v1::AllocateIdsRequest { count: 10 }).await).unwrap().first;
    drop(pd);
    let mut pd = served(&engine, &clock).await;
    assert_eq!(pd.holder().await.unwrap(), (2, id, "a:2".to_owned()));
    assert_eq!(pd.stores().await, [(1, StoreState::Replaced), (id, StoreState::Silent)]);
    let stores = answer(pd.client.stores(v1::StoresRequest {}).await).unwrap().stores;
    assert_eq!(stores[1].silent_ms, None);
    let next = answer(pd.client.allocate_ids(v1::AllocateIdsRequest { count: 1 }).await).unwrap().first;
    assert_eq!((first, next), (3, 13));
    // And it is enough to be heard of again.
    pd.heartbeat(id, StoreActivity::Serving).await.unwrap();
    assert_eq!(pd.stores().await[1], (id, StoreState::Up));
}

#[tokio::test]
async fn ids_are_given_once_in_consecutive_blocks() {
    let (pd, ..) = start().await;
    let mut blocks = Vec::new();
    let callers = (0..8).map(|caller| {
        let mut client = pd.client.clone();
        tokio::spawn(async move {
            let mut blocks = Vec::new();
            for call in 0..20 {
                let count = 1 + caller * 20 + call;
                let block = answer(client.allocate_ids(v1::AllocateIdsRequest { count }).await).unwrap();
                assert_eq!(block.count, count);
                blocks.push((block.first, block.first + u64::from(count)));
            }
            blocks
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        blocks.extend(caller.await.unwrap());
    }
    blocks.sort_unstable();
    assert_eq!(blocks[0].0, 1);
    assert!(blocks.windows(2).all(|pair| pair[0].1 == pair[1].0), "nothing is lost either");
    let mut client = pd.client.clone();
    for count in [0, 1_000_001] {
        let error = answer(client.allocate_ids(v1::AllocateIdsRequest { count }).await).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}

#[tokio::test]
async fn what_became_of_a_change_is_found_out() {
    for fault in [Fault::UnknownApplied, Fault::UnknownLost, Fault::UnknownLate] {
        let double = Double::new();
        let engine: Arc<dyn Engine> = Arc::clone(&double) as _;
        let mut pd = served(&engine, &clock()).await;
        double.plan([fault]);
        assert_eq!(pd.register(new("a:1", false)).await.unwrap(), 1, "{fault:?}");
        assert_eq!(pd.stores().await, [(1, StoreState::Up)], "{fault:?}");
        double.plan([fault, fault]);
        let request = v1::AllocateIdsRequest { count: 5 };
        let first = answer(pd.client.allocate_ids(request).await).unwrap().first;
        let next = answer(pd.client.allocate_ids(request).await).unwrap().first;
        assert!(first > 1 && next >= first + 5, "{fault:?}: {first} {next}");
    }
    let double = Double::new();
    let engine: Arc<dyn Engine> = Arc::clone(&double) as _;
    let mut pd = served(&engine, &clock()).await;
    for (fault, kind) in [(Fault::Refused, ErrorKind::Unavailable), (Fault::UnknownLost, ErrorKind::Unknown)]
    {
        double.plan([fault; 64]);
        assert_eq!(pd.register(new("a:1", false)).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn of_many_replaced_stores_the_oldest_are_forgotten() {
    let (mut pd, ..) = start().await;
    for _ in 0..1_003 {
        pd.register(new("a:1", true)).await.unwrap();
    }
    let stores = pd.stores().await;
    assert_eq!(stores.len(), 1_000);
    assert_eq!((stores[0].0, stores[999].0), (4, 1_003));
    assert_eq!(pd.holder().await.unwrap().1, 1_003);
}

#[tokio::test]
async fn the_metrics_tell_of_stores_and_ids() {
    let (mut pd, _, clock) = start().await;
    pd.register(new("a:1", true)).await.unwrap();
    let id = pd.register(new("a:1", true)).await.unwrap();
    pd.heartbeat(id, StoreActivity::Serving).await.unwrap();
    answer(pd.client.allocate_ids(v1::AllocateIdsRequest { count: 5 }).await).unwrap();
    let address = pd.driver.ops_addr();
    for line in [
        "flaredb_pd_stores{state=\"up\"} 1",
        "flaredb_pd_stores{state=\"replaced\"} 1",
        "flaredb_pd_stores{state=\"silent\"} 0",
        "flaredb_pd_registrations_total 2",
        "flaredb_pd_heartbeats_total 1",
        "flaredb_pd_ids_total 5",
    ] {
        until(line, async || metrics(address).await.contains(line)).await;
    }
    clock.advance(INTERVAL * 6);
    let line = "flaredb_pd_stores{state=\"silent\"} 1";
    until(line, async || metrics(address).await.contains(line)).await;
}

pub(crate) async fn metrics(address: std::net::SocketAddr) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}
