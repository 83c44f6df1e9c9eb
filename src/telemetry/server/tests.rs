use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::Notify;

use super::connections::{HEAD_DEADLINE, LONGEST_HEAD, MOST_CONNECTIONS, serve_connections};
use super::*;
use crate::telemetry::metrics::KnownSeries;

struct Running {
    address: SocketAddr,
    missing: Arc<Mutex<Vec<String>>>,
    stuck: Arc<Mutex<Option<String>>>,
}

async fn running() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let missing = Arc::new(Mutex::new(Vec::new()));
    let ask = {
        let missing = Arc::clone(&missing);
        Arc::new(move || missing.lock().unwrap().clone())
    };
    let metrics = Arc::new(Metrics::new(KnownSeries::default()).unwrap());
    let stuck = Arc::new(Mutex::new(None));
    let ask_stuck = {
        let stuck = Arc::clone(&stuck);
        Arc::new(move || stuck.lock().unwrap().clone())
    };
    tokio::spawn(serve(listener, metrics, ask, ask_stuck));
    Running {
        address,
        missing,
        stuck,
    }
}

/// The whole answer to a GET: status line, headers and body.
async fn ask(address: SocketAddr, path: &'static str) -> String {
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )?;
        std::io::read_to_string(stream)
    });
    asked.await.unwrap().unwrap()
}

