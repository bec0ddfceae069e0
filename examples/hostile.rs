//! Starts a node, lets hostile clients at it, and measures what a good client sees of them.
//!
//! `cargo build && cargo run -p rdb-client --example hostile -- --help`

use std::fmt;
use std::fs;
use std::future::poll_fn;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;
use futures::future::join_all;
use h2::client::SendRequest;
use rdb_client::{Bytes, Client, Engine as _, EngineExt as _, Error, ErrorKind, Key, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};
use tonic::codegen::http::Request;

/// Starts a node, lets hostile clients at it, and measures what a good client sees of them.
///
/// Rounds without and with them take turns. Shown are the good client's latencies, and the node's memory and
/// sockets. Hostile are: idle connections, connections that say nothing, TLS handshakes (or HTTP/2
/// greetings) that never end, connections that answer no sign of life, scans that nobody reads, and requests
/// of 64 MiB. They are a process of their own, which shares the machine's processors with the node.
#[derive(Debug, Parser)]
struct Args {
    /// The program of the node
    #[arg(long, default_value = "target/debug/rdb-server")]
    server: PathBuf,
    /// More flags for the node, behind `--`
    #[arg(last = true)]
    flags: Vec<String>,
    /// How many rounds of each kind
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a round is measured, in seconds
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many callers the good client has
    #[arg(long, default_value_t = 8)]
    callers: usize,
    /// How many idle connections
    #[arg(long, default_value_t = 2000)]
    idle: usize,
    /// How many connections of each other kind
    #[arg(long, default_value_t = 50)]
    others: usize,
    /// How many requests of 64 MiB a second
    #[arg(long, default_value_t = 1)]
    large: u32,
    /// Be the hostile clients of this node, until killed
    #[arg(long, value_name = "ADDRESS", hide = true)]
    attack: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match &args.attack {
        Some(address) => attack(address, &args).await,
        None => run(&args).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<()> {
    let node = Node::start(args)?;
    let client = Client::connect(&node.address).await?;
    load(&client).await?;
    good(&client, args).await?; // warms both up
    let start = node.usage();
    println!("before    {start}");
    let (mut quiet, mut attacked) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let seen = good(&client, args).await?;
        println!("quiet     {}  {seen}", node.usage());
        quiet.push(seen.p99_ms);

        let hostile = Hostile::start(&node.address, args)?;
        let seen = good(&client, args).await?;
        println!("attacked  {}  {seen}", node.usage());
        attacked.push(seen.p99_ms);
        drop(hostile);
        node.settle(&start).await;
    }
    println!("after     {}; peak of memory: {} MiB", node.usage(), node.peak_mib());
    let (quiet, attacked) = (median(quiet), median(attacked));
    println!(
        "median p99 of {} rounds: {quiet:.2} ms quiet, {attacked:.2} ms attacked: {:.2} times",
        args.rounds,
        attacked / quiet
    );
    Ok(())
}

/// What scans deliver to those who do not read: more than fits between a node and a client.
async fn load(client: &Client) -> Result<()> {
    for number in 0..1_000 {
        client.put(&Key::new(format!("load/{number:04}"))?, vec![b'x'; 64 << 10]).await?;
    }
    Ok(())
}

/// What the good client saw.
struct Seen {
    calls_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    failed: usize,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls_per_second, p50_ms, p99_ms, failed } = self;
        write!(f, "{calls_per_second:>8.0} calls/s, p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, {failed} failed")
    }
}

/// Each caller swaps a record of its own and reads it, one call after the other.
async fn good(client: &Client, args: &Args) -> Result<Seen> {
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let callers = (0..args.callers).map(|caller| {
        let client = client.clone();
        tokio::spawn(async move {
            let key = Key::new(format!("good/{caller}"))?;
            let (mut times, mut failed) = (Vec::new(), 0_usize);
            while Instant::now() < end {
                let start = Instant::now();
                let done = match times.len() % 2 {
                    0 => client.put(&key, "value").await.map(drop),
                    _ => client.get(&key).await.map(drop),
                };
                failed += usize::from(done.is_err());
                times.push(start.elapsed());
            }
            Ok((times, failed))
        })
    });
    let (mut times, mut failed) = (Vec::new(), 0);
    for caller in join_all(callers).await {
        let (its, failures): (Vec<Duration>, usize) = caller.map_err(lost)??;
        times.extend(its);
        failed += failures;
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    let calls_per_second = times.len() as f64 / args.seconds as f64;
    Ok(Seen { calls_per_second, p50_ms: at(50), p99_ms: at(99), failed })
}

/// The hostile clients.
struct Hostile(Child);

impl Hostile {
    /// Starts them; they are all connected when this returns.
    fn start(address: &str, args: &Args) -> Result<Self> {
        let failed = |error| Error::new(ErrorKind::Unavailable, "cannot start the attack").because(error);
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["--attack", address]);
        command.args(["--idle", &args.idle.to_string(), "--others", &args.others.to_string()]);
        command.args(["--large", &args.large.to_string()]).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut String::new()).map_err(failed)?;
        }
        Ok(Self(child))
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Begins every attack, says so, and goes on for ever.
async fn attack(address: &str, args: &Args) -> Result<()> {
    let mut hostile = JoinSet::new();
    let mut refused = 0;
    for _ in 0..args.idle {
        match greet(address).await {
            Ok((sender, driver)) => {
                hostile.spawn(async move {
                    driver.await;
                    drop(sender);
                });
            }
            Err(_) => refused += 1,
        }
    }
    if refused > 0 {
        eprintln!("{refused} idle connections were refused");
    }
    let kinds: [fn(String) -> Attack; 4] = [
        |address| Box::pin(say_nothing(address)),
        |address| Box::pin(greet_for_ever(address)),
        |address| Box::pin(play_dead(address)),
        |address| Box::pin(leave_a_scan_unread(address)),
    ];
    for kind in kinds {
        for _ in 0..args.others {
            let address = address.to_owned();
            hostile.spawn(async move {
                loop {
                    let _ = kind(address.clone()).await;
                    sleep(Duration::from_secs(5)).await;
                }
            });
        }
    }
    sleep(Duration::from_secs(1)).await;
    println!("all are there");
    if args.large > 0 {
        let message = Bytes::from(vec![0; 64 << 20]);
        let mut ticks = interval(Duration::from_secs(1) / args.large);
        loop {
            ticks.tick().await;
            let (address, message) = (address.to_owned(), message.clone());
            hostile.spawn(async move { drop(send_too_much(&address, message).await) });
        }
    }
    while hostile.join_next().await.is_some() {}
    Ok(())
}

