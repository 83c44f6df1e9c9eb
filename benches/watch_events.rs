//! A watch, line by line, and no more decoded than the measurements need.

use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

use crate::connection::Server;

/// What happened to the object.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    Added,
    Modified,
    Deleted,
    Error,
}

/// One event.
#[derive(Clone, Debug, Deserialize)]
pub struct WatchEvent {
    #[serde(rename = "type")]
    pub kind: Kind,
    pub object: Object,
}

/// The object, as of the event.
#[derive(Clone, Debug, Deserialize)]
pub struct Object {
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(default)]
    pub spec: Value,
}

/// The metadata that is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
}

/// A watch that goes on for ever. A task of its own reads and another decodes: a server closes the watch of a slow
/// reader, and a busy one closes others too, which then go on where they were.
pub struct WatchStream {
    server: Server,
    path: String,
    last_version: String,
    chunks: UnboundedReceiver<(Bytes, Instant)>,
    buffer: BytesMut,
    read_at: Instant,
    reader: JoinSet<()>,
}

impl WatchStream {
    /// Watches `collection` (a path, with `?` and a selector perhaps) from now on.
    pub async fn open(server: &Server, collection: &str) -> Self {
        let joint = if collection.contains('?') { '&' } else { '?' };
        let list = server.get(&format!("{collection}{joint}limit=1")).await;
        let version = list["metadata"]["resourceVersion"].as_str();
        let mut stream = Self {
            server: server.clone(),
            path: format!("{collection}{joint}watch=true&resourceVersion="),
            last_version: version.expect("a list has a version").to_owned(),
            chunks: unbounded_channel().1,
            buffer: BytesMut::new(),
            read_at: Instant::now(),
            reader: JoinSet::new(),
        };
        stream.read_on().await;
        stream
    }

    /// The next event, and when its last bytes came.
    pub async fn next(&mut self) -> (WatchEvent, Instant) {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                let event: WatchEvent = serde_json::from_slice(&line).expect("an event a line");
                let text = || String::from_utf8_lossy(&line).into_owned();
                assert!(event.kind != Kind::Error, "{}", text());
                self.last_version.clone_from(&event.object.metadata.resource_version);
                return (event, self.read_at);
            }
            match self.chunks.recv().await {
                Some((data, read_at)) => {
                    self.read_at = read_at;
                    self.buffer.extend_from_slice(&data);
                }
                None => self.read_on().await,
            }
        }
    }

    async fn read_on(&mut self) {
        self.buffer.clear();
        let path = format!("{}{}", self.path, self.last_version);
        let mut body = self.server.connect().await.watch(&path).await;
        let (sender, chunks) = unbounded_channel();
        self.chunks = chunks;
        self.reader.spawn(async move {
            // An error is an end like any other: what was not read yet comes again.
            while let Some(Ok(frame)) = body.frame().await {
                let read_at = Instant::now();
                if let Ok(data) = frame.into_data()
                    && sender.send((data, read_at)).is_err()
                {
                    return;
                }
            }
        });
    }
}
