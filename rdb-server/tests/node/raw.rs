use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use hyper::Request;
use tokio::io::{DuplexStream, copy, duplex, join};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::harness::PATIENCE;

/// A client that sends a request piece by piece, and can stop to listen.
pub(crate) struct RawClient {
    requests: SendRequest<Bytes>,
    stop: CancellationToken,
    listening: Option<JoinHandle<(OwnedReadHalf, DuplexStream)>>,
}

impl RawClient {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let (read, write) = TcpStream::connect(addr).await.unwrap().into_split();
        let (heard, voice) = duplex(1 << 20);
        let (requests, connection) = h2::client::handshake(join(heard, write)).await.unwrap();
        tokio::spawn(connection);
        let mut client = Self { requests, stop: CancellationToken::new(), listening: None };
        client.listen(read, voice);
        client
    }

    fn listen(&mut self, mut read: OwnedReadHalf, mut voice: DuplexStream) {
        let stop = self.stop.clone();
        self.listening = Some(tokio::spawn(async move {
            tokio::select! {
                _ = copy(&mut read, &mut voice) => {}
                () = stop.cancelled() => {}
            }
            (read, voice)
        }));
    }

    /// Hears nothing of the node while the work goes on, such as that it takes no more requests.
    pub(crate) async fn deaf_while<T>(&mut self, work: impl AsyncFnOnce(&mut Self) -> T) -> T {
        self.stop.cancel();
        let (read, voice) = self.listening.take().unwrap().await.unwrap();
        let result = work(self).await;
        self.stop = CancellationToken::new();
        self.listen(read, voice);
        result
    }

    /// Begins a put with its headers.
    pub(crate) fn put(&mut self, grpc_timeout: Option<&str>) -> RawRequest {
        self.begin("Put", grpc_timeout)
    }

    /// Sends a get, of whose answer nothing more is taken than comes by itself.
    pub(crate) fn get(&mut self, key: &str) -> RawRequest {
        let mut request = self.begin("Get", None);
        let length = u8::try_from(key.len()).unwrap();
        request.send([&[0, 0, 0, 0, length + 2, 0x0a, length], key.as_bytes()].concat());
        request.end();
        request
    }

    fn begin(&mut self, method: &str, grpc_timeout: Option<&str>) -> RawRequest {
        self.open(&format!("/flaredb.kv.v1.Kv/{method}"), grpc_timeout)
    }

    /// Begins a request of any method with its headers.
    pub(crate) fn open(&mut self, path: &str, grpc_timeout: Option<&str>) -> RawRequest {
        let mut request = Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(value) = grpc_timeout {
            request = request.header("grpc-timeout", value);
        }
        let (response, body) = self.requests.send_request(request.body(()).unwrap(), false).unwrap();
        RawRequest { response, body }
    }

    /// Waits until the node has closed the connection.
    pub(crate) async fn closed(mut self) {
        let listening = self.listening.take().unwrap();
        let _ = timeout(PATIENCE, listening).await.unwrap().unwrap();
    }
}

/// A request whose body is still being sent.
pub(crate) struct RawRequest {
    response: ResponseFuture,
    body: SendStream<Bytes>,
}

impl RawRequest {
    pub(crate) fn send(&mut self, bytes: impl Into<Bytes>) {
        self.body.send_data(bytes.into(), false).unwrap();
    }

    /// How much of so many bytes the node would take now.
    pub(crate) async fn window(&mut self, wanted: usize) -> usize {
        self.body.reserve_capacity(wanted);
        let more = poll_fn(|context| self.body.poll_capacity(context));
        timeout(PATIENCE, more).await.unwrap().unwrap().unwrap()
    }

    pub(crate) fn end(&mut self) {
        self.body.send_data(Bytes::new(), true).unwrap();
    }

    pub(crate) fn reset(&mut self) {
        self.body.send_reset(Reason::CANCEL);
    }

    /// Waits for the answer: a status where the request failed.
    pub(crate) async fn answer(&mut self) -> Option<Status> {
        let response = timeout(PATIENCE, &mut self.response).await.unwrap().unwrap();
        Status::from_header_map(response.headers())
    }
}

/// The message of a put of an empty value, in gRPC's frame.
pub(crate) fn framed_put(key: &str) -> Vec<u8> {
    let length = u8::try_from(key.len()).unwrap();
    // The key is field 1; the put is field 2, a message that is empty.
    let message = [&[0x0a, length], key.as_bytes(), &[0x12, 0]].concat();
    [&[0, 0, 0, 0, length + 4], &message[..]].concat()
}
