//! A server of its own address in front of another, in plain or by TLS, that can be pointed elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    /// None: every connection is closed at once.
    target: Mutex<Option<String>>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    cut: Mutex<CancellationToken>,
    accepted: AtomicUsize,
}

impl Relay {
    pub(crate) async fn start(target: String, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(Some(target)),
            tls: Mutex::new(tls),
            cut: Mutex::default(),
            accepted: AtomicUsize::new(0),
        });
        let stop = CancellationToken::new();
        let relayed = Arc::clone(&shared);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((client, _)) = listener.accept().await {
                relayed.accepted.fetch_add(1, Ordering::SeqCst);
                let (target, tls) = (relayed.target.lock().clone(), relayed.tls.lock().clone());
                let (Some(target), cut) = (target, relayed.cut.lock().clone()) else { continue };
                tokio::spawn(cut.run_until_cancelled_owned(async move {
                    match tls {
                        None => pass(client, target).await,
                        Some(tls) => {
                            if let Ok(client) = TlsAcceptor::from(tls).accept(client).await {
                                pass(client, target).await;
                            }
                        }
                    }
                }));
            }
        }));
        Self { address, shared, _stop: stop.drop_guard() }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// The same address by the name that certificates are made for.
    pub(crate) fn named(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Breaks the connections that there are, and sends new ones elsewhere, or nowhere.
    pub(crate) fn point(&self, target: Option<String>) {
        *self.shared.target.lock() = target;
        self.cut();
    }

    /// Breaks the connections that there are, and greets new ones differently.
    pub(crate) fn secure(&self, tls: Arc<ServerConfig>) {
        *self.shared.tls.lock() = Some(tls);
        self.cut();
    }

    fn cut(&self) {
        std::mem::take(&mut *self.shared.cut.lock()).cancel();
    }
}

async fn pass(mut client: impl AsyncRead + AsyncWrite + Unpin, target: String) {
    if let Ok(mut server) = TcpStream::connect(target).await {
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}
