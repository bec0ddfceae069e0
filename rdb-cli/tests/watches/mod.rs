//! Watches, from the shell.

use std::time::Duration;

use rdb_client::{Batch, Engine, EngineExt, Version, WriteOptions};
use rdb_engine_mem::MemConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout};
use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::key;
use crate::shell::{HEEDFUL, SIGNALS, Shell, ended, send, start_through};

/// A watch under way, which has begun.
struct Watching {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Where it began.
    version: u64,
}

impl Watching {
    async fn begin(shell: &Shell, line: &str) -> Self {
        Self::begin_at(&shell.endpoint, line).await
    }

    async fn begin_at(endpoint: &str, line: &str) -> Self {
        let line = format!("watch --progress=1h -o json {line}");
        let mut child = start_through(&HEEDFUL, endpoint, line.trim_end().split(' '));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut watching = Self { child, lines, version: 0 };
        let first = watching.next().await;
        assert_eq!(first["event"], json!("progress"), "{first}");
        watching.version = first["version"].as_u64().unwrap();
        watching
    }

    async fn begin_snapshot_at(endpoint: &str) -> Self {
        let line = "watch k --snapshot -o json";
        let mut child = start_through(&HEEDFUL, endpoint, line.split(' '));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut watching = Self { child, lines, version: 0 };
        while watching.next().await["event"] != json!("snapshot") {}
        watching
    }

    async fn next(&mut self) -> Value {
        let line = timeout(Duration::from_secs(10), self.lines.next_line()).await.expect("a line comes");
        serde_json::from_str(&line.unwrap().expect("it goes on")).unwrap()
    }
}

/// A way to a node that can be cut: connections break, and new ones can be made.
async fn way_to(node: &str) -> (String, broadcast::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let (cut, _) = broadcast::channel(1);
    let (node, cuts) = (node.to_owned(), cut.clone());
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let (node, mut cut) = (node.clone(), cuts.subscribe());
            tokio::spawn(async move {
                let mut server = TcpStream::connect(node).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    _ = cut.recv() => {}
                }
            });
        }
    });
    (endpoint, cut)
}

async fn put(shell: &Shell, name: &str, value: &'static str) -> u64 {
    shell.engine.put(&key(name), value).await.unwrap().version.get()
}

#[tokio::test]
async fn each_change_of_a_prefix_is_a_line_at_once_and_a_commit_is_whole() {
    let shell = Shell::new().await;
    put(&shell, "a/1", "old").await;
    let mut watching = Watching::begin(&shell, "--prefix a/ --previous").await;
    put(&shell, "b", "elsewhere").await;
    let batch = Batch::new().put(key("a/1"), "new").put(key("b"), "x").put_for(
        key("a/2"),
        "two",
        Duration::from_millis(1),
    );
    let version = shell.engine.write(batch, WriteOptions::default()).await.unwrap().version().get();
    let first = watching.next().await;
    let previous = &first["previous"];
    assert_eq!((&previous["value"], first["version"].as_u64()), (&json!("old"), Some(version)));
    assert_eq!((&first["change"], &first["changes"]), (&json!(1), &json!(2)));
    assert_eq!((&first["event"], &first["cause"]), (&json!("put"), &json!("write")));
    let second = watching.next().await;
    assert_eq!((&second["key"], &second["previous"]), (&json!("a/2"), &Value::Null));
    assert_eq!((second["version"].as_u64(), &second["change"]), (Some(version), &json!(2)));
    assert!(second["expires_at_ms"].as_u64().is_some());

    let third = watching.next().await;
    assert_eq!((&third["event"], &third["cause"]), (&json!("delete"), &json!("expiry")));
    assert_eq!((&third["key"], &third["previous"]["value"]), (&json!("a/2"), &json!("two")));
    assert!(third["version"].as_u64() > Some(version));
}

#[tokio::test]
async fn a_signal_ends_a_watch_with_where_to_go_on() {
    let shell = Shell::new().await;
    for (signal, code, name) in SIGNALS {
        let mut watching = Watching::begin(&shell, "k").await;
        let version = put(&shell, "k", "v").await;
        assert_eq!(watching.next().await["version"].as_u64(), Some(version));
        send(signal, &watching.child).await;
        let ran = ended(watching.child).await;
        assert_eq!(
            (ran.code, ran.err),
            (code, format!("rdb: {name}; --after {version} goes on from here\n"))
        );

        put(&shell, "k", "w").await;
        put(&shell, "k", "x").await;
        let later = shell.text(&format!("watch k --after {version} --limit 2")).await;
        let values: Vec<_> = later.lines().map(|line| line.rsplit('\t').next().unwrap()).collect();
        assert_eq!(values, ["w", "x"]);
    }
}

