//! A process that has no file descriptor left.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use rdb_proto::kv::v1;
use rdb_proto::kv::v1::kv_client::KvClient;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::harness::{FREE_PORTS, PATIENCE, Running, get, program};

/// A scraper that keeps its connection.
struct Scraper(BufReader<TcpStream>);

impl Scraper {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn number(&mut self, name: &str) -> Option<f64> {
        self.0.get_mut().write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0);
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut text = vec![0; length];
        self.0.read_exact(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }
}

fn read(runtime: &tokio::runtime::Runtime, kv: &mut KvClient<Channel>) {
    let request = v1::GetRequest { key: b"k".as_slice().into() };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, kv.get(request)).await }).unwrap().unwrap();
}

#[test]
fn without_descriptors_it_serves_who_is_there_and_waits_and_recovers() {
    // The limit is a hard one: the program raises the other as far as it can.
    let mut shell = Command::new("sh");
    let program = program();
    shell.args(["-c", "ulimit -n 48; exec \"$0\" \"$@\""]).arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    // Connections that say nothing may stay for as long as this takes.
    shell.args(["--engine", "mem", "--handshake-timeout", "10m"]).args(FREE_PORTS);
    let node = Running::start_with(&mut shell, std::process::Stdio::null());

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", node.addr)).unwrap();
    let mut kv = KvClient::new(runtime.block_on(endpoint.connect()).unwrap());
    read(&runtime, &mut kv);
    let mut scraper = Scraper::connect(node.ops_addr);
    assert_eq!(scraper.number("flaredb_accept_errors_total"), Some(0.0));

    let idle: Vec<_> = (0..60).map(|_| TcpStream::connect(node.ops_addr).unwrap()).collect();
    let start = Instant::now();
    while scraper.number("flaredb_accept_errors_total") < Some(3.0) {
        assert!(start.elapsed() < PATIENCE);
        read(&runtime, &mut kv);
    }

    // Ten tries a second, and no more.
    let (before, start) = (scraper.number("flaredb_accept_errors_total").unwrap(), Instant::now());
    let mut tries = 0.0;
    while tries < 5.0 {
        assert!(start.elapsed() < PATIENCE);
        read(&runtime, &mut kv);
        tries = scraper.number("flaredb_accept_errors_total").unwrap() - before;
    }
    // The first of them may have been due already.
    assert!(start.elapsed() >= Duration::from_millis(380), "{tries} tries in {:?}", start.elapsed());

    drop(idle);
    assert!(get(node.ops_addr, "/readyz").starts_with("HTTP/1.1 200"));
    let mut other = KvClient::new(runtime.block_on(endpoint.connect()).unwrap());
    read(&runtime, &mut other);
    node.signal("TERM");
    let mut node = node;
    assert_eq!(node.end(), Some(0));
}
