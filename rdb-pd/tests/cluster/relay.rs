//! An address that stays while what is behind it goes, comes and misbehaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// They lead there.
    To(SocketAddr),
    /// They are closed at once.
    Gone,
    /// They are accepted, and nobody ever answers. Those that there are fall silent too.
    Silent,
    /// They lead there, but once a client has said these bytes, it gets no answer any more.
    Deaf(SocketAddr, &'static str),
}

#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    way: watch::Sender<Way>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn start(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, on_way) = watch::channel(way);
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(pass(client, on_way.clone()));
            }
        });
        Self { address, way, accepted, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Changes the way of new connections, and breaks those that there are; it leaves them open where nobody is
    /// to answer them any more.
    pub(crate) fn turn(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, mut way: watch::Receiver<Way>) {
    let was = way.borrow_and_update().clone();
    let mut through = Box::pin(async move {
        let (to, word) = match was {
            Way::Gone => return,
            Way::Silent => {
                let _open = client;
                return std::future::pending().await;
            }
            Way::To(to) => (to, None),
            Way::Deaf(to, word) => (to, Some(word)),
        };
        let Ok(server) = TcpStream::connect(to).await else { return };
        let (client, server) = (client.into_split(), server.into_split());
        let said = AtomicBool::new(false);
        tokio::select! {
            () = ask(client.0, server.1, word, &said) => {}
            () = answer(server.0, client.1, &said) => {}
        }
    });
    tokio::select! {
        () = &mut through => return,
        _ = way.changed() => {}
    }
    // Nothing passes from now on, but both ends stay open.
    let _ = way.wait_for(|way| *way != Way::Silent).await;
}

async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, word: Option<&str>, said: &AtomicBool) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let has = |word: &str| bytes[..read].windows(word.len()).any(|part| part == word.as_bytes());
        if word.is_some_and(has) {
            said.store(true, Ordering::SeqCst);
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, said: &AtomicBool) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if !said.load(Ordering::SeqCst) && to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
