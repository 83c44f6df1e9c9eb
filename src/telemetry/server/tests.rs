use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connections::{LONGEST_HEAD, MOST_CONNECTIONS};
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

#[tokio::test]
async fn a_crowd_that_holds_connections_keeps_nobody_out_and_costs_no_more_than_its_places() {
    let running = running().await;
    let mut crowd = Vec::new();
    for _ in 0..10 * MOST_CONNECTIONS {
        crowd.push(say(running.address, b"GET /metrics HTTP/1.1\r\nhost: ").await);
    }
    for path in ["/livez", "/metrics"] {
        assert!(ask(running.address, path).await.starts_with("HTTP/1.1 200 "), "{path}");
    }
    let last = crowd.split_off(crowd.len() - MOST_CONNECTIONS / 2);
    for stream in crowd.drain(..9 * MOST_CONNECTIONS) {
        assert!(is_ended(stream).await);
    }
    drop(last);
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
