//! How nodes come, stay and go, and what the placement driver knows of it.

use rdb_client::StoreState;
use rdb_engine_api::{Engine as _, EngineExt as _, ErrorKind};
use rdb_pd::PlacementDriver;
use rdb_server::Serving as _;

use crate::harness::{client, driver, holder, key, mem, metric, node, sled, stores, until};
use crate::relay::{Relay, Way};

/// How the only store that is not replaced fares.
async fn state(pd: &PlacementDriver) -> StoreState {
    let states: Vec<_> = stores(pd).await.into_values().map(|(state, _)| state).collect();
    let present: Vec<_> = states.iter().filter(|state| **state != StoreState::Replaced).collect();
    assert_eq!(present.len(), 1, "{states:?}");
    *present[0]
}

#[tokio::test]
async fn a_node_registers_and_is_found() {
    let directory = tempfile::tempdir().unwrap();
    for (engine, place) in [(mem(), None), (sled(directory.path()), Some(directory.path()))] {
        let pd = driver(mem()).await;
        let error = client(pd.addr()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
        let node = node(&engine, pd.addr(), place).await.unwrap();
        let known = stores(&pd).await;
        let expected = (StoreState::Up, node.addr().to_string());
        assert_eq!(known.values().collect::<Vec<_>>(), [&expected]);
        assert_eq!(holder(&pd).await, (*known.keys().next().unwrap(), 1));
        let client = client(pd.addr()).await.unwrap();
        client.put(&key("k"), "v").await.unwrap();
        assert_eq!(engine.get(&key("k")).await.unwrap().unwrap().value, "v");
        assert_eq!(metric(node.ops_addr(), "flaredb_pd_connected").await, 1.0);
        node.shutdown().await.unwrap();
        pd.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_node_that_leaves_is_shown_as_leaving_and_then_as_silent() {
    let pd = driver(mem()).await;
    let relay = Relay::start(Way::To(pd.addr())).await;
    for round in 0..20 {
        let node = node(&mem(), relay.address(), None).await.unwrap();
        assert_eq!(state(&pd).await, StoreState::Up);
        if round % 2 == 0 {
            // Saying so takes another connection, and longer than there is to end.
            relay.turn(Way::To(pd.addr()));
        }
        node.shutdown().await.unwrap();
        assert_eq!(state(&pd).await, StoreState::Leaving);
    }
    until("silent", async || state(&pd).await == StoreState::Silent).await;
}

#[tokio::test]
async fn a_node_that_is_gone_without_a_word_is_silent_after_five_intervals() {
    let pd = driver(mem()).await;
    drop(node(&mem(), pd.addr(), None).await.unwrap());
    until("silent", async || match state(&pd).await {
        StoreState::Silent => true,
        other => {
            assert_eq!(other, StoreState::Up);
            false
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_engine_has_stopped_is_shown_as_such() {
    let (pd, engine) = (driver(mem()).await, mem());
    let node = node(&engine, pd.addr(), None).await.unwrap();
    let client = client(pd.addr()).await.unwrap();
    engine.close().await.unwrap();
    assert_eq!(client.put(&key("k"), "v").await.unwrap_err().kind(), ErrorKind::Closed);
    until("told", async || state(&pd).await == StoreState::EngineClosed).await;
    drop(node);
}

#[tokio::test]
async fn a_member_serves_while_the_placement_driver_is_gone_and_registers_when_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let (pd, relay) = (driver(mem()).await, Relay::start(Way::Gone).await);
    relay.turn(Way::To(pd.addr()));
    let first = node(&sled(directory.path()), relay.address(), Some(directory.path())).await.unwrap();
    let store = holder(&pd).await.0;
    first.shutdown().await.unwrap();

    relay.turn(Way::Gone);
    let again = node(&sled(directory.path()), relay.address(), Some(directory.path())).await.unwrap();
    let direct = rdb_client::Client::connect(again.addr().to_string()).await.unwrap();
    direct.put(&key("k"), "v").await.unwrap();
    assert_eq!(metric(again.ops_addr(), "flaredb_pd_connected").await, 0.0);
    assert_ne!(stores(&pd).await[&store].1, again.addr().to_string(), "nobody has told it yet");

    relay.turn(Way::To(pd.addr()));
    let expected = (StoreState::Up, again.addr().to_string());
    until("registered", async || stores(&pd).await[&store] == expected).await;
    assert_eq!(holder(&pd).await, (store, 2));
    assert_eq!(stores(&pd).await.len(), 1);
    until("connected", async || metric(again.ops_addr(), "flaredb_pd_connected").await == 1.0).await;

    // And once more, with the node running all along.
    relay.turn(Way::Gone);
    until("lost", async || metric(again.ops_addr(), "flaredb_pd_connected").await == 0.0).await;
    until("silent", async || stores(&pd).await[&store].0 == StoreState::Silent).await;
    relay.turn(Way::To(pd.addr()));
    until("back", async || stores(&pd).await[&store].0 == StoreState::Up).await;
    again.shutdown().await.unwrap();
}

#[tokio::test]
async fn two_volatile_nodes_do_not_take_the_range_from_each_other_for_ever() {
    let pd = driver(mem()).await;
    let first = node(&mem(), pd.addr(), None).await.unwrap();
    let follows = client(pd.addr()).await.unwrap();
    follows.put(&key("k"), "first").await.unwrap();
    let second = node(&mem(), pd.addr(), None).await.unwrap();
    let (holder_then, epoch) = holder(&pd).await;
    let address = |store: u64, known: &std::collections::BTreeMap<u64, (StoreState, String)>| {
        (known[&store].0, known[&store].1.clone())
    };
    assert_eq!(address(holder_then, &stores(&pd).await), (StoreState::Up, second.addr().to_string()));
    until("the first has been told", async || metric(first.ops_addr(), "flaredb_pd_connected").await == 0.0)
        .await;
    // Both have gone on for long enough to try several times.
    let heard = metric(pd.ops_addr(), "flaredb_pd_heartbeats_total").await;
    until("many heartbeats", async || {
        metric(pd.ops_addr(), "flaredb_pd_heartbeats_total").await >= heard + 20.0
    })
    .await;
    assert_eq!(metric(pd.ops_addr(), "flaredb_pd_registrations_total").await, 2.0);
    assert_eq!(holder(&pd).await, (holder_then, epoch));
    let replaced = stores(&pd).await.into_values().filter(|(state, _)| *state == StoreState::Replaced);
    assert_eq!(replaced.map(|(_, address)| address).collect::<Vec<_>>(), [first.addr().to_string()]);
    // New clients find the second; who is connected to the first stays there, on one line of versions.
    assert_eq!(client(pd.addr()).await.unwrap().get(&key("k")).await.unwrap(), None);
    assert_eq!(follows.get(&key("k")).await.unwrap().unwrap().value, "first");
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_volatile_node_registers_anew_at_a_volatile_driver_that_has_forgotten_it() {
    let relay = Relay::start(Way::Gone).await;
    let before = driver(mem()).await;
    relay.turn(Way::To(before.addr()));
    let engine = mem();
    let node = node(&engine, relay.address(), None).await.unwrap();
    let known = client(relay.address()).await.unwrap();
    known.put(&key("k"), "v").await.unwrap();
    relay.turn(Way::Gone);
    before.shutdown().await.unwrap();

    let after = driver(mem()).await;
    relay.turn(Way::To(after.addr()));
    let expected = (StoreState::Up, node.addr().to_string());
    until("registered anew", async || stores(&after).await.values().any(|store| *store == expected)).await;
    assert_eq!(stores(&after).await.len(), 1);
    let found = client(relay.address()).await.unwrap();
    assert_eq!(found.get(&key("k")).await.unwrap().unwrap().value, "v");
    assert_eq!(known.get(&key("k")).await.unwrap().unwrap().value, "v", "who is connected loses nothing");
    until("connected", async || metric(node.ops_addr(), "flaredb_pd_connected").await == 1.0).await;
    node.shutdown().await.unwrap();
}
