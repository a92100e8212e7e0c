//! One OpenFlow connection: bytes in and out, and the pace at which it may ask.
//!
//! A connection is not read while much waits to be written to it, so a peer that asks much and
//! reads little stops itself. After a barrier request, and after a request whose answer is as long
//! as a table, nothing more is taken from the peer until the reply is on its way: whoever asks for
//! everything again and again makes one answer at a time, and others have their turns.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use daemon::stream::Stream;
use ofproto::flows_reply::FlowsReply;
use openflow::connection::{self, Connection, Event, SendError};
use openflow::{Message, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, broadcast, mpsc};

use super::{Context, NetEvent, NetId};
use crate::coverage;
use crate::database::sleep_until;

/// Messages that wait to be encoded, beyond which the peer is not read.
const MAX_QUEUED: usize = 4096;
/// Bytes that wait to be written, beyond which no more messages are encoded.
const MAX_OUTPUT: usize = 1 << 20;
/// Bytes that wait to be written when the peer is slow.
const BLOCKED_OUTPUT: usize = 64 << 10;
const READ: usize = 64 << 10;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The event loop's handle on a connection.
#[derive(Clone, Debug)]
pub struct Sender {
    queue: mpsc::UnboundedSender<Outgoing>,
    queued: Arc<AtomicUsize>,
    wants_drained: Arc<AtomicBool>,
    blocked: Arc<AtomicBool>,
    abandoned: Arc<Notify>,
}

#[derive(Debug)]
enum Outgoing {
    Message(u32, Message),
    Flows(u32, FlowsReply),
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

    /// Queues an answer that is encoded as the peer reads it. Messages behind it wait.
    pub fn send_flows(&self, xid: u32, reply: FlowsReply) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        let _ = self.queue.send(Outgoing::Flows(xid, reply));
    }

    /// Messages that wait to be written.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Asks for [`NetEvent::Drained`].
    pub fn tell_when_drained(&self) {
        self.wants_drained.store(true, Ordering::Relaxed);
    }

    /// So much is encoded and has not been written that the peer must be slow to read.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Ends the connection at once, whatever waits.
    pub fn abandon(&self) {
        self.abandoned.notify_one();
    }

    pub fn close(&self) {
        let _ = self.queue.send(Outgoing::Close);
    }
}

/// An answer before which nothing more is taken from a peer.
#[derive(Clone, Copy, Debug)]
enum Awaited {
    Barrier,
    /// As long as a table may be; to the request with this transaction identifier.
    Long(u32),
}

impl Awaited {
    fn after(xid: u32, request: &Message) -> Option<Awaited> {
        match request {
            Message::BarrierRequest => Some(Awaited::Barrier),
            Message::FlowStatsRequest(_)
            | Message::AggregateRequest(_)
            | Message::TableStatsRequest
            | Message::TableFeaturesRequest(_)
            | Message::FlowCountsRequest(_)
            | Message::PortStatsRequest { .. }
            | Message::PortDescRequest { .. }
            | Message::FeaturesRequest => Some(Awaited::Long(xid)),
            _ => None,
        }
    }

