//! Durations on the command line, as people write them: `90s`, `10m`, `1h30m`.

use std::ops::RangeInclusive;
use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;

/// Reads a duration that has to be within `range`.
///
/// # Errors
/// What was expected, for the message of the command line.
pub fn parse_duration_in(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok();
    let within = parsed
        .and_then(|parsed| Duration::try_from(parsed).ok())
        .filter(|duration| range.contains(duration));
    within.ok_or_else(|| {
        format!(
            "expected a duration from {:?} to {:?}, written like 90s, 10m or 1h30m",
            range.start(),
            range.end()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_people_write_it() {
        let day = Duration::from_secs(1)..=Duration::from_secs(86_400);
        let cases = [
            ("90s", Some(90)),
            ("10m", Some(600)),
            ("1h30m", Some(5400)),
            ("1 hour", Some(3600)),
            ("24h", Some(86_400)),
            ("25h", None),
            ("0s", None),
            ("500ms", None),
            ("-10m", None),
            ("10", None),
            ("10 parsecs", None),
            ("", None),
        ];
        for (text, seconds) in cases {
            let read = parse_duration_in(text, day.clone());
            assert_eq!(read.as_ref().ok(), seconds.map(Duration::from_secs).as_ref(), "{text}");
            if let Err(message) = read {
                assert!(
                    message.contains("from 1s to 86400s, written like 90s"),
                    "{text}: {message}"
                );
            }
        }
    }
}
