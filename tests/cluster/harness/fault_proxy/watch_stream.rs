//! A watch on its way through the proxy, event by event.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;

use super::Cut;
use super::api_request::{ApiRequest, Requests};
use super::fault::{EventFault, EventLine};
use super::script::{EventRule, Script};

/// What the controller gets of a watch.
pub type EventSender = mpsc::Sender<Result<Frame<Bytes>, Cut>>;

/// A watch that runs.
pub struct WatchStream {
    /// What was asked for.
    pub watch: ApiRequest,
    /// The rules.
    pub script: Arc<Script>,
    /// Whose watches end now.
    pub cuts: broadcast::Receiver<Requests>,
    /// To the controller.
    pub to_controller: EventSender,
}

/// What became of the watch after an event.
enum Next {
    GoOn,
    End,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<(Instant, EventLine)>,
}

impl WatchStream {
    /// Carries events until either side ends the watch, or a fault does.
    pub async fn carry(mut self, mut from_server: Incoming) {
        let mut partial = BytesMut::new();
        let mut waiting = Waiting::default();
        loop {
            let due = waiting.due();
            tokio::select! {
                frame = from_server.frame() => {
                    let Some(Ok(frame)) = frame else { break };
                    let Ok(data) = frame.into_data() else { continue };
                    partial.extend_from_slice(&data);
                    while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
                        let line = EventLine::read(partial.split_to(end + 1).freeze());
                        if let Next::End = self.take(line, &mut waiting).await {
                            return;
                        }
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                cut = self.cuts.recv() => {
                    if cut.is_ok_and(|which| which.include(&self.watch)) {
                        return;
                    }
                }
                () = self.to_controller.closed() => return,
            }
            if !self.send_due(&mut waiting, Instant::now()).await {
                return;
            }
        }
        // The server's end of the watch comes after all that it sent before.
        while let Some(due) = waiting.due() {
            tokio::time::sleep_until(due).await;
            if !self.send_due(&mut waiting, due).await {
                return;
            }
        }
    }

    async fn take(&self, line: EventLine, waiting: &mut Waiting) -> Next {
        let Some(rule) = self.script.strikes_event(&self.watch, &line) else {
            waiting.push(Instant::now(), line);
            return Next::GoOn;
        };
        match *rule.does() {
            EventFault::Swallow => {}
            EventFault::Duplicate => {
                waiting.push(Instant::now(), line.clone());
                waiting.push(Instant::now(), line);
            }
            EventFault::Delay(delay) => waiting.push(Instant::now() + delay, line),
            EventFault::Coalesce(delay) => {
                waiting.lines.retain(|(_, other)| !other.is_about_the_object_of(&line));
                waiting.push(Instant::now() + delay, line);
            }
            ends => return self.end(ends, &line, &rule, waiting).await,
        }
        Next::GoOn
    }

    async fn end(&self, fault: EventFault, line: &EventLine, rule: &EventRule, waiting: &mut Waiting) -> Next {
        // What was not delayed came before.
        self.send_due(waiting, Instant::now()).await;
        match fault {
            EventFault::Reset => _ = self.to_controller.send(Err(Cut)).await,
            EventFault::Truncate => self.send(line.bytes.slice(..line.bytes.len() / 2)).await,
            EventFault::Expired => self.send(EventLine::expired()).await,
            EventFault::Silence => {
                tokio::select! {
                    () = rule.wait_until_lifted() => {}
                    () = self.to_controller.closed() => {}
                }
            }
            _ => {}
        }
        Next::End
    }

    async fn send(&self, bytes: Bytes) {
        // An error says that the controller has gone, which ends the watch anyway.
        let _ = self.to_controller.send(Ok(Frame::data(bytes))).await;
    }

    /// Whether the controller is still there.
    async fn send_due(&self, waiting: &mut Waiting, now: Instant) -> bool {
        while waiting.due().is_some_and(|due| due <= now) {
            let Some((_, line)) = waiting.lines.pop_front() else {
                break;
            };
            self.send(line.bytes).await;
        }
        !self.to_controller.is_closed()
    }
}

impl Waiting {
    fn due(&self) -> Option<Instant> {
        self.lines.front().map(|(due, _)| *due)
    }

    // A watch keeps its order: nothing overtakes what waits.
    fn push(&mut self, due: Instant, line: EventLine) {
        let last = self.lines.back().map(|(due, _)| *due);
        self.lines.push_back((last.map_or(due, |last| last.max(due)), line));
    }
}

impl EventLine {
    fn is_about_the_object_of(&self, other: &Self) -> bool {
        (&self.namespace, &self.name) == (&other.namespace, &other.name)
    }
}
