//! The commands that ask a placement driver, and those that go by TLS.

// The SDK's tests need the rest of it.
#[path = "../../../rdb-client/tests/fake/mod.rs"]
mod fake;
mod real;

use std::fs;
use std::process::Stdio;

use fake::certificates::{Authority, server};
use fake::pd::{EPOCH_MS, FakePd};
use fake::relay::Relay;
use fake::{Fake, until};
use rdb_client::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::shell::{Ran, Shell, start};
use crate::{json_of, key};

/// Runs `rdb` with a variable of the environment.
async fn rdb_in(variable: (&str, &str), line: &str) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdb"));
    command.env_remove("FLAREDB_ENDPOINTS").env_remove("FLAREDB_PD").env(variable.0, variable.1);
    command.args(line.split(' ')).stdin(Stdio::null()).output().await.unwrap().into()
}

#[tokio::test]
async fn the_placement_driver_leads_to_the_node() {
    let (shell, pd) = (Shell::new().await, FakePd::start(7).await);
    pd.place(&shell.endpoint);
    shell.text(&format!("--pd {} put k v", pd.address())).await;
    assert_eq!(shell.engine.get(&key("k")).await.unwrap().unwrap().value, "v");
    let status = shell.rdb(format!("status -o json --pd {}", pd.address()).split(' ')).await;
    assert_eq!(json_of(&status)["endpoints"], json!(shell.endpoint));
    let ran = rdb_in(("FLAREDB_PD", &pd.address()), "get k").await;
    assert_eq!((ran.code, ran.out.as_slice()), (0, &b"v"[..]), "{}", ran.err);

    let both = shell.rdb(format!("--pd {} --endpoints a get k", pd.address()).split(' ')).await;
    assert_eq!(both.code, 2);
    assert!(both.err.contains("--endpoints and --pd both lead to the node"), "{}", both.err);
    let gone = shell.rdb("--pd 127.0.0.1:1 get k".split(' ')).await;
    assert_eq!(gone.code, 5);
    assert!(gone.err.contains("cannot connect to the placement driver"), "{}", gone.err);
}

#[tokio::test]
async fn timestamps_come_with_their_parts() {
    let (shell, pd) = (Shell::new().await, FakePd::start(7).await);
    let first = EPOCH_MS << 18;
    let raw = shell.text(&format!("tso --pd {} --count 2", pd.address())).await;
    let next = first + 1;
    let time = "2026-11-23T07:01:01.234Z";
    assert_eq!(raw, format!("{first}\t{time}\t0\n{next}\t{time}\t1\n"));
    let json = shell.rdb(format!("tso -o json --pd {}", pd.address()).split(' ')).await;
    let expected = json!({ "timestamp": first + 2, "time": time, "physical_ms": EPOCH_MS, "logical": 2 });
    assert_eq!(json_of(&json), expected);
    let table = shell.text(&format!("tso -o table --pd {}", pd.address())).await;
    assert!(
        table.starts_with("TIMESTAMP") && table.ends_with(&format!("{}  {time}  3\n", first + 3)),
        "{table}"
    );
    let many = shell.text(&format!("tso --count 300000 --pd {}", pd.address())).await;
    assert_eq!((many.lines().count(), pd.messages().len()), (300_000, 5));

    let none = shell.rdb(["tso"]).await;
    assert_eq!(
        (none.code, none.err.as_str()),
        (2, "rdb: which placement driver? give --pd, or set FLAREDB_PD\n")
    );
}

#[tokio::test]
async fn stores_are_shown_for_people_and_for_programs() {
    let (shell, pd) = (Shell::new().await, FakePd::start(7).await);
    pd.place("127.0.0.1:9");
    let line = |print| format!("stores -o {print} --pd {}", pd.address());
    let table = shell.text(&line("table")).await;
    let expected = "ID  ADDRESS      STATE  HEARD           ENGINE  VOLATILE  VERSION\n\
                    1   127.0.0.1:9  up     1 s 500 ms ago  fake    no        0.0.0\n";
    assert_eq!(table, expected);
    assert_eq!(shell.text(&line("raw")).await, "1\t127.0.0.1:9\tup\t1500\tfake\tno\t0.0.0\n");
    let store: Value = serde_json::from_str(&shell.text(&line("json")).await).unwrap();
    assert_eq!((&store["store_id"], &store["cluster_id"]), (&json!(1), &json!(7)));
    assert_eq!((&store["state"], &store["volatile"]), (&json!("up"), &json!(false)));
}

