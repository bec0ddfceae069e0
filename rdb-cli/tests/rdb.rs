//! The built command, run as a shell runs it.

#![allow(clippy::unwrap_used)] // a helper of a test that panics has failed it

mod backup;
mod bench;
mod cluster;
mod lives;
mod messages;
mod moves;
mod shell;
mod transfer;
mod turns;
mod watches;

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rdb_client::{
    Batch, Commit, Engine, EngineExt, EngineInfo, EntryStream, Key, Metric, Outcome, Record, Result, Scan,
    Session, SessionOptions, Stamp, View, Watch, WatchStream, WriteOptions,
};
use rdb_engine_mem::{MemConfig, MemEngine};
use serde_json::{Value, json};
use shell::{Ran, Shell, serve_engine, start};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::Instant;

fn key(key: &str) -> Key {
    Key::new(key.to_owned()).unwrap()
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.out).unwrap()
}

#[tokio::test]
async fn what_was_put_can_be_got_until_it_is_deleted() {
    let shell = Shell::new().await;
    let put = shell.text("put greeting hello").await;
    let (version, durability) = put.trim_end().split_once('\t').unwrap();
    assert!(version.parse::<u64>().unwrap() > 0);
    assert_eq!(durability, "volatile");
    assert_eq!(shell.text("get greeting").await, "hello");

    let deleted = shell.text("delete greeting").await;
    assert!(deleted.split('\t').next().unwrap().parse::<u64>().unwrap() > version.parse().unwrap());
    for line in ["get greeting", "delete greeting"] {
        let ran = shell.rdb(line.split(' ')).await;
        assert_eq!((ran.code, ran.err.as_str()), (3, "rdb: not found: greeting\n"), "{line}");
    }
}

