//! What the command says, and what it reads into what it is told.

use rdb_client::{EngineExt, MAX_KEY_BYTES};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::key;
use crate::shell::Shell;

#[tokio::test]
async fn a_value_of_an_option_may_begin_with_a_dash() {
    let shell = Shell::new().await;
    for name in ["+", "-a", "-b", "-c"] {
        shell.engine.put(&key(name), "-old").await.unwrap();
    }
    assert_eq!(shell.text("scan --keys-only --prefix -").await, "-a\n-b\n-c\n");
    assert_eq!(shell.text("scan --keys-only --from -b --to -c").await, "-b\n");
    shell.text("cas --expect -old -- -a new").await;
    assert_eq!(shell.text("get -- -a").await, "new");
    let ran = shell.rdb("export --format tsv --prefix -a".split(' ')).await;
    assert_eq!((ran.code, ran.out.as_slice()), (0, &b"-a\tnew\n"[..]), "{}", ran.err);
}

#[tokio::test]
async fn a_malformed_line_has_one_number() {
    let shell = Shell::new().await;
    let good = "{\"key\":\"YQ==\",\"value\":\"\"}\n";
    for (bad, said) in
        [("{]\n", "rdb: line 2: key must be a string at column 2\n"), ("\n", "rdb: line 2: empty line\n")]
    {
        let text = format!("{good}{bad}{good}");
        let ran = shell.rdb_with("import --format jsonl -".split(' '), text.as_bytes()).await;
        let acknowledged = "1 record had been acknowledged; all lines before 2 were acknowledged; \
                            importing the same file again is safe\n";
        assert_eq!((ran.code, ran.err), (1, format!("{said}{acknowledged}")));
    }
    let ran = shell.rdb_with("import --format jsonl -".split(' '), good.as_bytes()).await;
    assert!(ran.out.starts_with(b"imported 1 record ("), "{}", ran.out.escape_ascii());
}

#[tokio::test]
async fn a_table_cuts_a_long_value_and_says_how_to_see_it() {
    let shell = Shell::new().await;
    shell.engine.put(&key("k"), "v".repeat(5_000)).await.unwrap();
    let got = shell.text("get k -o table").await;
    assert!(got.ends_with("v... (5000 bytes; use -o raw)\n") && got.len() < 300, "{got}");
    assert_eq!(shell.text("get k -o raw").await.len(), 5_000);
    let scanned = shell.rdb("scan -o table".split(' ')).await;
    assert!(scanned.out.ends_with(b"v... (5000 bytes)\n"), "{}", scanned.out.escape_ascii());
    assert!(scanned.err.starts_with("1 record at version "), "{}", scanned.err);
}

#[tokio::test]
async fn a_conflict_names_the_key_and_what_is_there() {
    let shell = Shell::new().await;
    let ran = shell.rdb("cas k v --present".split(' ')).await;
    let none = "rdb: conflict: there is no record; nothing was changed. key=`k`\n";
    assert_eq!((ran.code, ran.err.as_str()), (4, none));
    let version = shell.engine.put(&key("k"), "v").await.unwrap().version;
    let ran = shell.rdb("cas k v --absent".split(' ')).await;
    let other = format!(
        "rdb: conflict: the record is not as expected; nothing was changed. key=`k`, version=`{version}`\n"
    );
    assert_eq!((ran.code, ran.err), (4, other));
}

#[tokio::test]
async fn a_long_key_does_not_hide_the_reason() {
    let shell = Shell::new().await;
    let too_long = "k".repeat(MAX_KEY_BYTES + 1);
    let ran = shell.rdb(["get", &too_long]).await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("key is too long") && ran.err.len() < 400, "{}", ran.err);
    let ran = shell.rdb(["get", &too_long[1..]]).await;
    assert_eq!(ran.code, 3);
    assert!(ran.err.len() < 120 && ran.err.ends_with("... (4096 bytes)\n"), "{}", ran.err);
}

#[tokio::test]
async fn an_empty_variable_counts_as_unset() {
    for (value, code) in [("", 5), ("nonsense", 2)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rdb"));
        for name in ["PRINT", "TIMEOUT", "CONNECT_TIMEOUT"] {
            command.env(format!("FLAREDB_{name}"), value);
        }
        // Nobody is there: code 5 says that the command line made sense.
        let ran = command.args(["health", "--endpoints", "127.0.0.1:1"]).output().await.unwrap();
        assert_eq!(ran.status.code(), Some(code), "{value}: {}", ran.stderr.escape_ascii());
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdb"));
    let ran =
        command.env("FLAREDB_ENDPOINTS", "").args(["health", "--timeout", "2s"]).output().await.unwrap();
    // A node may listen at the default address, or not.
    assert!(matches!(ran.status.code(), Some(0 | 5)), "{}", ran.stderr.escape_ascii());
}

#[tokio::test]
async fn what_answers_and_is_no_node_is_said_to_be_none() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let answer =
                    format!("HTTP/1.1 400 Bad Request\r\ncontent-length: 99\r\n\r\n{}", "x".repeat(99));
                stream.write_all(answer.as_bytes()).await.unwrap();
                // Closed only after the reader: what was sent is not lost.
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    let shell = Shell::new().await;
    let ran = shell.rdb(["--endpoints", &address, "get", "k"]).await;
    assert_eq!(ran.code, 5, "{}", ran.err);
    let said = format!("rdb: cannot connect: no FlareDB node answers there. endpoints=`{address}`");
    assert!(ran.err.starts_with(&said), "{}", ran.err);
}
