//! Answers as text, whatever bytes somebody had the API server store.
//!
//! The API server gives back the keys of managed fields as they were sent, also where they are not UTF-8. One such object
//! would make every list and watch that it is in unreadable, and so end the protection of all namespaces. JSON has such
//! bytes inside strings alone, so putting others in their place leaves everything else as it is.

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use http_body_util::combinators::MapFrame;
use hyper::body::{Body, Frame};

/// In place of each byte that belongs to no character.
const UNREADABLE: u8 = b'?';

/// An answer whose body is UTF-8.
pub(super) fn as_text<B>(answer: Response<B>) -> Response<MapFrame<B, impl FnMut(Frame<Bytes>) -> Frame<Bytes>>>
where
    B: Body<Data = Bytes>,
{
    answer.map(|body| {
        let mut filter = Filter::default();
        body.map_frame(move |frame| frame.map_data(|data| filter.pass(data)))
    })
}

/// What of a character at the end of one frame goes on in the next.
#[derive(Debug, Default)]
struct Filter {
    begun: Vec<u8>,
}

impl Filter {
    fn pass(&mut self, data: Bytes) -> Bytes {
        if self.begun.is_empty() && std::str::from_utf8(&data).is_ok() {
            return data;
        }
        let mut unread = std::mem::take(&mut self.begun);
        unread.extend_from_slice(&data);
        let mut text = Vec::with_capacity(unread.len());
        let mut rest = unread.as_slice();
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(_) => {
                    text.extend_from_slice(rest);
                    return text.into();
                }
                Err(error) => error,
            };
            let (valid, invalid) = rest.split_at(error.valid_up_to());
            text.extend_from_slice(valid);
            let Some(length) = error.error_len() else {
                self.begun = invalid.to_vec();
                return text.into();
            };
            text.extend(std::iter::repeat_n(UNREADABLE, length));
            rest = &invalid[length..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(frames: &[&[u8]]) -> Vec<u8> {
        let mut filter = Filter::default();
        let frames = frames.iter();
        frames
            .flat_map(|frame| filter.pass(Bytes::copy_from_slice(frame)))
            .collect()
    }

    #[test]
    fn what_is_no_character_is_replaced_and_nothing_else() {
        for (bytes, expected) in [
            (&b"{\"f:\xff\xfe\":{}}\n"[..], &b"{\"f:??\":{}}\n"[..]),
            (b"a\xc3(", b"a?("),
            (b"\xf0\x9f\x92(\xe6\xbc\xa2", b"???(\xe6\xbc\xa2"),
            (b"\xc0\xaf\xed\xa0\x80", b"?????"),
            ("Käse 漢字 \u{1f9c0}".as_bytes(), "Käse 漢字 \u{1f9c0}".as_bytes()),
        ] {
            assert_eq!(passed(&[bytes]), expected, "{bytes:?}");
        }
    }

    // A frame ends where the network says.
    #[test]
    fn a_character_may_go_on_in_the_next_frame() {
        let text = "\"ä漢\u{1f9c0}\"".as_bytes();
        let broken = b"\"\xc3\xa4\xff\xe6\xbc\xf0\x9f\"";
        for (bytes, expected) in [(text, text), (&broken[..], b"\"\xc3\xa4?????\"")] {
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let frames = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                    assert_eq!(passed(&frames), expected, "{frames:?}");
                }
            }
        }
    }
}
