//! A server that is busy says in a header for how long. kube reads the body of a refusal and drops its headers, so the
//! time goes into the body, where the API server writes it too when it refuses by itself.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tower::BoxError;

/// What a server answered, or what was made of it.
pub(super) type Answered = Response<Either<Incoming, Full<Bytes>>>;

/// Refusals are short.
const LONGEST_REFUSAL: usize = 64 << 10;

/// Leaves every answer as it is but a refusal that says when to ask again.
///
/// # Errors
/// When such a refusal cannot be read.
pub(super) async fn with_retry_after(answer: Response<Incoming>) -> Result<Answered, BoxError> {
    let (mut head, body) = answer.into_parts();
    let is_busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&head.status);
    let seconds = head.headers.get(RETRY_AFTER).and_then(seconds).filter(|_| is_busy);
    let Some(seconds) = seconds else {
        return Ok(Response::from_parts(head, Either::Left(body)));
    };
    let body = Limited::new(body, LONGEST_REFUSAL).collect().await?.to_bytes();
    head.headers.remove(CONTENT_LENGTH);
    head.headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let status = refusal(head.status, &body, seconds).to_string();
    Ok(Response::from_parts(head, Either::Right(Full::from(status))))
}

/// A date would need a clock that agrees with the server's; the API server gives seconds.
fn seconds(value: &HeaderValue) -> Option<u32> {
    value.to_str().ok()?.trim().parse().ok()
}

/// The Status that says so; what the server said otherwise is kept.
fn refusal(code: StatusCode, body: &[u8], seconds: u32) -> Value {
    let status = serde_json::from_slice::<Value>(body).ok();
    let status = status.filter(|status| status["kind"] == "Status");
    let mut status = status.unwrap_or_else(|| {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "reason": if code == StatusCode::TOO_MANY_REQUESTS { "TooManyRequests" } else { "ServiceUnavailable" },
            "message": String::from_utf8_lossy(body).trim(),
            "code": code.as_u16(),
        })
    });
    if !status["details"].is_object() {
        status["details"] = json!({});
    }
    status["details"]["retryAfterSeconds"] = json!(seconds);
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_said_is_kept() {
        let body = json!({
            "kind": "Status", "code": 429, "message": "later", "reason": "TooManyRequests",
            "details": {"kind": "networkpolicies", "retryAfterSeconds": 1},
        });
        let status = refusal(StatusCode::TOO_MANY_REQUESTS, body.to_string().as_bytes(), 7);
        assert_eq!(status["message"], "later");
        assert_eq!(
            status["details"],
            json!({"kind": "networkpolicies", "retryAfterSeconds": 7})
        );
    }

    #[test]
    fn words_become_a_status() {
        for body in ["Too many requests, please try again later.\n", "[1]", ""] {
            let status = refusal(StatusCode::TOO_MANY_REQUESTS, body.as_bytes(), 1);
            assert_eq!(
                (&status["code"], &status["message"]),
                (&json!(429), &json!(body.trim()))
            );
            assert_eq!(status["details"]["retryAfterSeconds"], 1);
        }
    }

    #[test]
    fn only_seconds_are_read() {
        for (value, expected) in [
            ("1", Some(1)),
            (" 30 ", Some(30)),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
            ("-1", None),
        ] {
            assert_eq!(seconds(&HeaderValue::from_static(value)), expected, "{value}");
        }
    }
}
