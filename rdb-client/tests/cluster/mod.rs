//! What the client makes of a placement driver, proven against one that does as it is told.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::join_all;
use rdb_client::{
    Client, Engine, EngineExt, ErrorKind, Pd, PdBuilder, RetryPolicy, StoreActivity, StoreIdentity,
    StoreInfo, StoreState, TlsConfig,
};

use super::fake::certificates::{Authority, server};
use super::fake::pd::{EPOCH_MS, FakePd, Give};
use super::fake::relay::Relay;
use super::fake::{Fake, until};
use super::{SHORT, key};

const CLUSTER: u64 = 77;

fn builder(pd: &FakePd) -> PdBuilder {
    Pd::builder().endpoint(pd.address()).timeout(Duration::from_secs(10))
}

#[tokio::test]
async fn a_store_registers_and_is_found() {
    let fake = FakePd::start(CLUSTER).await;
    let pd = builder(&fake).connect().await.unwrap();
    assert_eq!((pd.cluster_id(), pd.server_version()), (CLUSTER, "0.0.1"));
    assert_eq!(pd.locate(&key()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let heartbeat = pd.heartbeat(5, "", StoreActivity::Serving).await;
    assert_eq!(heartbeat.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let info = StoreInfo::new("127.0.0.1:7440", "mem", "0.1.0").volatile(true);
    let error = pd
        .register(StoreIdentity::Member { cluster_id: CLUSTER + 1, store_id: 5 }, info.clone())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);

    let registered = pd.register(StoreIdentity::New { token: 7 }, info.clone()).await.unwrap();
    assert_eq!((registered.cluster_id, registered.store_id), (CLUSTER, 1));
    assert_eq!(registered.heartbeat_interval, Duration::from_secs(3));
    let interval = pd.heartbeat(1, "127.0.0.1:7440", StoreActivity::Leaving).await.unwrap();
    assert_eq!(interval, Duration::from_secs(3));
    let stores = pd.stores().await.unwrap();
    assert_eq!((stores.len(), &stores[0].info, stores[0].state), (1, &info, StoreState::Leaving));
    let location = pd.locate(&key()).await.unwrap();
    assert_eq!((location.store.id, location.epoch, location.end.len()), (1, 1, 0));
    assert_eq!(pd.allocate_ids(10).await.unwrap(), 1..11);
    assert_eq!(pd.allocate_ids(1).await.unwrap(), 11..12);
}

#[tokio::test]
async fn a_client_follows_the_node_to_another_port() {
    let (pd, first) = (FakePd::start(CLUSTER).await, Fake::start().await);
    pd.place(&first.address());
    let client = Client::builder().pd([pd.address()]).connect().await.unwrap();
    let clone = client.with_timeout(Duration::from_secs(8));
    assert_eq!((client.endpoint(), client.cluster_id()), (first.address(), Some(CLUSTER)));
    assert_eq!(rdb_client::backup::Meta::of(&client).cluster_id, CLUSTER.to_string());
    client.get(&key()).await.unwrap();

    let second = Fake::start().await;
    pd.place(&second.address());
    first.cut();
    drop(first);
    clone.get(&key()).await.unwrap();
    client.put(&key(), "v").await.unwrap();
    assert_eq!(second.arrivals(), 2);
    assert_eq!((client.endpoint(), clone.endpoint()), (second.address(), second.address()));
    assert_eq!(pd.calls().iter().filter(|call| **call == "locate").count(), 2);
}

#[tokio::test]
async fn a_client_that_knows_the_node_goes_on_without_the_placement_driver() {
    let (pd, node) = (FakePd::start(CLUSTER).await, Fake::start().await);
    pd.place(&node.address());
    let relay = Relay::start(pd.address(), None).await;
    let client = Client::builder().pd([relay.address()]).connect().await.unwrap();
    relay.point(None);
    node.cut();
    client.get(&key()).await.unwrap();

    let error = Client::builder().pd([relay.address()]).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().starts_with("cannot connect to the placement driver"), "{error}");
}

#[tokio::test]
async fn a_client_that_knows_the_node_goes_on_while_the_placement_driver_has_trouble_of_its_own() {
    for trouble in [ErrorKind::Closed, ErrorKind::Exhausted, ErrorKind::Internal, ErrorKind::Corrupt] {
        let (pd, node) = (FakePd::start(CLUSTER).await, Fake::start().await);
        pd.place(&node.address());
        let client = Client::builder().pd([pd.address()]).connect().await.unwrap();
        pd.fail(trouble);
        node.cut();
        client.get(&key()).await.unwrap_or_else(|error| panic!("{trouble}: {}", error.report()));
    }
}

#[tokio::test]
async fn a_placement_driver_of_another_cluster_is_refused() {
    let (pd, other) = (FakePd::start(CLUSTER).await, FakePd::start(CLUSTER + 1).await);
    let (node, foreign) = (Fake::start().await, Fake::start().await);
    pd.place(&node.address());
    other.place(&foreign.address());
    let relay = Relay::start(pd.address(), None).await;
    let client = Client::builder().pd([relay.address()]).retry(RetryPolicy::never()).connect().await.unwrap();
    let direct = Pd::connect(relay.address()).await.unwrap();
    direct.timestamp().await.unwrap();
    relay.point(Some(other.address()));
    node.cut();

    let mut errors = Vec::new();
    for _ in 0..2 {
        errors.push(direct.timestamp().await.map(drop).unwrap_err());
        errors.push(direct.allocate_ids(1).await.map(drop).unwrap_err());
        errors.push(direct.stores().await.map(drop).unwrap_err());
        errors.push(direct.locate(&key()).await.map(drop).unwrap_err());
    }
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{}", error.report());
        assert!(error.to_string().contains("expected=`77`, found=`78`"), "{error}");
    }
    let wait = async {
        loop {
            let error = client.put(&key(), "v").await.unwrap_err();
            // The broken connection may be noticed only by the first.
            if error.kind() == ErrorKind::Unavailable && error.report().contains("another cluster's") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
    assert_eq!(foreign.arrivals(), 0);

    // The right one is welcome again.
    relay.point(Some(pd.address()));
    until_ok(|| direct.timestamp()).await;
    until_ok(|| client.node_status()).await;
}

#[tokio::test]
async fn a_cluster_without_a_store_is_unavailable() {
    let pd = FakePd::start(CLUSTER).await;
    let error = Client::builder().pd([pd.address()]).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.report().ends_with("cannot find the node: no store has registered"), "{}", error.report());
}

#[tokio::test]
async fn a_node_whose_address_says_https_is_not_dialled_in_plain_text() {
    let (pd, node) = (FakePd::start(CLUSTER).await, Fake::start().await);
    pd.place(&format!("https://{}", node.address()));
    let error = Client::builder().pd([pd.address()]).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{}", error.report());
    assert!(error.report().contains("node's address says https://"), "{}", error.report());
    assert_eq!(node.arrivals(), 0);
}

#[tokio::test]
async fn endpoints_and_a_placement_driver_contradict_each_other() {
    let error = Client::builder().endpoint("a").pd(["b"]).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn a_node_is_no_placement_driver_nor_the_other_way_round() {
    let (pd, node) = (FakePd::start(CLUSTER).await, Fake::start().await);
    let error = Pd::connect(node.address()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("no FlareDB placement driver answers there"), "{error}");
    assert_eq!(Client::connect(pd.address()).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn the_placement_driver_is_reached_by_the_clients_own_tls_unless_told_otherwise() {
    let (pd, node, authority) = (FakePd::start(CLUSTER).await, Fake::start().await, Authority::new());
    let tls = || TlsConfig::default().authorities(rdb_client::Pem::bytes(authority.pem()));
    let secure = server(&authority.issue(&["localhost"]), None);
    let node_relay = Relay::start(node.address(), Some(secure.clone())).await;
    let pd_relay = Relay::start(pd.address(), Some(secure)).await;
    pd.place(&node_relay.named());
    let client = Client::builder().pd([pd_relay.named()]).tls(tls()).connect().await.unwrap();
    client.get(&key()).await.unwrap();

    pd.place(&node.address());
    let client = Client::builder().pd([pd_relay.named()]).pd_tls(tls()).connect().await.unwrap();
    client.get(&key()).await.unwrap();
}

#[tokio::test]
async fn whoever_waits_for_timestamps_goes_with_the_next_message() {
    let fake = FakePd::start(CLUSTER).await;
    let pd = builder(&fake).connect().await.unwrap();
    fake.hold(true);
    let first = tokio::spawn({
        let pd = pd.clone();
        async move { pd.timestamp().await.unwrap() }
    });
    // Alone, it goes at once.
    until(|| fake.messages() == [1]).await;
    let many: Vec<_> = (1..=100).map(|count| pd.timestamps(count)).collect();
    let release = async {
        tokio::task::yield_now().await;
        fake.hold(false);
    };
    let (many, ()) = futures::future::join(join_all(many), release).await;
    assert_eq!(fake.messages(), [1, 5_050]);
    let mut last = first.await.unwrap();
    for (place, stamps) in many.into_iter().enumerate() {
        let stamps = stamps.unwrap();
        assert_eq!(stamps.len(), place + 1);
        for stamp in stamps {
            assert!(stamp > last);
            last = stamp;
        }
    }
    assert_eq!(last.get(), (EPOCH_MS << 18) + 5_050);
}

#[tokio::test]
async fn a_message_asks_for_no_more_than_is_allowed() {
    let fake = FakePd::start(CLUSTER).await;
    let pd = builder(&fake).connect().await.unwrap();
    for count in [0, (1 << 18) + 1] {
        assert_eq!(pd.timestamps(count).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    let all = join_all((0..3).map(|_| pd.timestamps(1 << 18))).await;
    assert!(all.into_iter().all(|stamps| stamps.unwrap().len() == 1 << 18));
    assert_eq!(fake.messages(), [1 << 18; 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timestamps_increase_strictly_for_every_task_and_are_given_once_over_lost_answers() {
    let fake = FakePd::start(CLUSTER).await;
    let relay = Relay::start(fake.address(), None).await;
    let pd =
        Pd::builder().endpoint(relay.address()).timeout(Duration::from_secs(30)).connect().await.unwrap();
    fake.order([Give::Answer, Give::Lose, Give::Answer, Give::Answer, Give::Lose]);
    let tasks = (0..32).map(|_| {
        let pd = pd.clone();
        tokio::spawn(async move {
            let mut given = Vec::new();
            for _ in 0..100 {
                given.push(pd.timestamp().await.unwrap());
            }
            given
        })
    });
    let tasks: Vec<_> = tasks.collect();
    until(|| fake.messages().len() > 20).await;
    relay.point(Some(fake.address()));
    let mut all = HashSet::new();
    for given in join_all(tasks).await {
        let given = given.unwrap();
        assert!(given.is_sorted_by(|a, b| a < b));
        all.extend(given);
    }
    assert_eq!(all.len(), 3_200);
    assert!(fake.messages().len() < 3_200, "{}", fake.messages().len());
}

#[tokio::test]
async fn a_timestamp_that_does_not_come_is_unavailable_in_time_and_harms_nobody_behind() {
    let fake = FakePd::start(CLUSTER).await;
    let pd = builder(&fake).timeout(SHORT * 2).connect().await.unwrap();
    fake.order([Give::Hang]);
    let error = pd.with_timeout(SHORT).timestamp().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    // The stream that hangs is given up, and another one opened.
    pd.with_timeout(Duration::from_secs(10)).timestamp().await.unwrap();
    assert_eq!(fake.messages(), [1, 1]);
}

#[tokio::test]
async fn a_timestamp_that_is_not_greater_than_the_last_is_given_to_nobody() {
    let fake = FakePd::start(CLUSTER).await;
    let pd = builder(&fake).connect().await.unwrap();
    let first = pd.timestamp().await.unwrap();
    assert_eq!(first.physical_ms(), EPOCH_MS);
    fake.order([Give::Again]);
    let error = pd.timestamp().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("not greater than the last"), "{error}");
    assert!(pd.timestamp().await.unwrap() > first);
}

/// Waits until it works.
async fn until_ok<T, F: Future<Output = rdb_client::Result<T>>>(call: impl Fn() -> F) -> T {
    let wait = async {
        loop {
            match call().await {
                Ok(done) => return done,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("it never worked")
}