#[tokio::test]
async fn a_ping_shows_how_long_answers_took() {
    let shell = Shell::new().await;
    let line = "ping --count 20 --interval 0ms --concurrency 4 -o";
    let ran = shell.rdb(format!("{line} json").split(' ')).await;
    let shown = json_of(&ran);
    assert_eq!((ran.code, &shown["sent"], &shown["answered"]), (0, &json!(20), &json!(20)), "{}", ran.err);
    let times = ["min_us", "p50_us", "p90_us", "p99_us", "p99.9_us", "max_us"];
    let times = times.map(|name| shown[name].as_u64().unwrap());
    assert!(times.is_sorted() && times[0] > 0, "{shown}");
    let table = shell.text(&format!("{line} table")).await;
    assert!(table.contains("p99.9") && table.contains('#') && table.contains("answered  20\n"), "{table}");
}

#[tokio::test]
async fn a_ping_that_is_interrupted_shows_what_there_is() {
    let fake = Fake::start().await;
    let child = start(&fake.address(), "ping --count 0 --interval 1ms -o json".split(' '));
    until(|| fake.arrivals() > 4).await;
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let ran = Ran::from(child.wait_with_output().await.unwrap());
    assert_eq!(ran.code, 130, "{}", ran.err);
    assert!(json_of(&ran)["answered"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_ping_that_nobody_answers_is_code_5() {
    let shell = Shell::new().await;
    let ran = shell.rdb("ping --endpoints 127.0.0.1:1".split(' ')).await;
    assert_eq!(ran.code, 5, "{}", ran.err);
}

#[tokio::test]
async fn tls_is_asked_for_by_flags_and_variables() {
    let (shell, authority, folder) = (Shell::new().await, Authority::new(), TempDir::new().unwrap());
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let client = authority.issue(&["someone"]);
    let ca = write("ca.pem", authority.pem());
    let cert = write("client.pem", client.certificate);
    let key = write("client.key", client.key);
    let secure = server(&authority.issue(&["db.example"]), Some(&authority));
    let relay = Relay::start(shell.endpoint.clone(), Some(secure)).await;
    let to = format!("--endpoints {} --tls-ca {ca} --tls-server-name db.example", relay.named());
    let health = shell.text(&format!("{to} --tls-cert {cert} health --tls-key {key}")).await;
    assert!(health.ends_with("serving\n"), "{health}");
    let line = format!("{to} --tls-cert {cert} health");
    let ran = rdb_in(("FLAREDB_CLIENT_TLS_KEY", &key), &line).await;
    assert_eq!(ran.code, 0, "{}", ran.err);

    // To the node itself, which is in plain text; a system may trust no authority at all.
    for (value, code) in [("1", 2), ("0", 0), ("", 0)] {
        let ran =
            rdb_in(("FLAREDB_CLIENT_TLS", value), &format!("--endpoints {} health", shell.endpoint)).await;
        assert_eq!(ran.code, code, "{value}: {}", ran.err);
    }

    for (line, code, said) in [
        (line, 2, "--tls-cert and --tls-key go together"),
        (format!("{to} health"), 5, "server wants a client certificate"),
        (format!("--endpoints {} --tls-ca {ca} health", relay.named()), 5, "names=`db.example`"),
        (format!("--endpoints {} health", relay.named()), 2, "server wants TLS"),
        (format!("--tls-ca {ca} health"), 2, "server does not speak TLS"),
        ("--tls-ca does/not/exist health".to_owned(), 2, "cannot read file. path=`does/not/exist`"),
        (format!("--endpoints http://a --tls-ca {ca} health"), 2, "endpoint says http://"),
    ] {
        let ran = shell.rdb(line.split(' ')).await;
        assert_eq!(ran.code, code, "{line}: {}", ran.err);
        assert!(ran.err.contains(said), "{line}: {}", ran.err);
    }
}

#[tokio::test]
async fn completions_and_manual_pages_are_made_from_the_commands() {
    let shell = Shell::new().await;
    for name in ["bash", "zsh", "fish"] {
        let script = shell.text(&format!("completions {name}")).await;
        assert!(script.contains("tso") && script.contains("tls-server-name"), "{name}");
    }
    let page = shell.text("man").await;
    assert!(page.contains(".TH rdb 1") && page.contains("Exit codes:"), "{page}");
    let folder = TempDir::new().unwrap();
    shell.text(&format!("man {}", folder.path().display())).await;
    for name in ["rdb.1", "rdb-get.1", "rdb-tso.1", "rdb-completions.1"] {
        assert!(folder.path().join(name).exists(), "{name}");
    }
    let ran = shell.rdb(["man", "does/not/exist"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.starts_with("rdb: does/not/exist: "), "{}", ran.err);
}
