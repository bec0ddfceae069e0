//! Which cluster a node, a placement driver and a client belong to, and that nobody is taken for another.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rdb_client::StoreState;
use rdb_engine_api::{Engine as _, EngineExt as _, ErrorKind};
use rdb_server::service::Bound;
use rdb_server::{NodeConfig, Serving as _, serve_alone, serve_in_cluster};

use crate::harness::{client, driver, flags, holder, key, mem, metric, node, sled, stores, until};
use crate::relay::{Relay, Way};

/// The small files of a directory that are not the engine's.
fn notes(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("FLAREDB."))
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

#[tokio::test]
async fn a_node_that_was_never_registered_refuses_to_start_without_its_placement_driver() {
    let directory = tempfile::tempdir().unwrap();
    let (pd, relay) = (driver(mem()).await, Relay::start(Way::Gone).await);
    let engine = sled(directory.path());
    let error = node(&engine, relay.address(), Some(directory.path())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
    assert!(error.report().contains(&relay.address().to_string()), "{}", error.report());
    assert_eq!(node(&mem(), relay.address(), None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    engine.close().await.unwrap();

    // Alone it serves all the same, and what it takes then comes with it into the cluster.
    let bound = Bound::new(NodeConfig::on_free_ports()).await.unwrap();
    let alone = serve_alone(bound, sled(directory.path()), Some(directory.path().to_owned())).await.unwrap();
    let direct = rdb_client::Client::connect(alone.addr().to_string()).await.unwrap();
    let put = direct.put(&key("k"), "v").await.unwrap();
    alone.shutdown().await.unwrap();
    relay.turn(Way::To(pd.addr()));
    let member = node(&sled(directory.path()), relay.address(), Some(directory.path())).await.unwrap();
    assert_eq!(stores(&pd).await.len(), 1);
    let found = client(pd.addr()).await.unwrap().get(&key("k")).await.unwrap().unwrap();
    assert_eq!((&*found.value, found.version), (&b"v"[..], put.version));
    member.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_data_directory_of_another_cluster_is_refused_and_nothing_is_changed() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (driver(mem()).await, driver(mem()).await);
    let first = node(&sled(directory.path()), ours.addr(), Some(directory.path())).await.unwrap();
    let put = client(ours.addr()).await.unwrap().put(&key("k"), "v").await.unwrap();
    first.shutdown().await.unwrap();

    let before = notes(directory.path());
    assert!(before.contains_key("FLAREDB.store"), "{before:?}");
    let engine = sled(directory.path());
    let error = node(&engine, theirs.addr(), Some(directory.path())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        error.to_string(),
        format!(
            "data directory and placement driver belong to different clusters. directory=`{}`, \
             placement_driver=`{}`",
            ours.cluster_id(),
            theirs.cluster_id()
        )
    );
    engine.close().await.unwrap();
    assert_eq!(notes(directory.path()), before);
    assert_eq!(stores(&theirs).await.len(), 0);

    let again = node(&sled(directory.path()), ours.addr(), Some(directory.path())).await.unwrap();
    let found = client(ours.addr()).await.unwrap().get(&key("k")).await.unwrap().unwrap();
    assert_eq!(found.version, put.version);
    assert_eq!(stores(&ours).await.len(), 1);
    again.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_member_stays_one_when_another_clusters_placement_driver_comes_in_place_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs, relay) = (driver(mem()).await, driver(mem()).await, Relay::start(Way::Gone).await);
    relay.turn(Way::To(ours.addr()));
    let first = node(&sled(directory.path()), relay.address(), Some(directory.path())).await.unwrap();
    first.shutdown().await.unwrap();
    let before = notes(directory.path());

    relay.turn(Way::Gone);
    let member = node(&sled(directory.path()), relay.address(), Some(directory.path())).await.unwrap();
    for _ in 0..2 {
        let tried = relay.accepted();
        relay.turn(Way::To(theirs.addr()));
        until("tried and refused", async || {
            relay.accepted() > tried && metric(member.ops_addr(), "flaredb_pd_connected").await == 0.0
        })
        .await;
        assert_eq!(stores(&theirs).await.len(), 0);
        relay.turn(Way::To(ours.addr()));
        until("back", async || metric(member.ops_addr(), "flaredb_pd_connected").await == 1.0).await;
    }
    assert_eq!(notes(directory.path()), before);
    assert_eq!(stores(&ours).await.len(), 1);
    member.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_client_refuses_another_cluster_than_the_first() {
    let (ours, theirs, relay) = (driver(mem()).await, driver(mem()).await, Relay::start(Way::Gone).await);
    let (here, there) = (mem(), mem());
    let node_here = node(&here, ours.addr(), None).await.unwrap();
    let node_there = node(&there, theirs.addr(), None).await.unwrap();
    relay.turn(Way::To(ours.addr()));
    let client = client(relay.address()).await.unwrap();
    client.put(&key("k"), "v").await.unwrap();

    relay.turn(Way::To(theirs.addr()));
    client.put(&key("k"), "w").await.unwrap(); // its node is still there: nobody is asked
    node_here.shutdown().await.unwrap();
    let mut report = String::new();
    until("refused", async || {
        let error = client.put(&key("k"), "x").await.unwrap_err();
        report = error.report().to_string();
        // The end of the connection may be noticed only by the first. The right one may come back, so this is
        // nothing for good.
        error.kind() == ErrorKind::Unavailable && report.contains("placement driver is another cluster's")
    })
    .await;
    for cluster in [ours.cluster_id(), theirs.cluster_id()] {
        assert!(report.contains(&cluster.to_string()), "{report}");
    }
    assert_eq!(there.get(&key("k")).await.unwrap(), None);
    node_there.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_registration_whose_answer_is_lost_makes_one_store() {
    const ADVERTISED: &str = "lost-and-found.example:7440";
    let directory = tempfile::tempdir().unwrap();
    let pd = driver(mem()).await;
    let relay = Relay::start(Way::Deaf(pd.addr(), ADVERTISED)).await;
    for round in 0..3 {
        relay.turn(Way::Deaf(pd.addr(), ADVERTISED));
        let engine = sled(directory.path());
        let bound = Bound::new(NodeConfig::on_free_ports()).await.unwrap();
        let pd_flags = flags(&["--pd", &relay.address().to_string(), "--advertise", ADVERTISED]);
        let starting =
            serve_in_cluster(bound, Arc::clone(&engine), pd_flags, Some(directory.path().to_owned()));
        let taken = async {
            until("registered", async || {
                stores(&pd).await.values().any(|store| store == &(StoreState::Up, ADVERTISED.to_owned()))
            })
            .await;
            // Not before the second round's own has come, too.
            let made = f64::from(round + 1);
            until("counted", async || metric(pd.ops_addr(), "flaredb_pd_registrations_total").await >= made)
                .await;
            relay.turn(Way::Gone);
        };
        let (started, ()) = tokio::join!(starting, taken);
        assert_eq!(started.unwrap_err().kind(), ErrorKind::Unavailable, "it cannot know");
        engine.close().await.unwrap();
    }
    let store = holder(&pd).await.0;
    let member = node(&sled(directory.path()), pd.addr(), Some(directory.path())).await.unwrap();
    let known = stores(&pd).await;
    assert_eq!(known.into_iter().collect::<Vec<_>>(), [(store, (StoreState::Up, member.addr().to_string()))]);
    client(pd.addr()).await.unwrap().put(&key("k"), "v").await.unwrap();
    member.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_copy_of_a_data_directory_is_refused_while_its_original_is_up() {
    let (directory, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pd = driver(mem()).await;
    let original = node(&sled(directory.path()), pd.addr(), Some(directory.path())).await.unwrap();
    let engine = sled(copy.path());
    std::fs::copy(directory.path().join("FLAREDB.store"), copy.path().join("FLAREDB.store")).unwrap();
    let error = node(&engine, pd.addr(), Some(copy.path())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.report().contains(&original.addr().to_string()), "{}", error.report());
    let (_, address) = &stores(&pd).await[&1];
    assert_eq!(*address, original.addr().to_string());

    // In its place it serves.
    original.shutdown().await.unwrap();
    let member = node(&engine, pd.addr(), Some(copy.path())).await.unwrap();
    assert_eq!(stores(&pd).await[&1].1, member.addr().to_string());
    member.shutdown().await.unwrap();
}