#[tokio::test]
async fn any_bytes_come_back_exactly() {
    let shell = Shell::new().await;
    let bytes = b"\x00\xff\t\n\r@-";
    let odd_key = OsStr::from_bytes(b"k\xff\t");
    let ran = shell.rdb_with([OsStr::new("put"), odd_key, OsStr::new("-")], bytes).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let got = shell.rdb([OsStr::new("get"), odd_key]).await;
    assert_eq!(got.out, bytes);
    let got = shell.rdb([OsStr::new("get"), odd_key, OsStr::new("-ojson")]).await;
    let shown = json_of(&got);
    assert_eq!((&shown["key_base64"], &shown["value_base64"]), (&json!("a/8J"), &json!("AP8JCg1ALQ==")));
    let got = shell.rdb([OsStr::new("-otable"), OsStr::new("get"), odd_key]).await;
    let shown = String::from_utf8(got.out).unwrap();
    assert!(shown.ends_with("  \\0\\xff\\t\\n\\r@-\n") && shown.contains("k\\xff\\t"), "{shown}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let mut at_file = OsString::from("@");
    at_file.push(file.path());
    assert_eq!(shell.rdb([OsStr::new("put"), OsStr::new("k"), &at_file]).await.code, 0);
    assert_eq!(shell.rdb(["get", "k"]).await.out, bytes);
    shell.text("put k @@home").await;
    assert_eq!(shell.text("get k").await, "@home");
    shell.rdb(["put", "k", ""]).await;
    assert_eq!(shell.text("get k").await, "");
}

#[tokio::test]
async fn a_swap_takes_effect_only_if_the_record_is_as_expected() {
    let shell = Shell::new().await;
    shell.text("cas k one --absent").await;
    let conflict = shell.rdb("cas k two --absent".split(' ')).await;
    assert_eq!(conflict.code, 4);
    assert!(conflict.err.contains("conflict"), "{}", conflict.err);
    let shown = String::from_utf8(conflict.out).unwrap();
    let (version, value) = shown.trim_end().split_once('\t').unwrap();
    assert_eq!(value, "one");

    shell.text(&format!("cas k two --expect-version {version}")).await;
    assert_eq!(shell.rdb(format!("cas k x --expect-version {version}").split(' ')).await.code, 4);
    shell.text("cas k three --expect two").await;
    assert_eq!(shell.rdb("cas k x --expect two".split(' ')).await.code, 4);
    shell.text("cas k four --present").await;
    assert_eq!(shell.text("get k").await, "four");
    shell.text("cas k --delete --expect four").await;

    let conflict = shell.rdb("cas k x --present -o json".split(' ')).await;
    assert_eq!(conflict.code, 4);
    assert_eq!(json_of(&conflict)["outcome"], json!("conflict"));
    assert_eq!(json_of(&conflict)["current"], Value::Null);
    assert!(shell.rdb("cas k x --present".split(' ')).await.out.is_empty());
    assert_eq!(shell.rdb("cas k x --present -o table".split(' ')).await.out, b"no record\n");

    shell.text("put k five").await;
    let conflict = json_of(&shell.rdb("cas k x --expect old -o json".split(' ')).await);
    assert_eq!((&conflict["current"]["key"], &conflict["current"]["value"]), (&json!("k"), &json!("five")));
    assert_eq!(conflict["version"], conflict["current"]["version"]);
}

#[tokio::test]
async fn a_durability_is_asked_for_and_answered() {
    let shell = Shell::new().await;
    let put = shell.rdb("put k v --durability volatile -o json".split(' ')).await;
    assert_eq!(
        (&json_of(&put)["outcome"], &json_of(&put)["durability"]),
        (&json!("committed"), &json!("volatile"))
    );
    let put = shell.rdb("put k v --durability synced".split(' ')).await;
    assert_eq!(put.code, 1);
    assert!(put.err.starts_with("rdb: unsupported: "), "{}", put.err);
    assert_eq!(shell.rdb("put k v --durability perhaps".split(' ')).await.code, 2);
}

#[tokio::test]
async fn a_scan_shows_what_it_is_asked_for() {
    let shell = Shell::new().await;
    for (name, value) in [("a/1", "one"), ("a/2", "two"), ("a/3", "three"), ("b", "other")] {
        shell.engine.put(&key(name), value).await.unwrap();
    }
    for (line, expected) in [
        ("scan", "a/1\tone\na/2\ttwo\na/3\tthree\nb\tother\n"),
        ("scan --prefix a/ --keys-only", "a/1\na/2\na/3\n"),
        ("scan --prefix a/ --reverse --limit 2", "a/3\tthree\na/2\ttwo\n"),
        ("scan --from a/2 --to b --keys-only", "a/2\na/3\n"),
        ("scan --prefix a/ --count-only", "3\n"),
        ("scan --prefix none", ""),
        ("scan --limit 1 --keys-only -o json", "{\"key\":\"a/1\"}\n"),
    ] {
        assert_eq!(shell.text(line).await, expected, "{line}");
    }
    let table = shell.rdb("scan --prefix a/ -o table".split(' ')).await;
    let shown = String::from_utf8(table.out).unwrap();
    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["KEY", "VERSION", "VALUE"]);
    assert_eq!((lines[1][0], lines[1][2], lines.len()), ("a/1", "one", 4));
    assert!(table.err.starts_with("3 records at version "), "{}", table.err);
    let count = json_of(&shell.rdb("scan --count-only -o json".split(' ')).await);
    assert_eq!(count["count"], json!(4));
    assert!(count["version"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn what_was_imported_is_exported_byte_for_byte() {
    let shell = Shell::new().await;
    let tsv: String = (0..5_000).map(|line| format!("key/{line:05}\tvalue {line}\r\n")).collect();
    let imported = shell.rdb_with("import --format tsv -".split(' '), tsv.as_bytes()).await;
    assert_eq!((imported.code, imported.err.as_str()), (0, ""));
    assert!(imported.out.starts_with(b"imported 5000 records ("), "{}", imported.out.escape_ascii());
    let exported = shell.rdb("export --format tsv".split(' ')).await;
    assert_eq!(exported.out, tsv.as_bytes());
    assert!(exported.err.starts_with("exported 5000 records at version "), "{}", exported.err);
    assert_eq!(shell.text("scan --prefix key/0000 --count-only").await, "10\n");

    shell.engine.put(&Key::new(b"\xff\t".to_vec()).unwrap(), b"\n\x00".to_vec()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("all.jsonl");
    let exported = shell.rdb([OsStr::new("export"), OsStr::new("--output"), path.as_os_str()]).await;
    assert_eq!((exported.code, exported.out.len()), (0, 0), "{}", exported.err);
    let other = Shell::new().await;
    let imported = other.rdb([OsStr::new("-ojson"), OsStr::new("import"), path.as_os_str()]).await;
    assert_eq!(json_of(&imported)["records"], json!(5_001), "{}", imported.err);
    assert_eq!(json_of(&imported)["durability"], json!("volatile"));
    let again = other.rdb("export --format jsonl".split(' ')).await;
    assert_eq!(again.out, std::fs::read(&path).unwrap());
}

#[tokio::test]
async fn tsv_refuses_what_it_cannot_carry_and_leaves_no_file() {
    let shell = Shell::new().await;
    shell.engine.put(&key("fine"), "v").await.unwrap();
    shell.engine.put(&key("odd\n"), "v").await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("all.tsv");
    let ran = shell.rdb([OsStr::new("export"), OsStr::new("--output"), path.as_os_str()]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("key of `odd\\n` holds a TAB or newline"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_malformed_line_ends_an_import_with_its_number_and_what_was_stored() {
    let shell = Shell::new().await;
    for (format, good, bad) in [
        ("tsv", "k{}\tv\n", "a\tb\tc\n"),
        ("jsonl", "{\"key\":\"a2V5{}\",\"value\":\"\"}\n", "{\"key\":\"%\",\"value\":\"\"}\n"),
    ] {
        let mut text: String = (1000..3_345).map(|line| good.replace("{}", &line.to_string())).collect();
        text.push_str(bad);
        text.push_str(good);
        let ran = shell.rdb_with(["import", "--format", format, "-"], text.as_bytes()).await;
        assert_eq!(ran.code, 1);
        assert!(ran.err.starts_with("rdb: line 2346: "), "{}", ran.err);
        assert!(
            ran.err.contains("2345 records had been acknowledged; all lines before 2346 were"),
            "{}",
            ran.err
        );
    }
    assert_eq!(shell.text("scan --count-only").await, "4690\n");
}

#[tokio::test]
async fn a_reader_who_has_read_enough_ends_the_command_quietly() {
    let shell = Shell::new().await;
    let tsv: String = (0..20_000).map(|line| format!("{line:05}\t{}\n", "v".repeat(50))).collect();
    let imported = shell.rdb_with("import --format tsv -".split(' '), tsv.as_bytes()).await;
    assert_eq!(imported.code, 0, "{}", imported.err);
    for line in ["scan", "export --format tsv", "scan -o json"] {
        let mut child = start(&shell.endpoint, line.split(' '));
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).await.unwrap();
        assert!(first.contains("00000"), "{first}");
        let ran: Ran = child.wait_with_output().await.unwrap().into();
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{line}");
    }
}

#[tokio::test]
async fn a_node_that_is_not_there_is_code_5_within_the_connect_timeout() {
    let shell = Shell::new().await;
    let begun = Instant::now();
    let ran = shell.rdb("--endpoints 127.0.0.1:1 get k".split(' ')).await;
    assert_eq!(ran.code, 5);
    assert!(ran.err.starts_with("rdb: unavailable: cannot connect. endpoints=`127.0.0.1:1`"), "{}", ran.err);
    assert!(begun.elapsed() < Duration::from_secs(3));

    // One that takes connections and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let begun = Instant::now();
    let ran = shell.rdb(["--endpoints", &address, "--connect-timeout", "200ms", "health"]).await;
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert!(begun.elapsed() < Duration::from_secs(3));

    let begun = Instant::now();
    let ran =
        shell.rdb(["--endpoints", &address, "--timeout", "200ms", "--connect-timeout", "1m", "health"]).await;
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert!(begun.elapsed() < Duration::from_secs(5), "the timeout bounds connecting, too");

    let both = format!("127.0.0.1:1,{}", shell.endpoint);
    assert_eq!(shell.rdb(["--endpoints", &both, "put", "k", "v"]).await.code, 0);
}

#[tokio::test]
async fn a_write_without_an_answer_is_code_5_and_said_to_be_unknown() {
    let mem = rdb_engine_mem::open(&MemConfig::default()).unwrap();
    let node = serve_engine(Arc::new(NeverAnswers(mem))).await;
    let child = start(&node.addr().to_string(), ["--timeout", "300ms", "put", "k", "v"]);
    let ran: Ran = child.wait_with_output().await.unwrap().into();
    assert_eq!(ran.code, 5);
    assert!(ran.err.starts_with("rdb: outcome unknown"), "{}", ran.err);
    assert_eq!(ran.err.matches("may have been applied").count(), 1, "{}", ran.err);
    assert!(ran.out.is_empty());
}

#[tokio::test]
async fn a_command_line_that_makes_no_sense_is_code_2() {
    let shell = Shell::new().await;
    for line in [
        "",
        "nonsense",
        "get",
        "cas k v",
        "cas k v --absent --present",
        "cas k - --expect -",
        "cas k --delete --absent",
        "--endpoints no:port get k",
        "--endpoints ftp://127.0.0.1:1 get k",
        "scan --prefix a --from b",
        "import -",
        "export",
        "get k --timeout 5",
    ] {
        let ran = shell.rdb(line.split(' ').filter(|word| !word.is_empty())).await;
        assert_eq!((ran.code, ran.out.len()), (2, 0), "{line}: {}", ran.err);
        assert!(!ran.err.is_empty());
    }
    for line in ["cas k - --expect -", "import -", "export"] {
        let ran = shell.rdb("--endpoints 127.0.0.1:1".split(' ').chain(line.split(' '))).await;
        assert_eq!(ran.code, 2, "{line} makes no sense with or without a node");
    }
    assert_eq!(shell.rdb(["get", ""]).await.code, 2);
    assert_eq!(shell.rdb(["get", &"k".repeat(4097)]).await.code, 2);
}

#[tokio::test]
async fn a_value_beyond_the_limit_is_refused() {
    let shell = Shell::new().await;
    let ran = shell.rdb_with(["put", "k", "-"], &vec![b'v'; (4 << 20) + 1]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("value is too long"), "{}", ran.err);
    let ran = shell.rdb_with(["put", "k", "-"], &vec![b'v'; 4 << 20]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(shell.rdb(["get", "k"]).await.out.len(), 4 << 20);
}

#[tokio::test]
async fn status_and_health_tell_how_the_node_fares() {
    let shell = Shell::new().await;
    assert!(shell.text("status").await.contains("\ndefault_durability\tvolatile\n"));
    assert!(shell.text("status").await.contains("\nrestore\ttrue\n"));
    assert_eq!(shell.text("health").await, "health\tserving\n");

    shell.engine.close().await.unwrap();
    let ran = shell.rdb(["put", "k", "v"]).await;
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert!(ran.err.starts_with("rdb: closed: "), "{}", ran.err);
}

/// Programs rely on these names, and on what kind of value each has.
#[tokio::test]
async fn status_as_json_says_all_about_node_and_engine() {
    let shell = Shell::new().await;
    let mut status = json_of(&shell.rdb(["status", "-o", "json"]).await);
    for (varies, least) in
        [("uptime_ms", 0), ("open_connections", 1), ("open_requests", 1), ("max_message_bytes", 16 << 20)]
    {
        let value = status.as_object_mut().unwrap().remove(varies);
        assert!(
            value.as_ref().and_then(Value::as_u64).is_some_and(|value| value >= least),
            "{varies}: {value:?}"
        );
    }
    let EngineInfo { format, capabilities, .. } = shell.engine.info();
    let expected = json!({
        "endpoints": shell.endpoint,
        "state": "serving",
        "server_version": env!("CARGO_PKG_VERSION"),
        "open_scans": 0,
        "engine": "mem",
        "format": format,
        "expiry": capabilities.expiry,
        "watch": capabilities.watch,
        "sessions": capabilities.sessions,
        "restore": capabilities.restore,
        "blocking": capabilities.blocking,
        "default_durability": "volatile",
        "best_durability": "volatile",
        "max_key_bytes": 4096,
        "max_value_bytes": 4 << 20,
        "max_batch_len": 10_000,
        "max_batch_bytes": 16 << 20,
        "max_get_many_keys": 1_000,
        "max_scans": 128,
        "scan_idle_ms": 60_000,
        "max_waiting_reads": 65_536,
        "max_queued_writes": 65_536,
        "max_queued_bytes": 64 << 20,
        "max_blocked_writes": 16_384,
        "max_sessions": 4_096,
        "session_window": 1_024,
        "session_idle_ms": 600_000,
        "max_watches": 8_192,
        "max_history_ops": 131_072,
        "max_history_bytes": 64 << 20,
        "history_age_ms": 600_000,
        "expiry_lag_ms": 1_000,
    });
    assert_eq!(status, expected);
}

#[tokio::test]
async fn status_as_a_table_reads_well() {
    let shell = Shell::new().await;
    let table = shell.text("status -o table").await;
    let sections: Vec<_> = table.split("\n\n").collect();
    assert_eq!(sections.len(), 3, "node, engine, limits: {table}");
    let (names, values): (Vec<_>, Vec<_>) = sections[1].lines().map(|line| line.split_at(20)).unzip();
    let expected = [
        "engine",
        "format",
        "expiry",
        "watch",
        "sessions",
        "restore",
        "blocking",
        "default durability",
        "best durability",
    ];
    assert_eq!(names.iter().map(|name| name.trim_end()).collect::<Vec<_>>(), expected);
    assert_eq!((values[0], values[5], values[8]), ("mem", "yes", "volatile"));
    assert!(sections[2].contains("\nmax value           4 MiB\n"), "{table}");
    assert!(sections[2].contains("\nscan idle           1 min\n"), "{table}");
    let values = table.lines().filter(|line| !line.is_empty()).map(|line| line.as_bytes()[18..21].to_vec());
    assert!(
        values.clone().all(|cut| cut.starts_with(b"  ") && cut[2] != b' '),
        "values are aligned: {table}"
    );
}

#[tokio::test]
async fn help_goes_to_standard_output_with_an_example() {
    let shell = Shell::new().await;
    for command in [
        "get", "put", "delete", "cas", "ttl", "scan", "watch", "import", "export", "backup", "restore",
        "verify", "status", "health",
    ] {
        assert!(shell.text(&format!("{command} --help")).await.contains("\nExample"), "{command}");
    }
    assert!(shell.text("--help").await.contains("Exit codes:"));
}

/// An engine whose writes and scans never end.
#[derive(Debug)]
struct NeverAnswers(MemEngine);

#[async_trait]
impl Engine for NeverAnswers {
    fn info(&self) -> &EngineInfo {
        self.0.info()
    }

    fn metrics(&self) -> Vec<Metric> {
        self.0.metrics()
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        self.0.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        self.0.get_many(keys).await
    }

    async fn scan(&self, _: Scan) -> Result<View<EntryStream>> {
        std::future::pending().await
    }

    async fn write(&self, _: Batch, _: WriteOptions) -> Result<Outcome> {
        std::future::pending().await
    }

    async fn watch(&self, watch: Watch) -> Result<View<WatchStream>> {
        self.0.watch(watch).await
    }

    async fn open_session(&self, options: SessionOptions) -> Result<Session> {
        self.0.open_session(options).await
    }

    async fn resume_session(&self, id: NonZeroU64) -> Result<Option<Session>> {
        self.0.resume_session(id).await
    }

    async fn end_session(&self, id: NonZeroU64) -> Result<()> {
        self.0.end_session(id).await
    }

    async fn settle(&self, stamp: Stamp) -> Result<Option<Outcome>> {
        self.0.settle(stamp).await
    }

    async fn time(&self) -> Result<SystemTime> {
        self.0.time().await
    }

    async fn restore(&self, view: View<EntryStream>) -> Result<Commit> {
        self.0.restore(view).await
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}
