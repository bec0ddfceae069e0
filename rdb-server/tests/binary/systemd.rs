//! What systemd is told.

use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;

use crate::harness::{PATIENCE, Running, mem, program, run};

/// The end that systemd listens on.
struct Socket {
    socket: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Socket {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, directory }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("notify")
    }

    /// Takes messages until one has the part.
    fn until(&self, part: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let len = self.socket.recv(&mut bytes).unwrap();
            let text = std::str::from_utf8(&bytes[..len]).unwrap();
            if text.contains(part) {
                return text.to_owned();
            }
            assert!(!text.contains("STOPPING=1"), "no {part}");
        }
    }
}

#[test]
fn systemd_is_told_when_clients_can_connect_and_when_the_end_begins() {
    let systemd = Socket::new();
    let mut node = Running::start(mem().env("NOTIFY_SOCKET", systemd.path()));
    let ready = systemd.until("READY=1");
    assert!(ready.contains(&format!("STATUS=serving mem on {}", node.addr)), "{ready}");
    drop(TcpStream::connect(node.addr).unwrap());
    node.signal("TERM");
    systemd.until("STOPPING=1");
    assert_eq!(node.end(), Some(0));
}

#[test]
fn signs_of_life_are_sent_as_long_as_it_runs() {
    let systemd = Socket::new();
    let mut command = mem();
    let mut node =
        Running::start(command.env("NOTIFY_SOCKET", systemd.path()).env("WATCHDOG_USEC", "100000"));
    systemd.until("READY=1");
    for _ in 0..5 {
        systemd.until("WATCHDOG=1");
    }
    node.signal("TERM");
    assert_eq!(node.end(), Some(0));
}

#[test]
fn what_goes_wrong_is_the_status_of_the_unit() {
    let systemd = Socket::new();
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let mut command = program();
    command.args(["--engine", "mem", "--ops-listen", "127.0.0.1:0", "--listen", &address]);
    assert_eq!(run(command.env("NOTIFY_SOCKET", systemd.path())).code, Some(1));
    let status = systemd.until("STATUS=cannot listen");
    assert!(status.contains(&address), "{status}");
}
