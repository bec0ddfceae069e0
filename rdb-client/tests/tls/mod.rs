//! TLS, proven against servers with certificates of every sort in front of a node that does as it is told.

use std::fs;
use std::path::PathBuf;

use rdb_client::{Client, Engine, EngineExt, Error, ErrorKind, Pem, RetryPolicy, TlsConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::fake::Fake;
use super::fake::certificates::{Authority, Identity, server, server_of};
use super::fake::relay::Relay;
use super::{SHORT, key};

fn trusting(authority: &Authority) -> TlsConfig {
    TlsConfig::default().authorities(Pem::bytes(authority.pem()))
}

fn as_client(tls: TlsConfig, identity: &Identity) -> TlsConfig {
    tls.identity(Pem::bytes(identity.certificate.clone()), Pem::bytes(identity.key.clone()))
}

async fn connect(endpoint: String, tls: TlsConfig) -> Result<Client, Error> {
    Client::builder().endpoint(endpoint).tls(tls).connect().await
}

/// Connecting fails fast and for this reason.
async fn refused(endpoint: String, tls: TlsConfig, kind: ErrorKind, reason: &str) {
    let started = Instant::now();
    let error = connect(endpoint, tls).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{}", error.report());
    assert!(error.report().contains(reason), "{}", error.report());
    assert!(started.elapsed() < SHORT * 10, "{:?}: {}", started.elapsed(), error.report());
}

#[tokio::test]
async fn a_node_is_reached_by_tls_whether_it_wants_a_client_certificate_or_not() {
    let (fake, authority) = (Fake::start().await, Authority::new());
    let (node, client) = (authority.issue(&["localhost"]), authority.issue(&["someone"]));
    for versions in [&[&TLS12], &[&TLS13]] {
        for clients in [None, Some(&authority)] {
            let relay = Relay::start(fake.address(), Some(server_of(versions, &node, clients))).await;
            let tls = as_client(trusting(&authority), &client);
            let client = connect(relay.named(), tls.clone()).await.unwrap();
            assert_eq!(client.get(&key()).await.unwrap().unwrap().value, "v");
            connect(format!("https://{}", relay.named()), tls).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_certificate_of_the_server_that_is_no_good_is_said_to_be_so_at_once() {
    let (fake, authority, stranger) = (Fake::start().await, Authority::new(), Authority::new());
    for (identity, reason) in [
        (
            authority.issue_between(&["localhost"], 2019, 2020),
            "has expired: it needs a new one. expired=`2020-01-01T00:00:00.000Z`",
        ),
        (
            authority.issue_between(&["localhost"], 2099, 2100),
            "is not valid yet: check the clocks. valid_from=`2099-01-01T00:00:00.000Z`",
        ),
        (
            authority.issue(&["db.example", "10.0.0.1"]),
            "is for other names: dial one of them, or set the server name. expected=`localhost`, \
             names=`db.example,10.0.0.1`",
        ),
        (stranger.issue(&["localhost"]), "comes from an authority that is not trusted here"),
    ] {
        let relay = Relay::start(fake.address(), Some(server(&identity, None))).await;
        refused(relay.named(), trusting(&authority), ErrorKind::Unavailable, reason).await;
        assert_eq!(relay.accepted(), 1, "{reason}");
    }
    let relay = Relay::start(fake.address(), Some(server(&authority.issue(&["db.example"]), None))).await;
    connect(relay.named(), trusting(&authority).server_name("db.example")).await.unwrap();
    // The system knows nothing of this authority.
    let by_system = Client::builder().endpoint(format!("https://{}", relay.named())).connect().await;
    let kind = by_system.unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::Unavailable | ErrorKind::InvalidArgument), "{kind}");
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_or_no_good_is_said_to_be_so_at_once() {
    let (fake, authority, stranger) = (Fake::start().await, Authority::new(), Authority::new());
    let node = authority.issue(&["localhost"]);
    let tls = trusting(&authority);
    for versions in [&[&TLS12], &[&TLS13]] {
        let relay = Relay::start(fake.address(), Some(server_of(versions, &node, Some(&authority)))).await;
        for (tls, reason) in [
            (tls.clone(), "server wants a client certificate: give one, with its key"),
            (as_client(tls.clone(), &stranger.issue(&["x"])), "it does not trust its authority"),
            (
                as_client(tls.clone(), &authority.issue_between(&["x"], 2019, 2020)),
                "server refuses the client certificate: it has expired",
            ),
        ] {
            refused(relay.named(), tls, ErrorKind::Unavailable, reason).await;
        }
    }
}

#[tokio::test]
async fn a_write_over_a_connection_that_the_handshake_ends_was_not_applied() {
    let (fake, authority, stranger) = (Fake::start().await, Authority::new(), Authority::new());
    let (node, other) = (authority.issue(&["localhost"]), stranger.issue(&["localhost"]));
    let tls = as_client(trusting(&authority), &authority.issue(&["someone"]));
    for after in
        [server(&other, None), server(&node, Some(&stranger)), server_of(&[&TLS12], &node, Some(&stranger))]
    {
        let relay = Relay::start(fake.address(), Some(server(&node, Some(&authority)))).await;
        let builder = Client::builder().endpoint(relay.named()).tls(tls.clone());
        let client = builder.retry(RetryPolicy::never()).connect().await.unwrap();
        client.node_status().await.unwrap();
        relay.secure(after);
        fake.order([]);
        // The broken connection may be noticed only by the first.
        let mut error = client.put(&key(), "v").await.unwrap_err();
        if error.kind() == ErrorKind::Unknown {
            error = client.put(&key(), "v").await.unwrap_err();
        }
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
        assert!(error.report().contains("certificate"), "{}", error.report());
        assert_eq!(fake.arrivals(), 0);
    }
}

#[tokio::test]
async fn plain_text_to_a_tls_port_and_tls_to_a_plain_one_say_what_to_change() {
    let (fake, authority) = (Fake::start().await, Authority::new());
    let relay = Relay::start(fake.address(), Some(server(&authority.issue(&["localhost"]), None))).await;
    let error = Client::connect(relay.named()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.report().contains("server wants TLS: use https://"), "{}", error.report());

    // A node's double, and servers that answer by HTTP/1, by an alert, and not at all.
    let mut ports = vec![fake.address().rsplit_once(':').unwrap().1.parse::<u16>().unwrap()];
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\x15\x03\x03\0\x02\x02\x46", b""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ports.push(listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                match stream.read_u8().await.unwrap() {
                    b'P' => stream.write_all(b"\0\0\0\x04\0\0\0\0\0").await.unwrap(),
                    _ if answer.is_empty() => continue,
                    _ => stream.write_all(answer).await.unwrap(),
                }
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        });
    }
    let plain = "server does not speak TLS: use http://";
    for port in ports {
        let endpoint = format!("localhost:{port}");
        refused(endpoint, trusting(&authority), ErrorKind::InvalidArgument, plain).await;
    }
}

