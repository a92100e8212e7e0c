//! One client's socket: bytes to messages and back, probes, and a bound on what it may owe us.
//!
//! The event loop puts messages into the client's [`Outbox`] and, at the end of a turn, writes out
//! what the sockets take at once; that is one system call for each client and no task is woken.
//! Only what is left over is the business of the connection's own task.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};
use std::{fmt, future, io};

use daemon::reconnect::{Action, Config, Reconnect};
use daemon::stream::{Connection, Stream};
use ovsdb::jsonrpc::{Framer, Message};
use serde_json::json;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::{Notify, Semaphore, mpsc, watch};

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

/// A buffer that is empty keeps at most this much.
const MAX_SPARE: usize = 16 << 10;

/// How long a request may take to come as a whole, and what is then asked of a longer one: it is
/// no use to anybody, and holds memory.
const REQUEST_TIME: Duration = Duration::from_secs(60);
const REQUEST_BYTES_PER_SECOND: u64 = 1 << 10;

/// What all clients together hold.
static TOTALS: Totals = Totals {
    backlog: Total::new(512 << 20),
    partial: Total::new(256 << 20),
};

/// Bounds of what clients hold together: above them, one that holds much is cut off earlier.
struct Totals {
    /// What waits to be sent.
    backlog: Total,
    /// Requests that have not come as a whole.
    partial: Total,
}

/// Bytes that all clients together hold, and how many they may.
struct Total {
    bytes: AtomicUsize,
    limit: usize,
}

/// One client's share of a [`Total`].
struct Share {
    total: &'static Total,
    bytes: usize,
}

impl Total {
    const fn new(limit: usize) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            limit,
        }
    }

    fn share(&'static self) -> Share {
        Share {
            total: self,
            bytes: 0,
        }
    }
}