type Attack = std::pin::Pin<Box<dyn Future<Output = Broken<()>> + Send>>;
type Broken<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// An HTTP/2 connection, and what keeps it going.
async fn greet(address: &str) -> Broken<(SendRequest<Bytes>, impl Future<Output = ()> + use<>)> {
    let stream = timeout(Duration::from_secs(20), TcpStream::connect(address)).await??;
    let (sender, connection) = h2::client::handshake(stream).await?;
    Ok((sender, async move { drop(connection.await) }))
}

async fn say_nothing(address: String) -> Broken<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.read_u8().await?;
    Ok(())
}

/// A byte a second: of HTTP/2's greeting, which a node with TLS takes for a handshake that makes no sense.
async fn greet_for_ever(address: String) -> Broken<()> {
    let mut stream = TcpStream::connect(address).await?;
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        stream.write_all(&[*byte]).await?;
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Greets, then neither reads nor writes.
async fn play_dead(address: String) -> Broken<()> {
    let (_sender, _driver) = greet(&address).await?;
    sleep(Duration::from_secs(3600)).await;
    Ok(())
}

async fn leave_a_scan_unread(address: String) -> Broken<()> {
    let (sender, driver) = greet(&address).await?;
    let open = async {
        // An empty prefix: everything.
        let mut answer = call(sender, "/flaredb.kv.v1.Kv/Scan", Bytes::from_static(&[0x0a, 0])).await?;
        // The flow-control windows are never opened again.
        drop(answer.data().await);
        sleep(Duration::from_secs(3600)).await;
        drop(answer);
        Ok(())
    };
    tokio::select! {
        ended = open => ended,
        () = driver => Ok(()),
    }
}

/// A put. Key and value need no sense: the length alone is too much.
async fn send_too_much(address: &str, message: Bytes) -> Broken<()> {
    let (sender, driver) = greet(address).await?;
    let send = async { call(sender, "/flaredb.kv.v1.Kv/Put", message).await.map(drop) };
    tokio::select! {
        sent = send => sent,
        () = driver => Ok(()),
    }
}

/// Sends a gRPC request by hand; returns what its answer comes in.
async fn call(sender: SendRequest<Bytes>, path: &str, message: Bytes) -> Broken<h2::RecvStream> {
    let request = Request::post(format!("http://node{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let mut sender = sender.ready().await?;
    let (answer, mut body) = sender.send_request(request, false)?;
    let mut head = vec![0];
    head.extend(u32::try_from(message.len())?.to_be_bytes());
    for (mut part, is_last) in [(Bytes::from(head), message.is_empty()), (message, true)] {
        while !part.is_empty() {
            body.reserve_capacity(part.len());
            let Some(capacity) = poll_fn(|context| body.poll_capacity(context)).await else { break };
            let now = part.split_to(capacity?.min(part.len()));
            body.send_data(now, is_last && part.is_empty())?;
        }
    }
    Ok(answer.await?.into_body())
}

/// The node's process.
struct Node {
    child: Child,
    address: String,
}

impl Node {
    fn start(args: &Args) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "cannot start the node")
                .with("server", args.server.display())
                .because(error)
        };
        let mut child = Command::new(&args.server)
            .args(["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"])
            .args(&args.flags)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(failed)?;
        }
        match line.trim_end().strip_prefix("listening on ") {
            Some(address) => Ok(Self { address: address.to_owned(), child }),
            None => Err(failed(std::io::Error::other("it did not say where it listens"))),
        }
    }

    fn usage(&self) -> Usage {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).into_iter().flatten().flatten();
        let links = open.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        // Of files, an engine has more from time to time.
        let sockets = links.filter(|link| link.to_string_lossy().starts_with("socket:")).count();
        Usage { mib: self.memory("VmRSS:"), sockets }
    }

    fn peak_mib(&self) -> usize {
        self.memory("VmHWM:")
    }

    /// In MiB.
    fn memory(&self, name: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let kib: usize = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        kib / 1024
    }

    /// Waits until the sockets of the attack are given back, or for long enough.
    async fn settle(&self, start: &Usage) {
        for _ in 0..300 {
            if self.usage().sockets <= start.sockets {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        eprintln!("sockets of an attack are still there");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the node holds.
struct Usage {
    mib: usize,
    sockets: usize,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5} MiB, {:>5} sockets", self.mib, self.sockets)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn lost(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, "a caller panicked").because(error)
}
