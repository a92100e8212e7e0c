//! One OpenFlow connection: bytes in and out, and the pace at which it may ask.
//!
//! A connection is not read while much waits to be written to it, so a peer that asks much and
//! reads little stops itself. After a barrier request nothing more is taken from the peer until
//! the reply is on its way.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use daemon::reconnect::{Action, Reconnect};
use daemon::stream::Stream;

use openflow::{Message, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{broadcast, mpsc};

use super::wire::{Event, Wire};
use super::{Context, NetEvent, NetId};
use crate::database::sleep_until;

/// Messages and bytes that wait to be written, beyond which the peer is not read.
const MAX_QUEUED: usize = 4096;
const MAX_OUTPUT: usize = 1 << 20;
const READ: usize = 64 << 10;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The event loop's handle on a connection.
#[derive(Clone, Debug)]
pub struct Sender {
    queue: mpsc::UnboundedSender<Outgoing>,
    queued: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Outgoing {
    Message(u32, Message),
    Close,
}

impl Sender {
    /// Queues a message. What answers a request is bounded by the pace of requests; for messages
    /// that nobody asked for, look at [`Self::queued`] first.
    pub fn send(&self, xid: u32, message: Message) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        // A connection that is gone says so by an event of its own.
        let _ = self.queue.send(Outgoing::Message(xid, message));
    }

    /// Messages that wait to be written.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    pub fn close(&self) {
        let _ = self.queue.send(Outgoing::Close);
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("End of file")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Protocol(String),
    #[error("no response to inactivity probe")]
    Inactive,
    #[error("closed by the switch")]
    BySwitch,
}

/// What a running connection tells whoever dialled it.
pub trait Observer: Send {
    fn opened(&mut self, _: Version) {}
    /// Bytes came. The time is for the inactivity probe.
    fn heard(&mut self, _: Instant) {}
    fn reconnect(&mut self) -> Option<&mut Reconnect> {
        None
    }
}

/// For connections that nobody watches.
pub struct Nobody;
impl Observer for Nobody {}

/// Serves a connection to its end.
pub async fn run(stream: Box<dyn Stream>, context: &Context, observer: &mut dyn Observer) -> Ended {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let ended = match serve(id, stream, context, observer).await {
        Ok(never) => match never {},
        Err(ended) => ended,
    };
    // The event loop ends after its channel; then nobody needs to know.
    let _ = context.events.send(NetEvent::Closed { id }).await;
    ended
}

async fn serve(
    id: NetId,
    stream: Box<dyn Stream>,
    context: &Context,
    observer: &mut dyn Observer,
) -> Result<std::convert::Infallible, Ended> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (queue, mut outgoing) = mpsc::unbounded_channel();
    let queued = Arc::new(AtomicUsize::new(0));
    let mut connection = Wire::new(context.versions);
    let mut output = BytesMut::new();
    let mut chunk = vec![0u8; READ];
    let mut awaits_barrier = false;
    loop {
        // What came first, then what is to be written because of it.
        while !awaits_barrier && let Some(event) = connection.poll_event() {
            match event {
                Event::Opened(version) => {
                    observer.opened(version);
                    let opened = NetEvent::Opened {
                        id,
                        bridge: context.bridge.clone(),
                        controller: context.controller,
                        version,
                        sender: Sender {
                            queue: queue.clone(),
                            queued: Arc::clone(&queued),
                        },
                    };
                    deliver(context, opened).await?;
                }
                Event::Message { xid, message, raw } => {
                    copy(context, &raw);
                    awaits_barrier = matches!(message, Message::BarrierRequest);
                    let received = NetEvent::Received {
                        id,
                        xid,
                        message,
                        raw,
                    };
                    deliver(context, received).await?;
                }
                Event::Failed(reason) => {
                    flush(&mut connection, &mut output, context);
                    // The peer is told why, if it still listens.
                    let _ = writer.write_all(&output).await;
                    return Err(Ended::Protocol(reason.to_string()));
                }
            }
        }
        flush(&mut connection, &mut output, context);
        let may_read = !awaits_barrier
            && queued.load(Ordering::Relaxed) < MAX_QUEUED
            && output.len() < MAX_OUTPUT;
        let deadline = observer.reconnect().and_then(|r| r.deadline());
        tokio::select! {
            biased;
            written = writer.write(&output), if !output.is_empty() => {
                match written? {
                    0 => return Err(Ended::Closed),
                    n => output.advance(n),
                }
            }
            Some(out) = outgoing.recv(), if output.len() < MAX_OUTPUT => match out {
                Outgoing::Message(xid, message) => {
                    queued.fetch_sub(1, Ordering::Relaxed);
                    awaits_barrier &= !matches!(message, Message::BarrierReply);
                    connection.send(xid, &message);
                }
                Outgoing::Close => return Err(Ended::BySwitch),
            },
            read = reader.read(&mut chunk), if may_read => match read? {
                0 => return Err(Ended::Closed),
                n => {
                    observer.heard(Instant::now());
                    connection.handle_bytes(chunk.get(..n).unwrap_or_default());
                }
            },
            () = sleep_until(deadline) => {
                let Some(reconnect) = observer.reconnect() else {
                    pending::<()>().await;
                    continue;
                };
                match reconnect.poll(Instant::now()) {
                    Some(Action::Probe) => connection.probe(),
                    Some(Action::Disconnect) => return Err(Ended::Inactive),
                    Some(Action::Connect) | None => {}
                }
            }
        }
    }
}

async fn deliver(context: &Context, event: NetEvent) -> Result<(), Ended> {
    context
        .events
        .send(event)
        .await
        .map_err(|_| Ended::BySwitch)
}

/// Moves what the state machine wants to send into the output buffer.
fn flush(connection: &mut Wire, output: &mut BytesMut, context: &Context) {
    while let Some(bytes) = connection.poll_transmit() {
        copy(context, &bytes);
        output.extend_from_slice(&bytes);
    }
}

/// Gives snoopers, if there are any, a copy of one message.
fn copy(context: &Context, bytes: &Bytes) {
    if let Some(snoop) = &context.snoop
        && snoop.receiver_count() > 0
    {
        let _ = snoop.send(bytes.clone());
    }
}

/// Serves somebody who wants copies of what a bridge's controllers hear and say.
pub async fn run_snoop(
    stream: Box<dyn Stream>,
    context: &Context,
    mut copies: broadcast::Receiver<Bytes>,
) -> Ended {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut connection = Wire::new(context.versions);
    let mut chunk = vec![0u8; READ];
    loop {
        let mut output = BytesMut::new();
        flush(&mut connection, &mut output, context);
        if let Err(error) = writer.write_all(&output).await {
            return Ended::Io(error);
        }
        tokio::select! {
            copy = copies.recv() => match copy {
                Ok(bytes) => {
                    if let Err(error) = writer.write_all(&bytes).await {
                        return Ended::Io(error);
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ended::BySwitch,
            },
            read = reader.read(&mut chunk) => match read {
                Ok(0) => return Ended::Closed,
                Ok(n) => {
                    connection.handle_bytes(chunk.get(..n).unwrap_or_default());
                    // Nobody answers a snooper's requests.
                    while let Some(event) = connection.poll_event() {
                        if let Event::Failed(reason) = event {
                            return Ended::Protocol(reason.to_string());
                        }
                    }
                }
                Err(error) => return Ended::Io(error),
            },
        }
    }
}