    /// An error that answers an earlier request of the same identifier ends the wait early, which
    /// does no harm. Flows end it when the last of them is written.
    fn is_answered(self, xid: u32, message: &Message) -> bool {
        match self {
            Awaited::Barrier => matches!(message, Message::BarrierReply),
            Awaited::Long(awaited) => {
                xid == awaited
                    && matches!(
                        message,
                        Message::AggregateReply { .. }
                            | Message::TableStatsReply(_)
                            | Message::TableFeaturesReply(_)
                            | Message::PortStatsReply(_)
                            | Message::PortDescReply(_)
                            | Message::FeaturesReply(_)
                            | Message::Error(_)
                    )
            }
        }
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
    Protocol(#[from] connection::Error),
    #[error("closed by the switch")]
    BySwitch,
    #[error("the peer does not read what it is sent")]
    Unread,
}

/// Who dialled a connection and wants to know how it fares.
pub trait Observer: Send {
    fn opened(&mut self, _: Version) {}
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
    let wants_drained = Arc::new(AtomicBool::new(false));
    let blocked = Arc::new(AtomicBool::new(false));
    let abandoned = Arc::new(Notify::new());
    let mut connection = open(context);
    let mut limits = context.limits.clone();
    let mut copied = 0;
    let mut chunk = vec![0u8; READ];
    let mut awaits: Option<Awaited> = None;
    let mut flows: Option<(u32, FlowsReply)> = None;
    loop {
        while awaits.is_none()
            && queued.load(Ordering::Relaxed) < MAX_QUEUED
            && connection.transmit().len() < MAX_OUTPUT
        {
            let event = match connection.poll_event() {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => {
                    // The peer is told why, if it still listens.
                    let _ = writer.write_all(connection.transmit()).await;
                    return Err(error.into());
                }
            };
            let event = match event {
                Event::Ready(version) => {
                    observer.opened(version);
                    NetEvent::Opened {
                        id,
                        bridge: context.bridge.clone(),
                        controller: context.controller,
                        version,
                        sender: Sender {
                            queue: queue.clone(),
                            queued: Arc::clone(&queued),
                            wants_drained: Arc::clone(&wants_drained),
                            blocked: Arc::clone(&blocked),
                            abandoned: Arc::clone(&abandoned),
                        },
                    }
                }
                Event::Message {
                    header,
                    message,
                    raw,
                    ..
                } => {
                    copy(context, &raw);
                    awaits = Awaited::after(header.xid, &message);
                    NetEvent::Received {
                        id,
                        xid: header.xid,
                        message,
                        raw,
                    }
                }
                Event::Undecodable { error, raw, .. } => {
                    copy(context, &raw);
                    tracing::debug!(target: "rconn", "{}: {error}", context.bridge);
                    continue;
                }
            };
            deliver(context, event).await?;
        }
        if connection.transmit().len() < BLOCKED_OUTPUT
            && let Some((xid, reply)) = &mut flows
        {
            send_part(&mut connection, *xid, reply, context);
            if reply.is_done() {
                flows = None;
                awaits = None;
                queued.fetch_sub(1, Ordering::Relaxed);
            }
            // A long table leaves others their turns.
            tokio::task::yield_now().await;
        }
        copied = copy_sent(context, &connection, copied);
        let waiting = connection.transmit().len();
        blocked.store(waiting >= BLOCKED_OUTPUT, Ordering::Relaxed);
        let may_read =
            awaits.is_none() && queued.load(Ordering::Relaxed) < MAX_QUEUED && waiting < MAX_OUTPUT;
        let deadline = connection.poll_timeout();
        tokio::select! {
            biased;
            () = abandoned.notified() => return Err(Ended::Unread),
            written = writer.write(connection.transmit()), if waiting > 0 => match written? {
                0 => return Err(Ended::Closed),
                n => {
                    connection.consume(n);
                    copied = copied.saturating_sub(n);
                    if connection.transmit().is_empty()
                        && queued.load(Ordering::Relaxed) == 0
                        && wants_drained.swap(false, Ordering::Relaxed)
                    {
                        deliver(context, NetEvent::Drained { id }).await?;
                    }
                }
            },
            Some(out) = outgoing.recv(), if waiting < MAX_OUTPUT && flows.is_none() => match out {
                Outgoing::Message(xid, message) => {
                    queued.fetch_sub(1, Ordering::Relaxed);
                    awaits = awaits.filter(|awaited| !awaited.is_answered(xid, &message));
                    send(&mut connection, xid, &message, context);
                }
                Outgoing::Flows(xid, reply) => flows = Some((xid, reply)),
                Outgoing::Close => return Err(Ended::BySwitch),
            },
            read = reader.read(&mut chunk), if may_read => match read? {
                0 => return Err(Ended::Closed),
                n => connection
                    .handle_bytes(chunk.get(..n).unwrap_or_default(), Instant::now())?,
            },
            () = sleep_until(deadline) => connection.handle_timeout(Instant::now())?,
            Ok(()) = limits.changed() => {
                connection.set_inactivity_probe(limits.borrow().probe);
            }
        }
    }
}

fn open(context: &Context) -> Connection {
    let config = connection::Config {
        versions: context.versions,
        inactivity_probe: context.limits.borrow().probe,
        ..connection::Config::default()
    };
    Connection::new(config, Instant::now())
}

fn send(connection: &mut Connection, xid: u32, message: &Message, context: &Context) {
    check_sent(
        connection.send_with_xid(message, xid),
        message.name(),
        context,
    );
}

/// Encodes the next message of an answer.
fn send_part(connection: &mut Connection, xid: u32, reply: &mut FlowsReply, context: &Context) {
    if let Some(part) = reply.next_message(connection.dialect(), xid, Instant::now()) {
        let sent = part.map_err(SendError::from);
        let sent = sent.and_then(|bytes| connection.send_raw(&bytes));
        check_sent(sent, "flows", context);
    }
}

fn check_sent(sent: Result<(), SendError>, what: &str, context: &Context) {
    match sent {
        Ok(()) | Err(SendError::NotReady) => {}
        Err(SendError::Full { .. }) => coverage::rconn_overflow.inc(),
        Err(SendError::Encode(error)) => {
            tracing::warn!(target: "rconn", "{}: cannot send {what}: {error}", context.bridge);
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

/// Gives snoopers what was queued for sending since the first `copied` bytes; returns how much
/// they have by now. Messages are queued whole, so they get whole ones.
fn copy_sent(context: &Context, connection: &Connection, copied: usize) -> usize {
    let waiting = connection.transmit();
    if let Some(new) = waiting.get(copied..).filter(|new| !new.is_empty())
        && context
            .snoop
            .as_ref()
            .is_some_and(|s| s.receiver_count() > 0)
    {
        copy(context, &Bytes::copy_from_slice(new));
    }
    waiting.len()
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
    match serve_snoop(stream, context, &mut copies).await {
        Ok(never) => match never {},
        Err(ended) => ended,
    }
}

async fn serve_snoop(
    stream: Box<dyn Stream>,
    context: &Context,
    copies: &mut broadcast::Receiver<Bytes>,
) -> Result<std::convert::Infallible, Ended> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut connection = open(context);
    let mut chunk = vec![0u8; READ];
    loop {
        // Nobody answers a snooper's requests, but for echo.
        while connection.poll_event()?.is_some() {}
        let waiting = connection.transmit().len();
        if waiting > 0 {
            writer.write_all(connection.transmit()).await?;
            connection.consume(waiting);
        }
        tokio::select! {
            copy = copies.recv() => match copy {
                Ok(bytes) => writer.write_all(&bytes).await?,
                // A slow snooper misses some.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Err(Ended::BySwitch),
            },
            read = reader.read(&mut chunk) => match read? {
                0 => return Err(Ended::Closed),
                n => connection
                    .handle_bytes(chunk.get(..n).unwrap_or_default(), Instant::now())?,
            },
            () = sleep_until(connection.poll_timeout()) => {
                connection.handle_timeout(Instant::now())?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use openflow::VersionBitmap;
    use openflow::message::{PortReason, PortStatus};
    use tokio::io::DuplexStream;
    use tokio::sync::watch;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::super::Limits;
    use super::*;

    /// What the pipe to the peer holds.
    const PIPE: usize = 4096;
    const SOON: Duration = Duration::from_secs(10);

    struct Peer {
        pipe: DuplexStream,
        events: mpsc::Receiver<NetEvent>,
        task: JoinHandle<Ended>,
        sender: Sender,
    }

    /// A connection of 1.3 whose peer has said hello.
    async fn connect() -> Peer {
        let (ours, mut pipe) = tokio::io::duplex(PIPE);
        let (events_sender, mut events) = mpsc::channel(64);
        let context = Context {
            bridge: "br0".to_owned(),
            controller: None,
            versions: VersionBitmap::supported(),
            events: events_sender,
            limits: watch::channel(Limits::default()).1,
            snoop: None,
        };
        let task = tokio::spawn(async move { run(Box::new(ours), &context, &mut Nobody).await });
        pipe.write_all(&[4, 0, 0, 8, 0, 0, 0, 1]).await.unwrap();
        let Some(NetEvent::Opened { sender, .. }) = events.recv().await else {
            panic!("the connection opens first");
        };
        Peer {
            pipe,
            events,
            task,
            sender,
        }
    }

    /// With or without the bitmap of versions.
    async fn read_hello(peer: &mut Peer) {
        let mut hello = [0; 16];
        peer.pipe.read_exact(&mut hello[..8]).await.unwrap();
        if hello[3] == 16 {
            peer.pipe.read_exact(&mut hello[8..]).await.unwrap();
        }
    }

    fn port_status() -> Message {
        let desc = openflow::message::PortDesc {
            port: packet::OfPort(1),
            hw_addr: packet::EthAddr([2, 0, 0, 0, 0, 1]),
            name: "p1".to_owned(),
            config: Default::default(),
            state: Default::default(),
            curr: Default::default(),
            advertised: Default::default(),
            supported: Default::default(),
            peer: Default::default(),
            curr_speed_kbps: 0,
            max_speed_kbps: 0,
            other: Vec::new(),
        };
        Message::PortStatus(PortStatus {
            reason: PortReason::Modify,
            desc,
        })
    }

    /// The queue stands still while the peer does not read, and no byte is lost when it does.
    #[tokio::test]
    async fn a_slow_peer_gets_everything() {
        const N: usize = 50_000;
        let mut peer = connect().await;
        for _ in 0..N {
            peer.sender.send(0, port_status());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        // What is encoded is bounded; the rest waits as messages.
        let waiting = peer.sender.queued();
        assert!((N - 2 * MAX_OUTPUT / 80..N).contains(&waiting), "{waiting}");
        assert!(peer.sender.is_blocked());
        peer.sender.tell_when_drained();
        let mut read = 0;
        let mut chunk = vec![0; 1 << 16];
        // A hello with the bitmap of its versions, and port-status of 80 bytes each.
        while read < N * 80 + 8 {
            let n = timeout(SOON, peer.pipe.read(&mut chunk)).await.unwrap();
            read += n.unwrap();
        }
        assert!([N * 80 + 8, N * 80 + 16].contains(&read), "{read}");
        assert_eq!(peer.sender.queued(), 0);
        assert!(!peer.sender.is_blocked());
        let drained = timeout(SOON, peer.events.recv()).await.unwrap();
        assert!(matches!(drained, Some(NetEvent::Drained { .. })));
    }

    /// A peer that asks and does not read is not read either.
    #[tokio::test]
    async fn a_peer_that_reads_nothing_is_not_read() {
        let mut peer = connect().await;
        let mut asked = 0;
        // Echo requests of a kilobyte.
        let mut request = vec![4, 2, 4, 0, 0, 0, 0, 2];
        request.resize(1024, 7);
        while let Ok(written) =
            timeout(Duration::from_millis(300), peer.pipe.write_all(&request)).await
        {
            written.unwrap();
            asked += 1;
            assert!(asked < 20_000, "it takes whatever it is asked");
        }
        assert!(asked * 1024 >= MAX_OUTPUT, "{asked}");
        assert!(!peer.task.is_finished());
    }

    /// It can be ended though nothing of what waits goes out.
    #[tokio::test]
    async fn a_peer_that_reads_nothing_is_abandoned() {
        let mut peer = connect().await;
        for _ in 0..20_000 {
            peer.sender.send(0, port_status());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        peer.sender.abandon();
        let ended = timeout(SOON, peer.task).await.unwrap().unwrap();
        assert!(matches!(ended, Ended::Unread), "{ended}");
        assert!(matches!(
            peer.events.recv().await,
            Some(NetEvent::Closed { .. })
        ));
    }

    /// The flows of a bridge that has `n`.
    fn flows(n: u32) -> FlowsReply {
        use ofproto::conn::ConnKind;
        use ofproto::ofproto::{Effect, Ofproto};
        use ofproto::snapshot::FailMode;
        use openflow::message::{FlowMod, FlowStatsRequest};
        use openflow::{EthAddr, Field, Match};
        let now = Instant::now();
        let mut ofproto = Ofproto::new(1);
        let bridge = ofproto
            .bridge_add("br0", 1, EthAddr::ZERO, FailMode::Secure, now)
            .unwrap();
        for n in 0..n {
            let fm = FlowMod {
                fields: Match::new().with(Field::Reg0, n.into()),
                ..FlowMod::add()
            };
            ofproto.flow_mod(bridge, &fm, Version::Of13, now).unwrap();
        }
        let conn = ofproto
            .conn_open(bridge, ConnKind::Service, Version::Of13, now)
            .unwrap();
        let request = Message::FlowStatsRequest(FlowStatsRequest::all());
        ofproto.handle_message(conn, 9, request, &Bytes::new(), now);
        match ofproto.poll_effect() {
            Some(Effect::SendFlows { reply, .. }) => reply,
            other => panic!("{other:?}"),
        }
    }

    /// A table is encoded as it is read; what else is to be sent waits behind it, and so does the
    /// peer's next request.
    #[tokio::test]
    async fn flows_go_out_as_they_are_read() {
        const N: usize = 10_000;
        let mut peer = connect().await;
        read_hello(&mut peer).await;
        // A flow statistics request for all tables, and a barrier.
        let mut request = vec![4, 18, 0, 56, 0, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 0];
        request.extend([
            0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ]);
        request.extend([0; 20]);
        request.extend([0, 1, 0, 4, 0, 0, 0, 0]);
        request.extend([4, 20, 0, 8, 0, 0, 0, 10]);
        peer.pipe.write_all(&request).await.unwrap();
        let asked = timeout(SOON, peer.events.recv()).await.unwrap();
        let is_dump = |event| {
            let Some(NetEvent::Received {
                xid: 9, message, ..
            }) = event
            else {
                return false;
            };
            matches!(message, Message::FlowStatsRequest(_))
        };
        assert!(is_dump(asked));
        peer.sender.send_flows(9, flows(N as u32));
        peer.sender.send(0, port_status());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(peer.sender.queued(), 2);
        assert!(peer.events.try_recv().is_err(), "the barrier waits");

        let (mut seen, mut more) = (0, true);
        while more {
            let mut head = [0; 16];
            timeout(SOON, peer.pipe.read_exact(&mut head))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(head[..2], [4, 19]);
            more = head[11] == 1;
            let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let mut body = vec![0; len - 16];
            peer.pipe.read_exact(&mut body).await.unwrap();
            // Each has a match of one register, and nothing to do.
            assert_eq!(body.len() % 64, 0);
            seen += body.len() / 64;
        }
        assert_eq!(seen, N);
        let mut status = [0; 80];
        timeout(SOON, peer.pipe.read_exact(&mut status))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(status[1], 12);
        let next = timeout(SOON, peer.events.recv()).await.unwrap();
        let Some(NetEvent::Received { message, .. }) = next else {
            panic!("{next:?}");
        };
        assert!(matches!(message, Message::BarrierRequest));
        assert_eq!(peer.sender.queued(), 0);
    }

    /// Who waits until everything is written hears of it when flows were the last.
    #[tokio::test]
    async fn flows_count_until_they_are_written() {
        let mut peer = connect().await;
        read_hello(&mut peer).await;
        peer.sender.tell_when_drained();
        peer.sender.send_flows(9, flows(3));
        let mut reply = [0; 16 + 3 * 64];
        let reading = peer.pipe.read_exact(&mut reply[..]);
        timeout(SOON, reading).await.unwrap().unwrap();
        let drained = timeout(SOON, peer.events.recv()).await.unwrap();
        assert!(
            matches!(drained, Some(NetEvent::Drained { .. })),
            "{drained:?}"
        );
        assert_eq!(peer.sender.queued(), 0);
    }

    /// What cannot be decoded is answered with the request, and the next one is served.
    #[tokio::test]
    async fn a_malformed_request_is_answered_and_the_connection_goes_on() {
        let mut peer = connect().await;
        read_hello(&mut peer).await;
        let mut bad = vec![4, 14, 0, 100, 0, 0, 0, 9];
        bad.resize(100, 0xff);
        peer.pipe.write_all(&bad).await.unwrap();
        let mut error = vec![0; 112];
        timeout(SOON, peer.pipe.read_exact(&mut error))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(error[..8], [4, 1, 0, 112, 0, 0, 0, 9]);
        assert_eq!(error[12..], bad[..]);
        // A barrier request.
        peer.pipe
            .write_all(&[4, 20, 0, 8, 0, 0, 0, 10])
            .await
            .unwrap();
        let next = timeout(SOON, peer.events.recv()).await.unwrap();
        assert!(matches!(
            next,
            Some(NetEvent::Received {
                xid: 10,
                message: Message::BarrierRequest,
                ..
            })
        ));
    }
}
