//! Structured logs on stderr: stdout is for data.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For log stores: one JSON object a line, the fields of the event at its top.
    Json,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be read.
    #[error("RUST_LOG cannot be read: {0}")]
    Filter(ParseError),
    /// Somebody else set the process's logs up first.
    #[error("logs are set up already: {0}")]
    Twice(TryInitError),
}

/// What is logged unless `RUST_LOG` says otherwise. kube tells every re-list and reconnect of a watch
/// at info, and an answer that it cannot read at warn, which may be all policies of a cluster, every two seconds: what
/// matters of that is told by our own events and metrics.
const DEFAULT_FILTER: &str =
    "info,kube=warn,kube_client=error,kube_runtime=warn,hyper=warn,hyper_util=warn,rustls=warn,tower=warn";

/// Sends the logs of this process to stderr, filtered by `RUST_LOG` in the syntax of `tracing`, for
/// example `cofferdam=debug,warn`. Colours only where a person looks on and `NO_COLOR` is not set.
///
/// # Errors
///
/// When `RUST_LOG` cannot be read, or on a second call.
pub fn init(format: LogFormat) -> Result<(), LoggingError> {
    let filter = filter(std::env::var("RUST_LOG").ok().as_deref())?;
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = std::io::stderr().is_terminal() && !no_colour;
    subscriber(format, filter, colours, std::io::stderr)
        .try_init()
        .map_err(LoggingError::Twice)
}

/// The filter that a setting asks for, the default where there is none.
fn filter(setting: Option<&str>) -> Result<EnvFilter, LoggingError> {
    let directives = setting
        .filter(|setting| !setting.trim().is_empty())
        .unwrap_or(DEFAULT_FILTER);
    EnvFilter::builder().parse(directives).map_err(LoggingError::Filter)
}

fn subscriber(
    format: LogFormat,
    filter: EnvFilter,
    colours: bool,
    writer: impl for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
) -> Box<dyn Subscriber + Send + Sync> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        LogFormat::Text => Box::new(builder.with_ansi(colours).finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of five events, under a setting of the filter.
    fn written(format: LogFormat, setting: Option<&str>, colours: bool) -> String {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = subscriber(format, filter(setting).unwrap(), colours, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(namespace = "shop", "protected");
            tracing::debug!("looked");
            tracing::info!(target: "kube_runtime::watcher", "listed");
            tracing::warn!(target: "tower::buffer", "refused");
            tracing::warn!(target: "kube_client::client", "unreadable");
        });
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_filter_decides_what_is_written() {
        let cases: [(Option<&str>, &[&str]); 4] = [
            (None, &["protected", "refused"]),
            (Some(" "), &["protected", "refused"]),
            (
                Some("debug"),
                &["protected", "looked", "listed", "refused", "unreadable"],
            ),
            (Some("off,cofferdam=debug"), &["protected", "looked"]),
        ];
        for (setting, expected) in cases {
            let text = written(LogFormat::Text, setting, false);
            for word in ["protected", "looked", "listed", "refused", "unreadable"] {
                assert_eq!(
                    text.contains(word),
                    expected.contains(&word),
                    "{setting:?} {word}: {text}"
                );
            }
        }
    }

    #[test]
    fn colours_only_where_asked_for() {
        assert!(written(LogFormat::Text, None, true).contains('\u{1b}'));
        assert!(!written(LogFormat::Text, None, false).contains('\u{1b}'));
        assert!(!written(LogFormat::Json, None, true).contains('\u{1b}'));
    }

    #[test]
    fn json_has_one_object_a_line_with_the_fields_at_its_top() {
        let text = written(LogFormat::Json, None, false);
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(line["message"], "protected");
        assert_eq!(line["namespace"], "shop");
        assert_eq!(line["level"], "INFO");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        let error = filter(Some("cofferdam=loud")).unwrap_err();
        assert!(error.to_string().starts_with("RUST_LOG cannot be read"), "{error}");
    }
}
