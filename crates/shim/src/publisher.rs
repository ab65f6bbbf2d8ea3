//! Events for containerd: sent one after the other, kept while containerd is away.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use prost::Message as _;

use super::proto::events::{Envelope, ForwardRequest};
use super::proto::{Any, KeyValue, Request, Timestamp};
use super::wire::{Connection, Frame};

/// Time between two attempts to reach containerd.
const RETRY: Duration = Duration::from_millis(500);
/// Time for containerd's answer to one event.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest time that events of further processes wait: containerd would take them in the time in which it forwards the calls
/// that start and delete such a process.
const PATIENCE: Duration = Duration::from_millis(10);
/// Number of events that are kept while containerd is away; it learns what is newer.
const MAX_KEPT: usize = 8192;

/// The queue of events and the connection to containerd.
#[derive(Debug)]
pub(crate) struct Publisher {
    path: String,
    namespace: String,
    queue: VecDeque<Vec<u8>>,
    connection: Option<Connection>,
    /// The first event of the queue has been sent; until when an answer may come.
    sent: Option<Instant>,
    retry_at: Option<Instant>,
    /// When the queue is to be sent, if all of it may wait.
    due: Option<Instant>,
    number: u32,
}

impl Publisher {
    /// Returns a publisher to the socket at `path`; nothing is connected before the first event.
    pub(crate) fn new(path: &str, namespace: &str) -> Publisher {
        let (path, namespace) = (path.strip_prefix("unix://").unwrap_or(path).to_owned(), namespace.to_owned());
        let queue = VecDeque::new();
        Publisher { path, namespace, queue, connection: None, sent: None, retry_at: None, due: None, number: 1 }
    }

    /// Appends an event of the type `containerd.events.NAME`, to be sent by the next [`Publisher::advance`].
    pub(crate) fn publish(&mut self, topic: &str, name: &str, event: &impl prost::Message) {
        self.due = None;
        self.append(topic, name, event);
    }

    /// Appends an event that no call waits for: it is sent a little later, or with the next one that cannot wait.
    pub(crate) fn publish_later(&mut self, topic: &str, name: &str, event: &impl prost::Message) {
        if self.queue.is_empty() {
            self.due = Some(Instant::now() + PATIENCE);
        }
        self.append(topic, name, event);
    }

    fn append(&mut self, topic: &str, name: &str, event: &impl prost::Message) {
        let envelope = Envelope {
            timestamp: Some(Timestamp::now()),
            namespace: self.namespace.clone(),
            topic: topic.to_owned(),
            event: Some(Any::pack(&format!("containerd.events.{name}"), event)),
        };
        let request = Request {
            service: "containerd.services.events.ttrpc.v1.Events".to_owned(),
            method: "Forward".to_owned(),
            payload: ForwardRequest { envelope: Some(envelope) }.encode_to_vec(),
            timeout_nano: ANSWER.as_nanos() as i64,
            metadata: vec![KeyValue { key: "containerd-namespace-ttrpc".to_owned(), value: self.namespace.clone() }],
        };
        if self.queue.len() >= MAX_KEPT {
            self.queue.pop_front();
        }
        self.queue.push_back(request.encode_to_vec());
    }

    /// Returns whether every event has been taken.
    pub(crate) fn is_done(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns the connection, to be polled.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    /// Returns when to call [`Publisher::advance`] at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.queue.is_empty() { None } else { self.sent.or(self.retry_at).or(self.due) }
    }

    /// Reads answers, and sends or connects again when it is time to.
    pub(crate) fn advance(&mut self) {
        if let Some(connection) = &mut self.connection {
            let alive = connection.flush();
            match connection.read() {
                Ok((frames, closed)) if alive => {
                    for frame in frames {
                        // an event that containerd does not take is not sent again
                        if matches!(frame, Frame::Response(_)) && self.sent.take().is_some() {
                            self.queue.pop_front();
                        }
                    }
                    if closed {
                        self.disconnect();
                    }
                }
                _ => self.disconnect(),
            }
        }
        if self.sent.is_some_and(|until| until <= Instant::now()) {
            self.disconnect();
        }
        self.send();
    }

