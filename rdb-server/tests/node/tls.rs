use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rcgen::{SanType, date_time_ymd};
use rdb_engine_api::ErrorKind;
use rdb_proto::kv::v1::kv_client::KvClient;
use rdb_server::service::Bound;
use rdb_server::{Node, NodeConfig, TlsConfig, serve};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::certificates::{Authority, Files};
use crate::harness::{PATIENCE, get, metric, put};

async fn node(tls: Option<TlsConfig>, configure: impl FnOnce(&mut NodeConfig)) -> Node {
    let engine = Arc::new(rdb_engine_mem::open(&Default::default()).unwrap());
    let mut config = NodeConfig::on_free_ports();
    config.tls = tls;
    configure(&mut config);
    serve(engine, config).await.unwrap()
}

async fn connect(addr: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    timeout(PATIENCE, TlsConnector::from(Arc::clone(config)).connect(name, stream)).await.unwrap()
}

async fn channel(addr: SocketAddr, config: &Arc<ClientConfig>) -> Channel {
    let config = Arc::clone(config);
    let connector = service_fn(move |_| {
        let config = Arc::clone(&config);
        async move { connect(addr, &config).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    timeout(PATIENCE, endpoint.connect_with_connector(connector)).await.unwrap().unwrap()
}

/// What a client is told that is refused. With TLS 1.3 it may believe at first that it is connected.
async fn refusal(addr: SocketAddr, config: &Arc<ClientConfig>) -> AlertDescription {
    let exchange = async {
        let mut stream = connect(addr, config).await?;
        stream.read_u8().await
    };
    let error = timeout(PATIENCE, exchange).await.unwrap().unwrap_err();
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("{error:?}"),
    }
}

/// Waits until client and node take each other.
async fn until_taken(node: &Node, config: &Arc<ClientConfig>) {
    let start = Instant::now();
    while try_scrape(node.ops_addr(), config).await.is_err() {
        assert!(start.elapsed() < PATIENCE);
    }
}

/// Waits for a line among the metrics, over TLS.
async fn tls_metric(addr: SocketAddr, config: &Arc<ClientConfig>, line: &str) {
    let start = Instant::now();
    loop {
        let text = scrape(addr, config).await;
        if text.lines().any(|other| other == line) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "no `{line}` in\n{text}");
    }
}

async fn scrape(addr: SocketAddr, config: &Arc<ClientConfig>) -> String {
    try_scrape(addr, config).await.unwrap()
}

async fn try_scrape(addr: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<String> {
    let mut http1 = ClientConfig::clone(config);
    http1.alpn_protocols = vec!["http/1.1".into()];
    let mut stream = connect(addr, &Arc::new(http1)).await?;
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap()?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(answer)
}

#[tokio::test]
async fn both_addresses_are_served_over_tls_of_both_versions() {
    let authority = Authority::new("tests");
    let files = Files::of(&authority.issue(|_| {}));
    let node = node(Some(files.config()), |_| {}).await;
    let client = authority.trusting(None);
    let mut kv = KvClient::new(channel(node.addr(), &client).await);
    let _ = kv.put(put("k", "v")).await.unwrap();
    assert_eq!(&kv.get(get("k")).await.unwrap().into_inner().record.unwrap().value[..], b"v");
    let text = scrape(node.ops_addr(), &client).await;
    assert!(text.contains("flaredb_requests_total{method=\"put\",code=\"ok\"} 1\n"), "{text}");

    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        config.alpn_protocols = vec!["http/1.1".into(), "h2".into()];
        let stream = connect(node.addr(), &Arc::new(config)).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
        let expected = match version.version {
            ProtocolVersion::TLSv1_2 => ProtocolVersion::TLSv1_2,
            _ => ProtocolVersion::TLSv1_3,
        };
        assert_eq!(session.protocol_version(), Some(expected));
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_refused_by_name() {
    let authority = Authority::new("tests");
    let good = authority.issue(|_| {});
    let expired = authority.issue(|params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 3);
    });
    let early = authority.issue(|params| params.not_before = date_time_ymd(2999, 4, 5));
    let files = Files::of(&good);
    files.write("empty", "nothing here\n");
    files.write("garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    files.write("cut", &good.certificate[..good.certificate.len() / 2]);
    files.write("expired", &expired.certificate);
    files.write("early", &early.certificate);
    files.write("other.key", &expired.key);
    let refused = async |name: &str, told: &[&str], place: fn(&mut TlsConfig) -> &mut std::path::PathBuf| {
        let mut tls = files.config();
        *place(&mut tls) = files.path(name);
        let mut config = NodeConfig::on_free_ports();
        config.tls = Some(tls);
        let engine = Arc::new(rdb_engine_mem::open(&Default::default()).unwrap());
        let error = serve(engine, config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        let report = error.report();
        for part in told.iter().chain([&files.path(name).to_str().unwrap()]) {
            assert!(report.contains(part), "no `{part}` in `{report}`");
        }
    };
    for (name, told) in [
        ("missing", &["cannot read file", "No such file"][..]),
        ("", &["cannot read file", "directory"]),
        ("empty", &["there is no certificate in the file"]),
        ("garbage", &["cannot read certificate"]),
        ("cut", &["cannot read certificate"]),
        ("expired", &["certificate has expired", "03 Feb 2020"]),
        ("early", &["certificate is not valid yet", "05 Apr 2999"]),
    ] {
        refused(name, told, |tls| &mut tls.certificate).await;
    }
    for (name, told) in [
        ("missing", &["cannot read file"][..]),
        ("node.crt", &["there is no private key in the file"]),
        ("other.key", &["private key does not belong to the certificate", "node.crt"]),
    ] {
        refused(name, told, |tls| &mut tls.key).await;
    }
    for name in ["missing", "empty", "garbage"] {
        refused(name, &[], |tls| tls.client_authorities.get_or_insert_default()).await;
    }
}

#[tokio::test]
async fn what_is_shown_of_a_server_holds_no_private_key() {
    let identity = Authority::new("tests").issue(|_| {});
    let mut config = NodeConfig::on_free_ports();
    let files = Files::of(&identity);
    config.tls = Some(files.config());
    let shown = format!("{:?}", Bound::new(config).await.unwrap());
    // Bytes may be shown as text or as numbers.
    let key = identity.key.lines().nth(1).unwrap();
    let numbers = key.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    assert!(!shown.contains(key) && !shown.contains(&numbers), "{shown}");
}

#[tokio::test]
async fn no_session_is_resumed() {
    let authority = Authority::new("tests");
    let files = Files::of(&authority.issue(|_| {}));
    let node = node(Some(files.config()), |_| {}).await;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        config.alpn_protocols = vec!["h2".into()];
        let config = Arc::new(config);
        // The second would show what the first was given to come back with: the node's answer was read by then.
        for _ in 0..2 {
            let mut stream = connect(node.addr(), &config).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
            timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn allowed_clients_want_authorities() {
    let files = Files::of(&Authority::new("tests").issue(|_| {}));
    let mut tls = files.config();
    tls.allowed_clients = vec!["backup".to_owned()];
    assert_eq!(tls.check().unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn a_client_shows_a_certificate_of_an_authority_or_is_refused() {
    let (authority, other) = (Authority::new("first"), Authority::new("second"));
    let files = Files::of(&authority.issue(|_| {}));
    files.write("clients.crt", &authority.pem());
    let mut tls = files.config();
    tls.client_authorities = Some(files.path("clients.crt"));
    let node = node(Some(tls), |_| {}).await;

    let good = authority.trusting(Some(&authority.client("anyone", &[])));
    let mut kv = KvClient::new(channel(node.addr(), &good).await);
    let _ = kv.put(put("k", "v")).await.unwrap();

    let expired = authority.issue(|params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    for (identity, told) in [
        (None, AlertDescription::CertificateRequired),
        (Some(other.client("anyone", &[])), AlertDescription::UnknownCA),
        (Some(expired), AlertDescription::CertificateExpired),
    ] {
        let client = authority.trusting(identity.as_ref());
        assert_eq!(refusal(node.addr(), &client).await, told);
        let mut http1 = ClientConfig::clone(&client);
        http1.alpn_protocols.clear();
        assert_eq!(refusal(node.ops_addr(), &Arc::new(http1)).await, told);
    }
    tls_metric(node.ops_addr(), &good, "flaredb_handshake_failures_total{reason=\"tls\"} 6").await;
}

#[tokio::test]
async fn only_clients_of_allowed_names_are_served() {
    let authority = Authority::new("tests");
    let files = Files::of(&authority.issue(|_| {}));
    files.write("clients.crt", &authority.pem());
    let mut tls = files.config();
    tls.client_authorities = Some(files.path("clients.crt"));
    tls.allowed_clients = ["common", "Dns.example", "spiffe://here/uri"].map(str::to_owned).into();
    let node = node(Some(tls), |_| {}).await;

    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let uri = |name: &str| SanType::URI(name.try_into().unwrap());
    for (common, names, is_allowed) in [
        ("common", vec![], true),
        ("x", vec![dns("other.example"), dns("dns.example")], true),
        ("x", vec![uri("spiffe://here/uri")], true),
        ("x", vec![], false),
        ("Common", vec![], false),
        ("common.example", vec![dns("dns.example.org"), uri("spiffe://here/uri/more")], false),
        ("x", vec![SanType::Rfc822Name("common".try_into().unwrap())], false),
    ] {
        let client = authority.trusting(Some(&authority.client(common, &names)));
        if is_allowed {
            let mut kv = KvClient::new(channel(node.addr(), &client).await);
            let _ = kv.put(put("k", "v")).await.unwrap();
        } else {
            let told = refusal(node.addr(), &client).await;
            assert_eq!(told, AlertDescription::AccessDenied, "{common} {names:?}");
        }
    }
}

#[tokio::test]
async fn changed_files_are_used_for_new_connections_and_bad_ones_are_not() {
    let (old, new) = (Authority::new("first"), Authority::new("second"));
    // As Kubernetes does it: the files are behind a link that is swapped.
    let files = Files::of(&old.issue(|_| {}));
    let place = |name: &str| files.path(name);
    let write = |directory: &str, certificate: &str, key: &str| {
        std::fs::create_dir(place(directory)).unwrap();
        std::fs::write(place(directory).join("tls.crt"), certificate).unwrap();
        std::fs::write(place(directory).join("tls.key"), key).unwrap();
    };
    let swap = |directory: &str| {
        std::os::unix::fs::symlink(directory, place("next")).unwrap();
        std::fs::rename(place("next"), place("current")).unwrap();
    };
    let first = old.issue(|_| {});
    let second = new.issue(|params| params.not_after = date_time_ymd(2100, 1, 1));
    write("1", &first.certificate, &first.key);
    write("2", &second.certificate, &second.key);
    write("3", &first.certificate, &second.key);
    swap("1");
    let mut tls = TlsConfig::new(place("current/tls.crt"), place("current/tls.key"));
    tls.reload_interval = Duration::from_millis(20);
    let node = node(Some(tls), |_| {}).await;
    let (trusts_old, trusts_new) = (old.trusting(None), new.trusting(None));
    let mut kv = KvClient::new(channel(node.addr(), &trusts_old).await);
    let _ = kv.put(put("k", "v")).await.unwrap();

    swap("2");
    until_taken(&node, &trusts_new).await;
    let error = connect(node.addr(), &trusts_old).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    // The connection of before goes on.
    let _ = kv.get(get("k")).await.unwrap();
    tls_metric(node.ops_addr(), &trusts_new, "flaredb_tls_reloads_total 1").await;
    let expiry = "flaredb_tls_certificate_expiry_timestamp_seconds 4102444800";
    tls_metric(node.ops_addr(), &trusts_new, expiry).await;

    swap("3");
    tls_metric(node.ops_addr(), &trusts_new, "flaredb_tls_reloads_failed_total 1").await;
    std::fs::remove_file(place("current")).unwrap();
    tls_metric(node.ops_addr(), &trusts_new, "flaredb_tls_reloads_failed_total 2").await;
    let mut kv = KvClient::new(channel(node.addr(), &trusts_new).await);
    let _ = kv.get(get("k")).await.unwrap();

    swap("1");
    until_taken(&node, &trusts_old).await;
    tls_metric(node.ops_addr(), &trusts_old, "flaredb_tls_reloads_total 2").await;
}

#[tokio::test]
async fn changed_authorities_of_clients_are_used_for_new_connections() {
    let (old, new) = (Authority::new("first"), Authority::new("second"));
    let files = Files::of(&old.issue(|_| {}));
    files.write("clients.crt", &old.pem());
    let mut tls = files.config();
    tls.client_authorities = Some(files.path("clients.crt"));
    tls.reload_interval = Duration::from_millis(20);
    let node = node(Some(tls), |_| {}).await;
    let old_client = old.trusting(Some(&old.client("x", &[])));
    let new_client = old.trusting(Some(&new.client("x", &[])));
    let _ = scrape(node.ops_addr(), &old_client).await;
    assert_eq!(refusal(node.addr(), &new_client).await, AlertDescription::UnknownCA);

    std::fs::write(files.directory().join("next"), new.pem()).unwrap();
    std::fs::rename(files.path("next"), files.path("clients.crt")).unwrap();
    until_taken(&node, &new_client).await;
    assert_eq!(refusal(node.addr(), &old_client).await, AlertDescription::UnknownCA);
}

#[tokio::test]
async fn plain_text_at_a_tls_address_is_told_so_in_an_alert() {
    let authority = Authority::new("tests");
    let files = Files::of(&authority.issue(|_| {}));
    let node = node(Some(files.config()), |_| {}).await;
    for addr in [node.addr(), node.ops_addr()] {
        for beginning in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n"] {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(beginning).await.unwrap();
            let mut answer = Vec::new();
            timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
            assert_eq!(answer, [21, 3, 3, 0, 2, 2, 10]);
        }
    }
    let line = "flaredb_handshake_failures_total{reason=\"plain_to_tls\"} 4";
    tls_metric(node.ops_addr(), &authority.trusting(None), line).await;
}

#[tokio::test]
async fn tls_at_a_plain_address_is_told_so_in_an_alert() {
    let node = node(None, |_| {}).await;
    let client = Authority::new("tests").trusting(None);
    for addr in [node.addr(), node.ops_addr()] {
        assert_eq!(refusal(addr, &client).await, AlertDescription::ProtocolVersion);
    }
    metric(node.ops_addr(), "flaredb_handshake_failures_total{reason=\"tls_to_plain\"} 2").await;
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_cut_and_holds_up_nobody() {
    let authority = Authority::new("tests");
    let files = Files::of(&authority.issue(|_| {}));
    let limit = Duration::from_millis(500);
    let node = node(Some(files.config()), |config| config.handshake_timeout = limit).await;
    let client = authority.trusting(None);
    // Nothing; the beginning of a hello; and all of TLS, but nothing inside of it.
    let mut silent = TcpStream::connect(node.addr()).await.unwrap();
    let mut slow = TcpStream::connect(node.addr()).await.unwrap();
    slow.write_all(&[22, 3, 1, 1, 0, 1]).await.unwrap();
    let mut mute = connect(node.addr(), &client).await.unwrap();
    let start = Instant::now();
    let mut kv = KvClient::new(channel(node.addr(), &client).await);
    let _ = kv.put(put("k", "v")).await.unwrap();
    assert!(start.elapsed() < limit);

    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, silent.read_to_end(&mut rest)).await.unwrap();
    let _ = timeout(PATIENCE, slow.read_to_end(&mut rest)).await.unwrap();
    let _ = timeout(PATIENCE, mute.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"");
    let line = "flaredb_handshake_failures_total{reason=\"timeout\"} 3";
    tls_metric(node.ops_addr(), &client, line).await;
    tls_metric(node.ops_addr(), &client, "flaredb_connections_open 1").await;
}

#[tokio::test]
async fn a_handshake_takes_the_place_of_a_connection_and_does_not_hold_up_the_end() {
    let authority = Authority::new("tests");
    let files = Files::of(&authority.issue(|_| {}));
    let node = node(Some(files.config()), |config| {
        config.max_connections = 1;
        config.handshake_timeout = PATIENCE;
        config.drain_timeout = PATIENCE * 20;
        config.flush_timeout = PATIENCE;
    })
    .await;
    let client = authority.trusting(None);
    let _silent = TcpStream::connect(node.addr()).await.unwrap();
    tls_metric(node.ops_addr(), &client, "flaredb_connections_open 1").await;
    let mut second = TcpStream::connect(node.addr()).await.unwrap();
    let _ = timeout(PATIENCE, second.read(&mut [0])).await.unwrap();
    tls_metric(node.ops_addr(), &client, "flaredb_connections_refused_total 1").await;
    let start = Instant::now();
    node.shutdown().await.unwrap();
    assert!(start.elapsed() < PATIENCE / 4);
}
