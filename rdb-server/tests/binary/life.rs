//! Signals and what becomes of those connected.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use rdb_proto::kv::v1;
use rdb_proto::kv::v1::kv_client::KvClient;
use tonic::transport::Endpoint;

use crate::harness::{FREE_PORTS, Running, get, mem, program};

#[test]
fn either_signal_ends_it_in_order() {
    for signal in ["TERM", "INT"] {
        let mut node = Running::start(&mut mem());
        assert!(get(node.ops_addr, "/readyz").starts_with("HTTP/1.1 200"));
        node.signal(signal);
        assert_eq!(node.end(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut node = Running::start(mem().args(["--drain-timeout", "10m"]));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // More than fits between node and client, so that the scan goes on.
    let unread = runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://{}", node.addr)).unwrap();
        let mut kv = KvClient::new(endpoint.connect().await.unwrap());
        for key in 0..6 {
            let put = Some(v1::Put { value: vec![7; 4 << 20].into(), ttl_ms: None });
            let request = v1::PutRequest { key: vec![key].into(), put, options: None };
            let _ = kv.put(request).await.unwrap();
        }
        let range = Some(v1::scan_request::Range::Prefix(Default::default()));
        kv.scan(v1::ScanRequest { range, ..Default::default() }).await.unwrap()
    });
    node.signal("TERM");
    while !get(node.ops_addr, "/readyz").starts_with("HTTP/1.1 503") {}
    node.signal("TERM");
    assert_eq!(node.end(), Some(1));
    drop(unread);
}

/// The engine hangs in what it reads first, as on a disk that does not answer.
#[cfg(feature = "sled")]
#[test]
fn a_signal_ends_it_while_its_engine_is_being_opened() {
    for signal in ["TERM", "INT"] {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("FLAREDB");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let arguments = ["--engine", "sled", "--data-dir", directory.path().to_str().unwrap()];
        let mut command = program();
        let child = command.args(arguments).args(FREE_PORTS).stderr(Stdio::null()).spawn().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut node = Running { child, addr: nowhere, ops_addr: nowhere };
        // Waits for the other end to be opened, and with it for the engine to begin.
        let _unwritten = std::fs::File::options().write(true).open(&pipe).unwrap();
        node.signal(signal);
        assert_eq!(node.end(), Some(0));
    }
}