/// Writes a file and returns its path.
fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_before_anything_is_dialled() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let (folder, authority) = (TempDir::new().unwrap(), Authority::new());
    let identity = authority.issue(&["x"]);
    let empty = file(&folder, "empty.pem", "");
    let good = file(&folder, "good.pem", &identity.certificate);
    let key = file(&folder, "good.key", &identity.key);
    let other = file(&folder, "other.key", &authority.issue(&["x"]).key);
    let broken = file(&folder, "broken.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let missing = folder.path().join("missing.pem");
    let tls = TlsConfig::default;
    let by = |certificate: &PathBuf, key: &PathBuf| {
        TlsConfig::default().authorities(Pem::file(&good)).identity(Pem::file(certificate), Pem::file(key))
    };
    for (tls, said, named) in [
        (tls().authorities(Pem::file(&missing)), "cannot read file", &missing),
        (tls().authorities(Pem::file(folder.path())), "cannot read file", &folder.path().to_owned()),
        (tls().authorities(Pem::file(&empty)), "there is no certificate in it", &empty),
        (tls().authorities(Pem::file(&broken)), "certificates are not in PEM", &broken),
        (by(&missing, &key), "cannot read file", &missing),
        (by(&good, &missing), "cannot read file", &missing),
        (by(&good, &empty), "there is no private key in it", &empty),
        (by(&empty, &key), "there is no certificate in it", &empty),
        (by(&good, &other), "client certificate and key do not belong together", &other),
        (by(&good, &key).server_name("a b"), "server name is no host name", &PathBuf::from("a b")),
    ] {
        let error = connect(endpoint.clone(), tls.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.to_string().starts_with(said), "{error}");
        assert!(error.to_string().contains(&*named.to_string_lossy()), "{error}");
        assert!(!format!("{tls:?}").contains("PRIVATE"));
    }
    let none = tokio::time::timeout(SHORT / 4, listener.accept()).await;
    assert!(none.is_err(), "something was dialled");
}

#[tokio::test]
async fn a_renewed_client_certificate_is_used_from_the_next_connection_on() {
    let (fake, first, second) = (Fake::start().await, Authority::new(), Authority::new());
    let (node, folder) = (first.issue(&["localhost"]), TempDir::new().unwrap());
    let (old, new) = (first.issue(&["x"]), second.issue(&["x"]));
    let (certificate, key_file) =
        (file(&folder, "client.pem", &old.certificate), file(&folder, "client.key", &old.key));
    let tls = trusting(&first).identity(Pem::file(&certificate), Pem::file(&key_file));
    let relay = Relay::start(fake.address(), Some(server(&node, Some(&first)))).await;
    let client = connect(relay.named(), tls).await.unwrap();

    // Half of a renewal makes no sense: the last that did is used.
    fs::write(&certificate, &new.certificate).unwrap();
    relay.secure(server(&node, Some(&first)));
    client.get(&key()).await.unwrap();

    fs::write(&key_file, &new.key).unwrap();
    relay.secure(server(&node, Some(&second)));
    client.get(&key()).await.unwrap();
    assert!(relay.accepted() >= 3);
}

#[tokio::test]
async fn http_contradicts_tls() {
    let error = connect("http://127.0.0.1:1".to_owned(), TlsConfig::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("http://"), "{error}");
}