#[tokio::test]
async fn a_watch_goes_on_over_broken_connections_and_says_so() {
    let shell = Shell::new().await;
    for line in ["k", "k --snapshot"] {
        let (endpoint, cut) = way_to(&shell.endpoint).await;
        let mut watching = match line {
            "k" => Watching::begin_at(&endpoint, line).await,
            _ => Watching::begin_snapshot_at(&endpoint).await,
        };
        for value in ["one", "two", "three"] {
            let version = put(&shell, "k", value).await;
            let change = watching.next().await;
            assert_eq!((change["version"].as_u64(), &change["value"]), (Some(version), &json!(value)));
            cut.send(()).unwrap();
        }
        send("INT", &watching.child).await;
        let ran = ended(watching.child).await;
        assert_eq!(ran.code, 130, "{}", ran.err);
        let notes: Vec<_> = ran.err.lines().filter(|line| line.starts_with("rdb: watch broke off")).collect();
        assert!((2..=3).contains(&notes.len()), "{}", ran.err);
        assert!(notes[0].starts_with("rdb: watch broke off and is opened again: "), "{}", ran.err);
    }
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over() {
    let shell = Shell::new().await;
    assert_eq!(shell.text("watch k --for 100ms").await, "");
    let table = shell.rdb("watch k --for 100ms -o table".split(' ')).await;
    assert_eq!((table.code, table.out.as_slice()), (0, &b""[..]));
    assert!(table.err.starts_with("watching after version "), "{}", table.err);
}

#[tokio::test]
async fn a_snapshot_comes_before_what_changes() {
    let shell = Shell::new().await;
    let version = put(&shell, "a", "one").await;
    put(&shell, "b", "two").await;
    let mut child = start_through(&HEEDFUL, &shell.endpoint, "watch --from a --snapshot -o json".split(' '));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = timeout(Duration::from_secs(10), lines.next_line()).await.expect("a line comes");
        serde_json::from_str::<Value>(&line.unwrap().unwrap()).unwrap()
    };
    let first = next().await;
    assert_eq!(first, json!({ "event": "record", "key": "a", "value": "one", "version": version }));
    assert_eq!(next().await["key"], json!("b"));
    let end = next().await;
    assert_eq!((&end["event"], &end["records"]), (&json!("snapshot"), &json!(2)));
    let version = put(&shell, "a", "three").await;
    let change = next().await;
    assert_eq!((&change["event"], change["version"].as_u64()), (&json!("put"), Some(version)));
    send("INT", &child).await;
    assert_eq!(ended(child).await.code, 130);
}

#[tokio::test]
async fn a_version_that_cannot_be_had_is_refused_with_the_way_on() {
    let mut config = MemConfig::default();
    config.local.limits.max_history_ops = 2;
    let shell = Shell::with(config).await;
    let first = put(&shell, "k", "v").await;
    for _ in 0..5 {
        put(&shell, "k", "v").await;
    }
    let ran = shell.rdb(format!("watch --after {first}").split(' ')).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.starts_with("rdb: compacted: ") && ran.err.contains("--snapshot"), "{}", ran.err);
    let oldest = ran.err.rsplit("--after ").next().unwrap().split(' ').next().unwrap();
    let kept = shell.text(&format!("watch --after {oldest} --limit 1")).await;
    assert!(kept.ends_with("\twrite\tput\tk\tv\n"), "{kept}");

    let ran = shell.rdb(format!("watch --after {}", u64::MAX).split(' ')).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.starts_with("rdb: invalid_argument: "), "{}", ran.err);
}

#[tokio::test]
async fn a_signal_ends_a_watch_whose_reader_takes_nothing() {
    let shell = Shell::new().await;
    let after = put(&shell, "a", "v").await;
    for name in ["a", "b"] {
        shell.engine.put(&key(name), vec![b'v'; 1 << 20]).await.unwrap();
    }
    let line = format!("watch --after {after}");
    let mut child = start_through(&HEEDFUL, &shell.endpoint, line.split(' '));
    let mut stdout = child.stdout.take().unwrap();
    timeout(Duration::from_secs(10), stdout.read_u8()).await.unwrap().unwrap();
    send("TERM", &child).await;
    let status = timeout(Duration::from_secs(10), child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(143));
    drop(stdout);
}

#[tokio::test]
async fn a_reader_who_has_seen_enough_ends_a_watch_quietly() {
    let shell = Shell::new().await;
    let mut watching = Watching::begin(&shell, "k").await;
    assert!(Version::new(watching.version).is_some());
    put(&shell, "k", "v").await;
    watching.next().await;
    let Watching { child, lines, .. } = watching;
    drop(lines);
    put(&shell, "k", "w").await;
    let ran = ended(child).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}
