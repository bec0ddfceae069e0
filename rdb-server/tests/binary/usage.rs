//! Flags, exit codes and what is said.

use std::net::TcpListener;

use crate::harness::{FREE_PORTS, Running, get, output, program};

#[test]
fn a_flag_wins_over_its_variable_and_the_variable_over_the_default() {
    let mut by_variable = program();
    by_variable.env("FLAREDB_ENGINE", "mem").env("FLAREDB_LISTEN", "127.0.0.1:0");
    by_variable.env("FLAREDB_OPS_LISTEN", "nonsense").args(["--ops-listen", "127.0.0.1:0"]);
    let mut node = Running::start(&mut by_variable);
    assert!(get(node.ops_addr, "/metrics").contains("engine=\"mem\""));
    node.signal("TERM");
    assert_eq!(node.end(), Some(0));
}

#[test]
fn wrong_usage_is_told_and_exits_with_2() {
    for (arguments, told) in [
        (&["--engine", "leveldb"][..], "leveldb"),
        (&["--engine", "mem", "--data-dir", "x"], "--data-dir and --engine mem contradict each other"),
        (
            &["--engine", "mem", "--watch-history", "durable"],
            "--watch-history and --engine mem contradict each other",
        ),
        (&["--watch-history", "disk"], "memory, durable"),
        (&["--engine", "mem", "--cache-size", "1GiB"], "--cache-size and --engine mem contradict each other"),
        (&["--engine", "mem", "--listen", "0.0.0.0:0"], "--insecure"),
        (&["--engine", "mem", "--ops-listen", "0.0.0.0:0"], "setting=`ops-listen`"),
        (&["--engine", "mem", "--listen", "127.0.0.1:9", "--ops-listen", "127.0.0.1:9"], "are the same"),
        (&["--listen", "localhost"], "localhost"),
        (&["--max-value-size", "4MB"], "such as 256MiB"),
        (&["--max-value-size", "99999999999GiB"], "such as 256MiB"),
        (&["--drain-timeout", "10"], "such as 500ms or 10s"),
        (&["--drain-timeout", "0s"], "above 0"),
        (&["--default-durability", "eternal"], "volatile, process, synced"),
        (&["--max-scans", "-1"], "-1"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["--max-in-flight", "0"], "0 is not in 1.."),
        (
            &["--engine", "mem", "--max-in-flight-size", "1MiB"],
            "max-in-flight-size is below the longest message",
        ),
        (
            &["--engine", "mem", "--default-durability", "synced"],
            "default durability is above the engine's best",
        ),
        (&["--engine=mem", "--tls-cert=c"], "error: tls-cert needs tls-key. from=`--tls-cert`"),
        (&["--engine=mem", "--tls-key=k"], "error: tls-key needs tls-cert. from=`--tls-key`"),
        (&["--engine=mem", "--tls-client-ca=a"], "error: tls-client-ca needs tls-cert"),
        (
            &["--engine=mem", "--tls-cert=c", "--tls-key=k", "--tls-allowed-clients=a"],
            "error: tls-allowed-clients needs tls-client-ca",
        ),
        (
            &["--engine=mem", "--tls-cert=c", "--tls-key=k", "--tls-client-ca=a", "--tls-allowed-clients=b,"],
            "error: a name of tls-allowed-clients is empty",
        ),
        (&["--engine=mem", "--pd=pd"], "such as pd.example:7430"),
        (&["--engine=mem", "--advertise=a:1"], "error: advertise needs pd"),
        (
            &["--engine=mem", "--pd=pd:1", "--advertise=0.0.0.0:1"],
            "nobody can dial the address that is advertised",
        ),
        (
            &["--engine=mem", "--pd=pd:1", "--insecure", "--listen=0.0.0.0:1"],
            "give --advertise HOST:PORT too",
        ),
        (&["--engine=mem", "--pd=pd:1", "--insecure", "--listen=[::]:1"], "give --advertise HOST:PORT too"),
        (&["--engine=mem", "--pd-tls-ca=a"], "error: pd-tls-ca needs pd"),
        (&["--engine=mem", "--pd=pd:1", "--pd-tls-cert=c"], "error: pd-tls-cert needs pd-tls-ca"),
        (&["--engine=mem", "--pd=pd:1", "--pd-tls-cert=c"], "error: pd-tls-cert needs pd-tls-key"),
        (&["--engine=mem", "--pd=pd:1", "--pd-tls-key=k"], "error: pd-tls-key needs pd-tls-cert"),
        (
            &["--engine=mem", "--max-value-size=32MiB"],
            "limit is too small for the others. limit=`max_batch_bytes`",
        ),
        (&["--engine=mem", "--max-scans=500"], "limit is above what the runtime has threads for"),
        (&["--engine=mem", "--idle-timeout=0s"], "above 0"),
        (&["--engine=mem", "--flush-timeout=soon"], "such as 500ms or 10s"),
        (&["--engine=mem", "--insecure=maybe"], "maybe"),
        (&["--engine=mem", "--log=rdb_server=loud"], "rdb_server=loud"),
        (&["--engine=mem", "--print-config", "--check-config"], "cannot be used with"),
        (&["--engine", "mem", "--drain-timeout", "9000h"], "up to a year"),
    ] {
        let (code, error) = output(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains(told), "{arguments:?}: {error}");
    }
}

#[test]
fn what_goes_wrong_later_is_told_and_exits_with_1() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let (code, error) = output(&["--engine", "mem", "--ops-listen", "127.0.0.1:0", "--listen", &address]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.starts_with("error: cannot listen") && error.contains(&address), "{error}");
}

#[cfg(feature = "sled")]
#[test]
fn a_directory_that_is_anothers_or_in_use_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let sled = ["--engine", "sled", "--data-dir", path.to_str().unwrap()];
    let arguments = [&sled[..], &FREE_PORTS].concat();

    let mut node = Running::start(program().args(&arguments));
    let (code, error) = output(&arguments);
    assert_eq!(code, Some(1));
    assert!(error.contains(sled[3]) && error.contains(&node.child.id().to_string()), "{error}");
    node.signal("TERM");
    assert_eq!(node.end(), Some(0));

    let path = directory.path().join("foreign");
    drop(rdb_engine_api::DataDirectory::open(&path, "other", 1).unwrap());
    let arguments = [&["--engine", "sled", "--data-dir", path.to_str().unwrap()][..], &FREE_PORTS].concat();
    let (code, error) = output(&arguments);
    assert_eq!(code, Some(1));
    assert!(error.contains(arguments[3]) && error.contains("other"), "{error}");
}

#[cfg(not(feature = "rocks"))]
#[test]
fn an_engine_that_is_not_compiled_in_is_named_with_its_feature() {
    let (code, error) = output(&["--engine", "rocks"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("feature=`rocks`"), "{error}");
}