#[tokio::test]
async fn serves_the_metrics_in_the_text_format() {
    let running = running().await;
    let answer = ask(running.address, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\ncofferdam_build_info{version="), "{answer}");
}

#[tokio::test]
async fn is_alive_even_when_it_is_not_ready() {
    let running = running().await;
    assert!(ask(running.address, "/readyz").await.starts_with("HTTP/1.1 200 "));

    let missing = ["the cache of namespaces", "the CRD isolationtiers.cofferdam.dev"];
    *running.missing.lock().unwrap() = missing.map(str::to_owned).to_vec();
    let answer = ask(running.address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(missing.iter().all(|what| answer.contains(what)), "{answer}");
    assert!(ask(running.address, "/livez").await.starts_with("HTTP/1.1 200 "));
    assert!(ask(running.address, "/").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn is_not_alive_while_it_is_stuck() {
    let running = running().await;
    *running.stuck.lock().unwrap() = Some("nobody has got on for 2 minutes".to_owned());
    let answer = ask(running.address, "/livez").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("nobody has got on for 2 minutes\n"), "{answer}");
    *running.stuck.lock().unwrap() = None;
    assert!(ask(running.address, "/livez").await.starts_with("HTTP/1.1 200 "));
}

/// Opens a connection and says no more than this.
async fn say(address: SocketAddr, words: &[u8]) -> tokio::net::TcpStream {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(words).await.unwrap();
    stream
}

/// Whether the other side ends the connection before long.
async fn is_ended(mut stream: tokio::net::TcpStream) -> bool {
    let mut rest = Vec::new();
    // A reset is an end too.
    let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut rest)).await;
    ended.is_ok()
}

// The deadline of their heads would end them, too: they have to be ended before.
#[tokio::test]
async fn a_crowd_that_holds_connections_keeps_nobody_out_and_costs_no_more_than_its_places() {
    let (running, began) = (running().await, Instant::now());
    let mut crowd = Vec::new();
    for _ in 0..10 * MOST_CONNECTIONS {
        crowd.push(say(running.address, b"GET /metrics HTTP/1.1\r\nhost: ").await);
    }
    for stream in crowd.drain(..9 * MOST_CONNECTIONS) {
        assert!(is_ended(stream).await);
    }
    assert!(began.elapsed() < HEAD_DEADLINE, "{:?}", began.elapsed());
    for path in ["/livez", "/metrics"] {
        assert!(ask(running.address, path).await.starts_with("HTTP/1.1 200 "), "{path}");
    }
    drop(crowd);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_say_what_is_wanted_is_not_waited_for() {
    let running = running().await;
    let began = Instant::now();
    for words in [&b""[..], b"GET /livez HTTP/1.1\r\nhost: "] {
        assert!(is_ended(say(running.address, words).await).await, "{words:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_head_without_end_is_not_kept() {
    let running = running().await;
    let mut stream = say(running.address, b"GET /livez HTTP/1.1\r\n").await;
    let line = format!("x: {}\r\n", "y".repeat(1020));
    let mut said = 0;
    // Until the other side reads no more.
    while said < 4 * LONGEST_HEAD && stream.write_all(line.as_bytes()).await.is_ok() {
        said += line.len();
    }
    assert!(is_ended(stream).await);
    assert!(ask(running.address, "/livez").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn many_scrapes_at_once_are_all_answered() {
    let running = running().await;
    let scrapes = (0..MOST_CONNECTIONS / 2).map(|_| ask(running.address, "/metrics"));
    for answer in futures::future::join_all(scrapes).await {
        assert!(answer.contains("\ncofferdam_build_info{version="), "{answer}");
    }
}

const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Answers that are under way until they are let go.
#[derive(Default)]
struct Answers {
    under_way: AtomicUsize,
    let_go: Notify,
}

struct UnderWay(Arc<Answers>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Answers {
    fn router(self: &Arc<Self>) -> Router {
        let answer = |State(answers): State<Arc<Self>>| async move {
            let let_go = answers.let_go.notified();
            answers.under_way.fetch_add(1, Ordering::SeqCst);
            let _under_way = UnderWay(Arc::clone(&answers));
            let_go.await;
            "all of it\n"
        };
        Router::new().route("/", get(answer).with_state(Arc::clone(self)))
    }

    async fn are_under_way(&self, count: usize) {
        let are = async {
            while self.under_way.load(Ordering::SeqCst) != count {
                tokio::task::yield_now().await;
            }
        };
        let are = tokio::time::timeout(Duration::from_secs(60), are).await;
        assert!(are.is_ok(), "{} are under way", self.under_way.load(Ordering::SeqCst));
    }
}

/// Asks from an address of one's own, and does not wait for the answer.
async fn ask_from(source: Ipv4Addr, address: SocketAddr) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(ASK).await.unwrap();
    stream
}

async fn answer_to(mut stream: tokio::net::TcpStream) -> String {
    let mut answer = String::new();
    // What was broken off is no answer.
    _ = stream.read_to_string(&mut answer).await;
    answer
}

const PROMETHEUS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const KUBELET: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const FLOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

#[tokio::test]
async fn a_flood_from_one_address_breaks_off_no_scrape_from_another() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, answers) = (listener.local_addr().unwrap(), Arc::new(Answers::default()));
    tokio::spawn(serve_connections(listener, answers.router()));
    let scrape = ask_from(PROMETHEUS, address).await;
    answers.are_under_way(1).await;
    let mut flood = Vec::new();
    for _ in 0..3 * MOST_CONNECTIONS {
        flood.push(ask_from(FLOOD, address).await);
    }
    for stream in flood.drain(..2 * MOST_CONNECTIONS) {
        assert!(is_ended(stream).await);
    }
    answers.are_under_way(MOST_CONNECTIONS).await;
    answers.let_go.notify_waiters();
    let answer = answer_to(scrape).await;
    assert!(answer.ends_with("all of it\n"), "{answer:?}");
}

// As after this process stood still: all are there before the first is served.
#[tokio::test]
async fn a_burst_from_one_address_takes_no_place_from_a_probe_that_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, answers) = (listener.local_addr().unwrap(), Arc::new(Answers::default()));
    let probes = [ask_from(KUBELET, address).await, ask_from(KUBELET, address).await];
    let mut flood = Vec::new();
    for _ in 0..2 * MOST_CONNECTIONS {
        flood.push(ask_from(FLOOD, address).await);
    }
    tokio::spawn(serve_connections(listener, answers.router()));
    answers.are_under_way(MOST_CONNECTIONS).await;
    answers.let_go.notify_waiters();
    for probe in probes {
        let answer = answer_to(probe).await;
        assert!(answer.ends_with("all of it\n"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_flood_from_many_addresses_has_no_more_places_and_the_last_to_come_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, answers) = (listener.local_addr().unwrap(), Arc::new(Answers::default()));
    tokio::spawn(serve_connections(listener, answers.router()));
    let mut flood = Vec::new();
    for number in 1..=4 * MOST_CONNECTIONS {
        let source = Ipv4Addr::new(127, 0, 1, u8::try_from(number).unwrap());
        flood.push(ask_from(source, address).await);
    }
    for stream in flood.drain(..3 * MOST_CONNECTIONS) {
        assert!(is_ended(stream).await);
    }
    answers.are_under_way(MOST_CONNECTIONS).await;
    answers.let_go.notify_waiters();
    for stream in flood {
        let answer = answer_to(stream).await;
        assert!(answer.ends_with("all of it\n"), "{answer:?}");
    }
}