    /// Sends the first event, if none is on its way.
    fn send(&mut self) {
        let now = Instant::now();
        let waits = [self.retry_at, self.due].into_iter().flatten().any(|at| at > now);
        if self.queue.is_empty() || self.sent.is_some() || waits {
            return;
        }
        (self.retry_at, self.due) = (None, None);
        if self.connection.is_none() {
            self.connection = UnixStream::connect(&self.path).ok().and_then(|stream| Connection::new(stream).ok());
        }
        match (&mut self.connection, self.queue.front()) {
            (Some(connection), Some(event)) => {
                connection.call(self.number, event);
                // numbers of a client are odd
                self.number = self.number.wrapping_add(2);
                self.sent = Some(now + ANSWER);
            }
            _ => self.retry_at = Some(now + RETRY),
        }
    }

    fn disconnect(&mut self) {
        (self.connection, self.sent) = (None, None);
        self.retry_at = Some(Instant::now() + RETRY);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::proto::events::TaskStart;

    #[test]
    fn events_keep_their_order_over_a_restart_of_containerd() {
        let path = std::env::temp_dir().join(format!("croci-shim-publisher-{}", std::process::id()));
        let mut publisher = Publisher::new(path.to_str().unwrap(), "n");
        for pid in 1..=3 {
            publisher.publish("/tasks/start", "TaskStart", &TaskStart { container_id: "c".to_owned(), pid });
        }
        let mut seen = Vec::new();
        for round in 0..2 {
            let _ = std::fs::remove_file(&path);
            let listener = UnixListener::bind(&path).unwrap();
            let serve = std::thread::spawn(move || {
                let mut server = Connection::new(listener.accept().unwrap().0).unwrap();
                let mut got = Vec::new();
                // the first containerd takes one event and dies with the second one unanswered
                while got.len() < 2 {
                    for frame in server.read().unwrap().0 {
                        let Frame::Request(number, request) = frame else { panic!() };
                        let event = ForwardRequest::decode(&*request.payload).unwrap().envelope.unwrap().event.unwrap();
                        got.push(TaskStart::decode(&*event.value).unwrap().pid);
                        if round == 1 || got.len() == 1 {
                            server.answer(number, Ok(Vec::new()));
                        }
                    }
                }
                got
            });
            let left = if round == 0 { 2 } else { 0 };
            while publisher.queue.len() > left || round == 0 && !serve.is_finished() {
                std::thread::sleep(Duration::from_millis(2));
                publisher.advance();
            }
            seen.push(serve.join().unwrap());
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(seen, [vec![1, 2], vec![2, 3]]);
    }

    #[test]
    fn events_that_may_wait_are_sent_with_the_next_one_or_a_little_later() {
        let path = std::env::temp_dir().join(format!("croci-shim-later-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let mut publisher = Publisher::new(&format!("unix://{}", path.display()), "n");
        let event = |pid| TaskStart { container_id: "c".to_owned(), pid };
        publisher.publish_later("/tasks/exec-added", "TaskStart", &event(1));
        publisher.advance();
        assert!(publisher.sent.is_none() && publisher.deadline().is_some());
        publisher.publish("/tasks/exit", "TaskStart", &event(2));
        publisher.advance();
        assert!(publisher.sent.is_some());
        let mut server = Connection::new(listener.accept().unwrap().0).unwrap();
        publisher.publish_later("/tasks/exec-started", "TaskStart", &event(3));
        let mut seen = Vec::new();
        while seen.len() < 3 {
            publisher.advance();
            for frame in server.read().unwrap().0 {
                let Frame::Request(number, request) = frame else { panic!() };
                let any = ForwardRequest::decode(&*request.payload).unwrap().envelope.unwrap().event.unwrap();
                seen.push(TaskStart::decode(&*any.value).unwrap().pid);
                server.answer(number, Ok(Vec::new()));
            }
        }
        while !publisher.is_done() {
            publisher.advance();
        }
        publisher.publish_later("/tasks/exit", "TaskStart", &event(4));
        let until = publisher.deadline().unwrap();
        assert!(until > Instant::now() && until <= Instant::now() + PATIENCE);
        while publisher.sent.is_none() {
            publisher.advance();
        }
        assert!(Instant::now() >= until);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(seen, [1, 2, 3]);
    }
}
