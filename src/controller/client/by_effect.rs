//! Requests that only read go one way; those that would change something go through the gate, on connections that send
//! nothing while it is shut.

use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{self, BoxFuture};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::Connect;
use kube::client::Body;
use tower::{BoxError, Service};

use super::write_gate::WriteGate;

/// Two clients of one server.
#[derive(Clone)]
pub(super) struct ByEffect<Reading, Writing> {
    pub(super) reading: HttpClient<Reading, Body>,
    pub(super) writing: HttpClient<Writing, Body>,
    pub(super) gate: WriteGate,
}

impl<Reading, Writing> Service<Request<Body>> for ByEffect<Reading, Writing>
where
    Reading: Connect + Clone + Send + Sync + 'static,
    Writing: Connect + Clone + Send + Sync + 'static,
{
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(())) // as the clients within
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if only_reads(request.method()) {
            return self
                .reading
                .request(request)
                .map(|answer| answer.map_err(BoxError::from))
                .boxed();
        }
        let pass = match self.gate.enter() {
            Ok(pass) => pass,
            Err(refusal) => return future::err(BoxError::from(refusal)).boxed(),
        };
        let asking = self.writing.request(request);
        let answered = move |answer: Result<Self::Response, hyper_util::client::legacy::Error>| {
            // Without a connection nothing was sent.
            if answer.as_ref().map_or_else(|error| error.is_connect(), |_| true) {
                pass.answered();
            }
            answer.map_err(BoxError::from)
        };
        asking.map(answered).boxed()
    }
}

/// Everything else is taken for a write, whatever it may be.
fn only_reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
