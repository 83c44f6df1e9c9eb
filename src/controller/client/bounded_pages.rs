//! Pages of lists that do not fill the memory: who may create objects decides how large they are, and five hundred of the
//! largest are a gigabyte.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use http::{Method, Request, Response};
use hyper::body::{Body, Frame, SizeHint};
use tower::{BoxError, Layer, Service};

/// The most bytes of a page: several hundred policies of usual size, and a few dozen megabytes in our types.
pub(super) const MOST_PAGE_BYTES: usize = 2 << 20;

/// A page is larger than what is read at once: fewer objects have to be asked for.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a page of a list has more than {MOST_PAGE_BYTES} bytes; fewer objects are asked for at once")]
pub struct PageTooLarge;

/// Bounds the answers to lists that ask for a page of more than one object.
#[derive(Clone)]
pub(super) struct BoundPages;

/// See [`BoundPages`].
#[derive(Clone)]
pub(super) struct BoundedPages<S> {
    inner: S,
}

/// The body of an answer, and how much more of it is read.
pub(super) struct Bounded<B> {
    inner: B,
    left: usize,
}

impl<S> Layer<S> for BoundPages {
    type Service = BoundedPages<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BoundedPages { inner }
    }
}

impl<S, Asked, Answer> Service<Request<Asked>> for BoundedPages<S>
where
    S: Service<Request<Asked>, Response = Response<Answer>, Error = BoxError>,
    S::Future: Send + 'static,
    Answer: 'static,
{
    type Response = Response<Bounded<Answer>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Asked>) -> Self::Future {
        let left = if is_page(&request) { MOST_PAGE_BYTES } else { usize::MAX };
        let bounded = move |answer: Response<Answer>| answer.map(|inner| Bounded { inner, left });
        self.inner.call(request).map_ok(bounded).boxed()
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(Into::into)?;
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(left) = self.left.checked_sub(length) else {
            return Poll::Ready(Some(Err(BoxError::from(PageTooLarge))));
        };
        self.left = if self.left == usize::MAX { usize::MAX } else { left };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn is_page<B>(request: &Request<B>) -> bool {
    let parameters = request.uri().query().unwrap_or_default();
    let limit = parameters
        .split('&')
        .find_map(|parameter| parameter.strip_prefix("limit="));
    request.method() == Method::GET && limit.is_some_and(|limit| limit != "1")
}
