//! A socket that sends only while the gate is open.
//!
//! Between the moment at which a request is allowed and the one at which its bytes go to the kernel lie a connection to
//! be made, a handshake and an encryption; a process that is stopped anywhere in between goes on from there when it is
//! continued. So the last check is here, right before the system call. What is left between the two is some ten
//! nanoseconds, and what the kernel had taken before it counts as sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use tower::{BoxError, Service};

use super::write_gate::{NotLeading, WriteGate};

/// Connects as [`HttpConnector`] does.
#[derive(Clone)]
pub(super) struct GatedConnector {
    inner: HttpConnector,
    gate: WriteGate,
}

/// A connection on which nothing is sent unless the gate is open.
pub(super) struct GatedStream<S> {
    inner: S,
    gate: WriteGate,
}

impl GatedConnector {
    /// What was sent and is not acknowledged in time ends the connection: the kernel would go on sending it, whatever
    /// becomes of this process.
    pub(super) fn new(mut inner: HttpConnector, gate: WriteGate) -> Self {
        if let Some(late_at_most) = gate.late_at_most() {
            inner.set_tcp_user_timeout(Some(late_at_most));
        }
        Self { inner, gate }
    }
}

impl Service<Uri> for GatedConnector {
    type Response = GatedStream<<HttpConnector as Service<Uri>>::Response>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(BoxError::from)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let gate = self.gate.clone();
        let connecting = self.inner.call(address).map_err(BoxError::from);
        connecting.map_ok(|inner| GatedStream { inner, gate }).boxed()
    }
}

impl<S> GatedStream<S> {
    fn check(&self) -> io::Result<()> {
        if self.gate.is_open() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, NotLeading))
    }
}

impl<S: Write + Unpin> Write for GatedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<S: Read + Unpin> Read for GatedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: Connection> Connection for GatedStream<S> {
    fn connected(&self) -> Connected {
        self.inner.connected()
    }
}
