//! One client's socket: bytes to messages and back, probes, and a bound on what it may owe us.

use std::sync::Arc;
use std::time::Instant;

use daemon::reconnect::{Action, Config, Reconnect};
use daemon::stream::Connection;
use ovsdb::jsonrpc::{Framer, Message};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::event_loop::Event;
use crate::server::SessionId;

/// A client that reads so slowly that more than this waits to be sent is cut off.
pub const MAX_BACKLOG: usize = 64 << 20;

/// Requests of a client to which more than this waits to be sent are left in its socket: what it
/// asks for without reading the answers delays nobody else.
const MAX_UNREAD: usize = 1 << 20;

/// Requests of a client that the event loop has not taken yet; the answers to more could need
/// much memory before anybody sees that they are not read.
const MAX_UNTAKEN: usize = 32;

/// The longest request.
const MAX_REQUEST: usize = 64 << 20;

/// What the event loop hands to a connection.
#[derive(Debug)]
pub enum Outgoing {
    Message(Message),
    /// A message that is JSON text already and that other clients may get too.
    Text(Arc<[u8]>),
    /// Send what was given, then close.
    Close,
}

impl Outgoing {
    fn append_to(self, backlog: &mut Vec<u8>) {
        match self {
            Self::Message(message) => backlog.append(&mut message.to_bytes()),
            Self::Text(text) => backlog.extend_from_slice(&text),
            Self::Close => {}
        }
    }
}

/// Serves one connection until it ends, and then tells the event loop. `config` may change
/// meanwhile.
pub async fn serve(
    session: SessionId,
    connection: Connection,
    config: watch::Receiver<Config>,
    events: mpsc::Sender<Event>,
    outgoing: mpsc::UnboundedReceiver<Outgoing>,
) {
    let peer = connection.peer;
    let (reader, writer) = tokio::io::split(connection.stream);
    let (heard, hearing) = mpsc::channel(1);
    let (lags, lagging) = watch::channel(false);
    let reason = tokio::select! {
        reason = read(session, reader, &events, heard, lagging) => reason,
        reason = write(writer, outgoing, hearing, config, lags) => reason,
    };
    tracing::debug!("{peer}: {reason}");
    // The event loop may already be gone when everything shuts down.
    let _ = events.send(Event::Disconnected { session, reason }).await;
}

type StreamHalf = Box<dyn daemon::stream::Stream>;

async fn read(
    session: SessionId,
    mut reader: ReadHalf<StreamHalf>,
    events: &mpsc::Sender<Event>,
    heard: mpsc::Sender<()>,
    mut lagging: watch::Receiver<bool>,
) -> String {
    let mut framer = Framer::new(MAX_REQUEST);
    let untaken = Arc::new(Semaphore::new(MAX_UNTAKEN));
    let mut chunk = vec![0u8; 64 << 10];
    loop {
        let count = match reader.read(&mut chunk).await {
            Ok(0) => return "connection closed by peer".to_owned(),
            Ok(count) => count,
            Err(error) => return format!("receive error: {error}"),
        };
        // One sign of life that was not looked at yet is as good as two.
        let _ = heard.try_send(());
        framer.push(chunk.get(..count).unwrap_or_default());
        loop {
            match framer.poll_message() {
                Ok(None) => break,
                Ok(Some(message)) => {
                    // The other half ends first, and this one with it.
                    let _ = lagging.wait_for(|lagging| !lagging).await;
                    let place = Arc::clone(&untaken).acquire_owned().await.ok();
                    let event = Event::Message {
                        session,
                        message,
                        place,
                    };
                    if events.send(event).await.is_err() {
                        return "shutting down".to_owned();
                    }
                }
                Err(error) => return format!("received bad JSON-RPC message: {error}"),
            }
        }
    }
}

async fn write(
    mut writer: WriteHalf<StreamHalf>,
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
    mut hearing: mpsc::Receiver<()>,
    mut config: watch::Receiver<Config>,
    lags: watch::Sender<bool>,
) -> String {
    let mut probe = Reconnect::new(*config.borrow_and_update(), Instant::now());
    probe.handle_connected(Instant::now());
    let mut backlog: Vec<u8> = Vec::new();
    let mut sent = 0usize;
    let mut closing = false;
    loop {
        let unsent = backlog.get(sent..).unwrap_or_default();
        if unsent.is_empty() {
            if closing {
                return "closed".to_owned();
            }
            backlog.clear();
            backlog.shrink_to(1 << 20);
            sent = 0;
        }
        let unsent = backlog.get(sent..).unwrap_or_default();
        let much = unsent.len() > MAX_UNREAD;
        lags.send_if_modified(|lags| std::mem::replace(lags, much) != much);
        let deadline = probe.deadline();
        tokio::select! {
            result = writer.write(unsent), if !unsent.is_empty() => match result {
                Ok(0) => return "send error: closed".to_owned(),
                Ok(count) => {
                    sent = sent.saturating_add(count);
                    if much {
                        // Nothing is heard of it now, but it reads.
                        probe.handle_activity(Instant::now());
                    }
                }
                Err(error) => return format!("send error: {error}"),
            },
            next = outgoing.recv(), if !closing => match next {
                Some(Outgoing::Close) | None => closing = true,
                Some(message) => {
                    // One message may be of any size; a second one behind it may not wait.
                    if unsent.len() > MAX_BACKLOG {
                        return format!(
                            "{} bytes wait to be sent to a client that does not read",
                            unsent.len()
                        );
                    }
                    // What was sent is dropped before it outweighs what was not.
                    if sent > backlog.len() / 2 {
                        backlog.drain(..sent);
                        sent = 0;
                    }
                    message.append_to(&mut backlog);
                }
            },
            Ok(()) = config.changed() => {
                let config = *config.borrow_and_update();
                probe.set_config(config, Instant::now());
            }
            Some(()) = hearing.recv() => probe.handle_activity(Instant::now()),
            () = sleep_until(deadline), if deadline.is_some() => {
                match probe.poll(Instant::now()) {
                    Some(Action::Probe) => {
                        let echo = Message::request(json!("echo"), "echo", json!([]));
                        backlog.append(&mut echo.to_bytes());
                    }
                    Some(Action::Disconnect | Action::Connect) => {
                        return "no response to inactivity probe".to_owned();
                    }
                    None => {}
                }
            }
        }
    }
}

/// Sleeps until `deadline`, or for ever.
pub(crate) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
