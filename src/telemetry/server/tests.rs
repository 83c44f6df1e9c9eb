use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;

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
