//! Records that expire, from the shell.

use std::time::Duration;

use rdb_client::Engine;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::shell::Shell;
use crate::{json_of, key};

const HOUR_MS: u64 = 3_600_000;

/// Whether what is left is less than an hour, and not by much.
fn is_nearly_an_hour(ms: u64) -> bool {
    (HOUR_MS - 60_000..=HOUR_MS).contains(&ms)
}

#[tokio::test]
async fn what_is_left_of_a_record_is_shown_in_every_form() {
    let shell = Shell::new().await;
    shell.text("put k v --ttl 1h").await;
    let raw = shell.text("ttl k").await;
    assert!(is_nearly_an_hour(raw.trim_end().strip_suffix("ms").unwrap().parse().unwrap()), "{raw}");
    let table = shell.text("ttl k -o table").await;
    assert!(table.starts_with("expires in "), "{table}");

    let record = shell.engine.get(&key("k")).await.unwrap().unwrap();
    let shown = json_of(&shell.rdb(["ttl", "k", "-o", "json"]).await);
    assert!(is_nearly_an_hour(shown["ttl_ms"].as_u64().unwrap()), "{shown}");
    let end = record.expires_at.unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert_eq!(shown["expires_at_ms"].as_u64().map(u128::from), Some(end));
    assert_eq!(shown["version"], json!(record.version.get()));

    let got = json_of(&shell.rdb(["get", "k", "-o", "json"]).await);
    assert!(is_nearly_an_hour(got["ttl_ms"].as_u64().unwrap()), "{got}");
    assert_eq!((&got["value"], &got["expires_at_ms"]), (&json!("v"), &shown["expires_at_ms"]));
    assert_eq!(shell.text("get k").await, "v");
    let got = shell.rdb(["get", "k", "-o", "table"]).await;
    assert!(got.err.starts_with("expires in "), "{}", got.err);
}

#[tokio::test]
async fn a_put_without_a_time_to_live_makes_a_record_stay() {
    let shell = Shell::new().await;
    shell.text("put k v --ttl 1h").await;
    shell.text("put k v").await;
    assert_eq!(shell.text("ttl k").await, "never\n");
    assert_eq!(shell.text("ttl k -o table").await, "does not expire\n");
    let shown = json_of(&shell.rdb(["ttl", "k", "-o", "json"]).await);
    assert_eq!((&shown["ttl_ms"], &shown["expires_at_ms"]), (&Value::Null, &Value::Null));
    assert_eq!(json_of(&shell.rdb(["get", "k", "-o", "json"]).await).get("ttl_ms"), None);

    shell.text("cas k w --expect v --ttl 1h").await;
    assert!(shell.text("ttl k").await.ends_with("ms\n"));
    let ran = shell.rdb(["ttl", "none"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (3, "rdb: not found: none\n"));
}

#[tokio::test]
async fn an_expired_record_is_gone_and_an_imported_one_expires_too() {
    let shell = Shell::new().await;
    shell.text("put k v --ttl 50ms").await;
    let imported = shell.rdb_with("import --format tsv --ttl 1h -".split(' '), b"a\t1\nb\t2\n").await;
    assert_eq!(imported.code, 0, "{}", imported.err);
    let gone = async {
        while shell.engine.get(&key("k")).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), gone).await.expect("the record expires");
    for line in ["get k", "ttl k"] {
        let ran = shell.rdb(line.split(' ')).await;
        assert_eq!((ran.code, ran.err.as_str()), (3, "rdb: not found: k\n"), "{line}");
    }
    for name in ["a", "b"] {
        assert!(shell.text(&format!("ttl {name}")).await.ends_with("ms\n"));
    }
}