impl Share {
    fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            let more = bytes.saturating_sub(self.bytes);
            self.total.bytes.fetch_add(more, Ordering::Relaxed);
        } else {
            let less = self.bytes.saturating_sub(bytes);
            self.total.bytes.fetch_sub(less, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// Whether the total is above its limit and this client has a part in it that matters.
    fn exceeds(&self) -> bool {
        self.bytes > MAX_UNREAD && self.total.bytes.load(Ordering::Relaxed) > self.total.limit
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Error)]
pub enum End {
    #[error("connection closed by peer")]
    ByPeer,
    #[error("receive error: {0}")]
    Receive(String),
    #[error("send error: {0}")]
    Send(String),
    #[error("received bad JSON-RPC message: {0}")]
    Bad(String),
    #[error("shutting down")]
    ShuttingDown,
    #[error("closed")]
    Closed,
    #[error("no response to inactivity probe")]
    NoAnswer,
    #[error("{0} bytes wait to be sent to a client that does not read")]
    DoesNotRead(usize),
    #[error("{0} bytes wait to be sent to this client, and too many to all of them together")]
    Backlog(usize),
    #[error("a request of which {0} bytes have come takes too long to be complete")]
    Slow(usize),
    #[error("{0} bytes of an unfinished request, and too many of all clients together")]
    Partial(usize),
}

impl End {
    /// Whether the operator should know.
    pub fn is_fault(&self) -> bool {
        !matches!(
            self,
            Self::ByPeer | Self::Receive(_) | Self::Send(_) | Self::ShuttingDown | Self::Closed
        )
    }
}

/// What the event loop hands to a connection.
#[derive(Debug)]
pub enum Outgoing {
    Message(Message),
    /// A message that is JSON text already and that other clients may get too.
    Text(Arc<[u8]>),
    /// Send what was given, then close.
    Close,
}

type StreamHalf = Box<dyn Stream>;

/// What waits to be sent to one client.
pub struct Outbox {
    session: SessionId,
    state: Mutex<State>,
    /// Whether so much waits that the client's requests are left alone.
    lags: watch::Sender<bool>,
    /// Tells the connection's task that something is left to do for it.
    left_over: Notify,
    full: FullOutboxes,
}

struct State {
    /// `None` when the connection has ended.
    writer: Option<WriteHalf<StreamHalf>>,
    backlog: Vec<u8>,
    /// How much of the backlog is sent.
    sent: usize,
    /// Whether the outbox is among the full ones, and among those that cannot wait.
    listed: [bool; 2],
    closing: bool,
    /// Why nothing more can be sent.
    broken: Option<End>,
    /// What of the bytes that wait to be sent to all clients is this one's.
    share: Share,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

impl State {
    fn unsent(&self) -> &[u8] {
        self.backlog.get(self.sent..).unwrap_or_default()
    }

    fn put(&mut self, message: Outgoing) {
        // One message may be of any size; a second one behind it may not wait.
        let unsent = self.unsent().len();
        if unsent > MAX_BACKLOG {
            self.broken.get_or_insert(End::DoesNotRead(unsent));
            return;
        }
        // What was sent is dropped before it outweighs what was not.
        if self.sent > self.backlog.len() / 2 {
            self.backlog.drain(..self.sent);
            self.sent = 0;
        }
        match message {
            Outgoing::Message(message) => self.backlog.append(&mut message.to_bytes()),
            Outgoing::Text(text) => self.backlog.extend_from_slice(&text),
            Outgoing::Close => self.closing = true,
        }
        self.share.set(self.backlog.len());
        if unsent > 0 && self.share.exceeds() {
            self.broken.get_or_insert(End::Backlog(unsent));
        }
    }

    /// Writes until nothing is left or the socket takes no more.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(writer) = &mut self.writer else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        while let Some(unsent) = self
            .backlog
            .get(self.sent..)
            .filter(|rest| !rest.is_empty())
        {
            match ready!(Pin::new(&mut *writer).poll_write(cx, unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent = self.sent.saturating_add(count),
            }
        }
        self.backlog.clear();
        self.backlog.shrink_to(MAX_SPARE);
        self.share.set(0);
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl Outbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes something to send, which [`FullOutboxes::write_out`] does.
    pub fn send(self: &Arc<Self>, message: Outgoing) {
        self.put(message, Urgency::Now);
    }

    /// Takes something that nobody waits for.
    pub fn send_later(self: &Arc<Self>, message: Outgoing) {
        self.put(message, Urgency::Later);
    }

    fn put(self: &Arc<Self>, message: Outgoing, urgency: Urgency) {
        let mut state = self.state();
        if state.closing || state.broken.is_some() {
            return;
        }
        state.put(message);
        let [later, now] = &mut state.listed;
        let listed = match urgency {
            Urgency::Later => later,
            Urgency::Now => now,
        };
        if !std::mem::replace(listed, true) {
            self.full.lists().of(urgency).push(self.clone());
        }
    }

    /// Writes what the socket takes at once.
    fn write_out(&self) {
        let mut state = self.state();
        if state.listed == [false; 2] {
            // Done already, with something more urgent.
            return;
        }
        state.listed = [false; 2];
        // The budget that tokio gives a task counts for the reading of many, not for this.
        let attempt = tokio::task::coop::unconstrained(future::poll_fn(|cx| state.poll_write(cx)));
        let result = pin!(attempt).poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(Err(error)) = result {
            state.broken.get_or_insert(End::Send(error.to_string()));
        }
        self.tell_lag(&state);
        // A socket that was asked without a waker has to be asked again with one.
        if state.closing || state.broken.is_some() || !state.unsent().is_empty() {
            self.left_over.notify_one();
        }
    }

    /// Writes what is left over, until it is written or there is reason to end.
    async fn write_rest(&self) -> io::Result<()> {
        future::poll_fn(|cx| {
            let mut state = self.state();
            let before = state.unsent().len();
            let result = state.poll_write(cx);
            self.tell_lag(&state);
            if result.is_pending() && state.unsent().len() < before {
                // Some was written: whoever waits for signs of life wants to know.
                return Poll::Ready(Ok(()));
            }
            result
        })
        .await
    }

    fn tell_lag(&self, state: &State) {
        let much = state.unsent().len() > MAX_UNREAD;
        let changed = self
            .lags
            .send_if_modified(|lags| std::mem::replace(lags, much) != much);
        if changed {
            self.full.lists().lags.push((self.session, much));
            self.full.0.lags_changed.notify_one();
        }
    }

    /// Why the connection should end now.
    fn end(&self) -> Option<End> {
        let state = self.state();
        let closed = state.closing && state.unsent().is_empty();
        state
            .broken
            .clone()
            .or_else(|| closed.then_some(End::Closed))
    }

    fn has_unsent(&self) -> bool {
        !self.state().unsent().is_empty()
    }
}

/// Whether somebody waits for a message.
#[derive(Debug, Clone, Copy)]
enum Urgency {
    /// An update that other clients' transactions caused.
    Later,
    Now,
}

/// The outboxes that something was put into since the last time that they were written out.
///
/// Updates go to all who monitor, at a system call each, so with many of them a server could do
/// little else. After that took a while, the next updates gather for a few times as long before
/// they are written, and then share a call; whatever is behind an update, such as the reply to the
/// same client, takes it along.
#[derive(Debug, Clone, Default)]
pub struct FullOutboxes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lists: Mutex<Lists>,
    lags_changed: Notify,
}

#[derive(Debug, Default)]
struct Lists {
    later: Vec<Arc<Outbox>>,
    now: Vec<Arc<Outbox>>,
    /// When `later` may be written again.
    next: Option<Instant>,
    /// The clients that have begun or ceased to lag, in this order.
    lags: Vec<(SessionId, bool)>,
}

impl Lists {
    fn of(&mut self, urgency: Urgency) -> &mut Vec<Arc<Outbox>> {
        match urgency {
            Urgency::Later => &mut self.later,
            Urgency::Now => &mut self.now,
        }
    }
}

impl FullOutboxes {
    /// Writing to so few takes no time worth to be spread.
    const FEW: usize = 16;
    /// How much longer updates gather than it took to write the ones before.
    const GATHER: u32 = 4;
    /// The longest that they do.
    const MAX_GATHER: Duration = Duration::from_millis(50);

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes to every client what its socket takes, updates when it is time for them.
    pub fn write_out(&self) {
        let now = std::mem::take(&mut self.lists().now);
        for outbox in now {
            outbox.write_out();
        }
        if self.lists().later.is_empty() {
            return;
        }
        let begin = Instant::now();
        if self.lists().next.is_some_and(|next| begin < next) {
            return;
        }
        let later = std::mem::take(&mut self.lists().later);
        for outbox in &later {
            outbox.write_out();
        }
        let gather = begin.elapsed().saturating_mul(Self::GATHER);
        let gather = gather.min(Self::MAX_GATHER);
        let next = (later.len() > Self::FEW).then(|| Instant::now().checked_add(gather));
        self.lists().next = next.flatten();
    }

    /// When [`FullOutboxes::write_out`] wants to be called for updates that gather.
    pub fn deadline(&self) -> Option<Instant> {
        let lists = self.lists();
        lists.next.filter(|_| !lists.later.is_empty())
    }

    /// Waits until [`FullOutboxes::take_lags`] has something to give.
    pub async fn lags_changed(&self) {
        self.0.lags_changed.notified().await;
    }

    /// The clients for which so much waits that they should not get more, or no longer does.
    pub fn take_lags(&self) -> Vec<(SessionId, bool)> {
        std::mem::take(&mut self.lists().lags)
    }
}

/// The end of a connection that is read.
pub struct Inbox {
    peer: String,
    reader: ReadHalf<StreamHalf>,
    lagging: watch::Receiver<bool>,
    /// What of the unfinished requests of all clients is this one's.
    partial: Share,
}

/// Takes a connection apart.
pub fn split(
    session: SessionId,
    connection: Connection,
    full: &FullOutboxes,
) -> (Inbox, Arc<Outbox>) {
    split_within(session, connection, full, &TOTALS)
}

fn split_within(
    session: SessionId,
    connection: Connection,
    full: &FullOutboxes,
    totals: &'static Totals,
) -> (Inbox, Arc<Outbox>) {
    let (reader, writer) = tokio::io::split(connection.stream);
    let (lags, lagging) = watch::channel(false);
    let state = State {
        writer: Some(writer),
        backlog: Vec::new(),
        sent: 0,
        listed: [false; 2],
        closing: false,
        broken: None,
        share: totals.backlog.share(),
    };
    let outbox = Arc::new(Outbox {
        session,
        state: Mutex::new(state),
        lags,
        left_over: Notify::new(),
        full: full.clone(),
    });
    let inbox = Inbox {
        peer: connection.peer,
        reader,
        lagging,
        partial: totals.partial.share(),
    };
    (inbox, outbox)
}

/// Serves one connection until it ends, and then tells the event loop. `config` may change
/// meanwhile.
pub async fn serve(
    session: SessionId,
    inbox: Inbox,
    outbox: Arc<Outbox>,
    config: watch::Receiver<Config>,
    events: mpsc::Sender<Event>,
) {
    let peer = inbox.peer.clone();
    let heard = Heard::default();
    let reason = tokio::select! {
        reason = read(session, inbox, &events, &heard) => reason,
        reason = write(&outbox, &heard, config) => reason,
    };
    outbox.state().writer = None;
    tracing::debug!("{peer}: {reason}");
    // The event loop may already be gone when everything shuts down.
    let _ = events.send(Event::Disconnected { session, reason }).await;
}

/// When something was heard of the client, since that was last asked.
#[derive(Debug, Default)]
struct Heard(Mutex<Option<Instant>>);

impl Heard {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn take(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

async fn read(
    session: SessionId,
    inbox: Inbox,
    events: &mpsc::Sender<Event>,
    heard: &Heard,
) -> End {
    let Inbox {
        mut reader,
        mut lagging,
        mut partial,
        ..
    } = inbox;
    let mut framer = Framer::new(MAX_REQUEST);
    let untaken = Arc::new(Semaphore::new(MAX_UNTAKEN));
    let mut chunk = vec![0u8; 64 << 10];
    // When the first bytes of a request came that is not complete.
    let mut since: Option<Instant> = None;
    loop {
        let deadline = since.and_then(|since| since.checked_add(allowed(framer.buffered())));
        let read = tokio::select! {
            read = reader.read(&mut chunk) => read,
            () = sleep_until(deadline), if deadline.is_some() => {
                return End::Slow(framer.buffered());
            }
        };
        let count = match read {
            Ok(0) => return End::ByPeer,
            Ok(count) => count,
            Err(error) => return End::Receive(error.to_string()),
        };
        heard.now();
        framer.push(chunk.get(..count).unwrap_or_default());
        loop {
            match framer.poll_received() {
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
                        return End::ShuttingDown;
                    }
                    since = None;
                }
                Err(error) => return End::Bad(error.to_string()),
            }
        }
        let buffered = framer.buffered();
        since = (buffered > 0).then(|| since.unwrap_or_else(Instant::now));
        partial.set(buffered);
        if partial.exceeds() {
            return End::Partial(buffered);
        }
    }
}

/// How long a request may take of which this much has come.
fn allowed(bytes: usize) -> Duration {
    let more = (bytes as u64) / REQUEST_BYTES_PER_SECOND;
    REQUEST_TIME.saturating_add(Duration::from_secs(more))
}

/// Sends what is left over and probes a client that is silent.
async fn write(outbox: &Arc<Outbox>, heard: &Heard, mut config: watch::Receiver<Config>) -> End {
    let mut probe = Reconnect::new(*config.borrow_and_update(), Instant::now());
    probe.handle_connected(Instant::now());
    loop {
        if let Some(reason) = outbox.end() {
            return reason;
        }
        let deadline = probe.deadline();
        tokio::select! {
            result = outbox.write_rest(), if outbox.has_unsent() => match result {
                // Nothing may be heard of it while it lags, but it reads.
                Ok(()) => heard.now(),
                Err(error) => return End::Send(error.to_string()),
            },
            () = outbox.left_over.notified() => {}
            Ok(()) = config.changed() => {
                let config = *config.borrow_and_update();
                probe.set_config(config, Instant::now());
            }
            () = sleep_until(deadline), if deadline.is_some() => {
                if let Some(last) = heard.take() {
                    probe.handle_activity(last);
                }
                match probe.poll(Instant::now()) {
                    Some(Action::Probe) => {
                        let echo = Message::request(json!("echo"), "echo", json!([]));
                        outbox.send(Outgoing::Message(echo));
                        outbox.write_out();
                    }
                    Some(Action::Disconnect | Action::Connect) => {
                        return End::NoAnswer;
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

#[cfg(test)]
mod tests;
