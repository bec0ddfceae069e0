use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdb_engine_api::{Error, ErrorKind, LocalOptions};
use rdb_proto::kv::v1;
use rdb_proto::kv::v1::kv_client::KvClient;
use rdb_proto::kv::v1::node_client::NodeClient;
use rdb_proto::{Call, from_status};
use rdb_server::{Node, NodeConfig, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::double::Double;

/// Far more than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A node on the double, and a client of it.
pub(crate) struct Served {
    pub(crate) node: Node,
    pub(crate) engine: Arc<Double>,
    pub(crate) kv: KvClient<Channel>,
}

impl Served {
    /// How the node fares.
    pub(crate) async fn node_status(&self) -> v1::StatusResponse {
        let mut client = NodeClient::new(channel(self.node.addr()).await);
        client.status(v1::StatusRequest {}).await.unwrap().into_inner()
    }
}

pub(crate) async fn served(configure: impl FnOnce(&mut NodeConfig)) -> Served {
    served_with(LocalOptions::default(), configure).await
}

pub(crate) async fn served_with(local: LocalOptions, configure: impl FnOnce(&mut NodeConfig)) -> Served {
    let engine = Arc::new(Double::new(local));
    let mut config = NodeConfig::on_free_ports();
    configure(&mut config);
    let node = serve(Arc::clone(&engine) as _, config).await.unwrap();
    let kv = KvClient::new(channel(node.addr()).await).max_decoding_message_size(usize::MAX);
    Served { node, engine, kv }
}

pub(crate) async fn channel(addr: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap()
}

pub(crate) fn put(key: &'static str, value: impl Into<Bytes>) -> v1::PutRequest {
    let put = Some(v1::Put { value: value.into(), ttl_ms: None });
    v1::PutRequest { key: Bytes::from_static(key.as_bytes()), put, options: None }
}

pub(crate) fn get(key: &'static str) -> v1::GetRequest {
    v1::GetRequest { key: Bytes::from_static(key.as_bytes()) }
}

pub(crate) fn scan(prefix: &'static str) -> v1::ScanRequest {
    let range = Some(v1::scan_request::Range::Prefix(Bytes::from_static(prefix.as_bytes())));
    v1::ScanRequest { range, ..Default::default() }
}

/// What the status of a failed read says.
pub(crate) fn read_error(status: &Status) -> ErrorKind {
    assert!(has_details(status), "{status:?}");
    from_status(status, Call::Read).kind()
}

/// What the status of a failed write says.
pub(crate) fn write_error(status: &Status) -> Error {
    assert!(has_details(status), "{status:?}");
    from_status(status, Call::Write)
}

/// Without details, most failures look like what is expected here.
fn has_details(status: &Status) -> bool {
    !status.details().is_empty()
}

/// Asks over HTTP; returns the status and the body.
pub(crate) async fn http(addr: SocketAddr, method: &str, path: &str) -> (u16, String) {
    http_accepting(addr, method, path, "*/*").await
}

/// The same, with the content type that is asked for.
pub(crate) async fn http_accepting(
    addr: SocketAddr,
    method: &str,
    path: &str,
    accept: &str,
) -> (u16, String) {
    let (head, body) = exchange(addr, method, path, &format!("accept: {accept}")).await;
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

/// Sends a request with one more header; returns the head and the body of what comes back.
pub(crate) async fn exchange(addr: SocketAddr, method: &str, path: &str, header: &str) -> (String, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{header}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = timeout(PATIENCE, exchange).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// Waits until a line of the metrics is there.
pub(crate) async fn metric(addr: SocketAddr, line: &str) {
    let start = Instant::now();
    loop {
        let (_, text) = http(addr, "GET", "/metrics").await;
        if text.lines().any(|other| other == line) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "no `{line}` in\n{text}");
    }
}

/// Reads a number from the metrics.
pub(crate) async fn gauge(addr: SocketAddr, name: &str) -> usize {
    let (_, text) = http(addr, "GET", "/metrics").await;
    let mut numbers = text.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    numbers.next().unwrap()
}
