//! An API server of a test's own: it answers as it is told, at once, and remembers what it was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::tier_writer::TierWriter;
use crate::telemetry::metrics::{KnownSeries, Metrics};

#[derive(Clone)]
pub struct CannedServer {
    code: Arc<Mutex<u16>>,
    /// What is asked for under a path that ends so is answered otherwise.
    exceptions: Arc<Mutex<BTreeMap<&'static str, u16>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    /// Null where there was none.
    pub body: Value,
}

impl Asked {
    pub async fn of(request: Request<Body>) -> kube::Result<Self> {
        let (head, body) = request.into_parts();
        Ok(Self {
            method: head.method,
            path: head.uri.path().to_owned(),
            body: serde_json::from_slice(&body.collect_bytes().await?).unwrap_or_default(),
        })
    }
}

impl CannedServer {
    pub fn answering(code: u16) -> Self {
        Self {
            code: Arc::new(Mutex::new(code)),
            exceptions: Arc::default(),
            asked: Arc::default(),
        }
    }

    pub fn answer(&self, code: u16) {
        *self.code.lock().unwrap() = code;
    }

    pub fn answer_under(&self, end_of_path: &'static str, code: u16) {
        self.exceptions.lock().unwrap().insert(end_of_path, code);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn client(&self) -> Client {
        let server = self.clone();
        let answer = move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let asked = Asked::of(request).await?;
                let code = server.code_for(&asked.path);
                let answer = Body::from(answer_to(&asked, code).to_string().into_bytes());
                server.asked.lock().unwrap().push(asked);
                Response::builder()
                    .status(code)
                    .body(answer)
                    .map_err(tower::BoxError::from)
            }
        };
        Client::new(service_fn(answer), "default")
    }

    fn code_for(&self, path: &str) -> u16 {
        let exceptions = self.exceptions.lock().unwrap();
        let exception = exceptions.iter().find(|(end, _)| path.ends_with(**end));
        exception.map_or(*self.code.lock().unwrap(), |(_, code)| *code)
    }

    pub fn tier_writer(&self) -> TierWriter {
        let metrics = Metrics::new(KnownSeries::default()).unwrap();
        TierWriter::new(self.client(), Arc::new(metrics))
    }
}

/// Where that is no failure: a list without tiers, or the tier as it was written.
pub fn answer_to(asked: &Asked, code: u16) -> Value {
    const API_VERSION: &str = "cofferdam.dev/v1alpha1";
    if code >= 400 {
        return json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Any", "message": "no"});
    }
    match asked.method {
        Method::GET => json!({"kind": "IsolationTierList", "apiVersion": API_VERSION, "metadata": {}, "items": []}),
        _ => {
            let metadata = json!({"name": "t", "resourceVersion": "2"});
            json!({"kind": "IsolationTier", "apiVersion": API_VERSION, "metadata": metadata, "status": asked.body["status"]})
        }
    }
}
