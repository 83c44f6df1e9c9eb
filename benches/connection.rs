//! HTTP/1.1 over TLS with nothing in between: no pool, no retry, no types. What a request costs any client at least.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The API server, as one identity reaches it.
#[derive(Clone)]
pub struct Server {
    address: SocketAddr,
    authorization: HeaderValue,
    tls: TlsConnector,
}

/// One connection: one request at a time.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    authorization: HeaderValue,
}

/// A request that can be sent without any further work.
#[derive(Clone)]
pub struct Prepared {
    pub method: Method,
    pub path: String,
    pub body: Bytes,
}

impl Server {
    /// From a kubeconfig of the harness, which is JSON.
    pub fn of(kubeconfig: &Path) -> Self {
        let text = std::fs::read_to_string(kubeconfig).expect("a kubeconfig of the harness");
        let config: Value = serde_json::from_str(&text).expect("a kubeconfig of the harness is JSON");
        let word = |value: &Value| value.as_str().expect("a string in the kubeconfig").to_owned();
        let cluster = &config["clusters"][0]["cluster"];
        let address = word(&cluster["server"]).replace("https://", "");
        let authority = word(&cluster["certificate-authority"]);
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(&authority).expect("the server's certificates");
        roots.add_parsable_certificates(certificates.map(|der| der.expect("a certificate in PEM")));
        let tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let token = word(&config["users"][0]["user"]["token"]);
        Self {
            address: address.parse().expect("an address and a port"),
            authorization: HeaderValue::try_from(format!("Bearer {token}")).expect("a token of ASCII"),
            tls: TlsConnector::from(Arc::new(tls)),
        }
    }

    /// Opens a connection.
    pub async fn connect(&self) -> Connection {
        let tcp = TcpStream::connect(self.address).await.expect("the API server listens");
        tcp.set_nodelay(true).expect("TCP_NODELAY");
        let name = ServerName::from(self.address.ip());
        let stream = self.tls.connect(name, tcp).await.expect("TLS with the API server");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        // Ends with the sender, or with the server, which the next request then tells.
        tokio::spawn(connection);
        Connection {
            sender,
            host: HeaderValue::try_from(self.address.to_string()).expect("an address is a header value"),
            authorization: self.authorization.clone(),
        }
    }

    /// One request on a connection of its own; fails the run unless it succeeds.
    pub async fn ask(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Bytes {
        let mut connection = self.connect().await;
        let request = Prepared {
            method,
            path: path.to_owned(),
            body: body.into(),
        };
        let (status, answer) = connection.send(&request).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(status.is_success(), "{} {path}: {status} {text}", request.method);
        answer
    }

    /// [`Self::ask`] for JSON.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.ask(Method::GET, path, "").await;
        serde_json::from_slice(&answer).expect("the API server answers JSON")
    }
}

impl Connection {
    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, request: &Prepared) -> (StatusCode, Bytes) {
        let response = self.open(request).await;
        let status = response.status();
        let body = response.into_body().collect().await.expect("a whole answer");
        (status, body.to_bytes())
    }

    /// Sends a watch and gives the stream of its events.
    pub async fn watch(mut self, path: &str) -> Incoming {
        let request = Prepared {
            method: Method::GET,
            path: path.to_owned(),
            body: Bytes::new(),
        };
        let response = self.open(&request).await;
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response.into_body()
    }

    async fn open(&mut self, request: &Prepared) -> http::Response<Incoming> {
        let content_type = match request.method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = Request::builder()
            .method(request.method.clone())
            .uri(&request.path)
            .header(HOST, self.host.clone())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, content_type)
            .header(USER_AGENT, "cofferdam-bench")
            .body(Full::new(request.body.clone()))
            .expect("a well-formed request");
        self.sender.ready().await.expect("the connection is open");
        self.sender.send_request(request).await.expect("an answer")
    }
}
