//! One client's socket: bytes to messages and back, probes, and a bound on what it may owe us.
//!
//! The event loop takes messages out of the client's [`Inbox`], puts others into its [`Outbox`] and,
//! at the end of a turn, writes out what the sockets take at once; that is one system call for each
//! client and direction, and no task is woken. Only what is left over, and probing a client that is
//! silent, is the business of the connection's own task.

mod inbox;

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;
use std::{fmt, future, io};

use daemon::reconnect::{Action, Config, Reconnect};
use daemon::stream::{Connection, Stream};
use ovsdb::jsonrpc::Message;
use serde_json::json;
use thiserror::Error;
use tokio::io::{AsyncWrite, WriteHalf};
use tokio::sync::{Notify, mpsc, watch};

use crate::event_loop::Event;
use crate::server::SessionId;

pub use inbox::{Inbox, Readable};

/// A client that reads so slowly that more than this waits to be sent is cut off.
pub const MAX_BACKLOG: usize = 64 << 20;

/// Requests of a client to which more than this waits to be sent are left in its socket: what it
/// asks for without reading the answers delays nobody else.
const MAX_UNREAD: usize = 1 << 20;

/// A buffer that is empty keeps at most this much.
const MAX_SPARE: usize = 16 << 10;

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

/// What waits to be sent to one client.
pub struct Outbox {
    session: SessionId,
    state: Mutex<State>,
    /// Tells the event loop that the client's requests are no longer left alone.
    reader: Waker,
    heard: Arc<Heard>,
    full: FullOutboxes,
}

struct State {
    /// `None` when the connection has ended.
    writer: Option<WriteHalf<Box<dyn Stream>>>,
    backlog: Vec<u8>,
    /// How much of the backlog is sent.
    sent: usize,
    /// Whether so much waits that the client's requests are left alone.
    lags: bool,
    /// Whether the outbox is among the full ones.
    listed: bool,
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

    /// Makes room for more; false when the client has too much to read already.
    fn make_room(&mut self) -> bool {
        // One message may be of any size; a second one behind it may not wait.
        let unsent = self.unsent().len();
        if unsent > MAX_BACKLOG {
            self.broken.get_or_insert(End::DoesNotRead(unsent));
            return false;
        }
        // What was sent is dropped before it outweighs what was not.
        if self.sent > self.backlog.len() / 2 {
            self.backlog.drain(..self.sent);
            self.sent = 0;
        }
        true
    }

    fn put(&mut self, text: &[u8]) {
        let unsent = self.unsent().len();
        self.backlog.extend_from_slice(text);
        self.share.set(self.backlog.len());
        if unsent > 0 && self.share.exceeds() {
            self.broken.get_or_insert(End::Backlog(unsent));
        }
    }

    fn is_over(&self) -> bool {
        self.closing || self.broken.is_some()
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
        let mut state = self.state();
        if state.is_over() {
            return;
        }
        if state.make_room() {
            match message {
                Outgoing::Message(message) => state.put(&message.to_bytes()),
                Outgoing::Text(text) => state.put(&text),
                Outgoing::Close => state.closing = true,
            }
        }
        if !std::mem::replace(&mut state.listed, true) {
            self.full.lists().full.push(self.clone());
        }
    }

    /// Sends text at once, as far as the socket takes it.
    pub fn write_now(&self, text: &[u8]) {
        let mut state = self.state();
        if !state.is_over() && state.make_room() {
            // Without anything before it, it need not be copied first.
            let mut rest = text;
            if state.unsent().is_empty()
                && let Some(writer) = &mut state.writer
            {
                while !rest.is_empty() {
                    let attempt =
                        |cx: &mut Context<'_>| Pin::new(&mut *writer).poll_write(cx, rest);
                    match poll_once(attempt) {
                        Poll::Ready(Ok(count)) if count > 0 => {
                            rest = rest.get(count..).unwrap_or_default();
                        }
                        // What is wrong shows again below.
                        _ => break,
                    }
                }
            }
            state.put(rest);
        }
        self.write_state(&mut state);
    }

    /// Writes what the socket takes at once.
    fn write_out(&self) {
        let mut state = self.state();
        state.listed = false;
        self.write_state(&mut state);
    }

    fn write_state(&self, state: &mut State) {
        if let Poll::Ready(Err(error)) = poll_once(|cx| state.poll_write(cx)) {
            state.broken.get_or_insert(End::Send(error.to_string()));
        }
        self.note_lag(state);
        // A socket that was asked without a waker has to be asked again with one.
        if state.is_over() || !state.unsent().is_empty() {
            self.heard.left_over.notify_one();
        }
    }

    /// Writes what is left over, until it is written or there is reason to end.
    async fn write_rest(&self) -> io::Result<()> {
        future::poll_fn(|cx| {
            let mut state = self.state();
            let before = state.unsent().len();
            let result = state.poll_write(cx);
            self.note_lag(&mut state);
            if result.is_pending() && state.unsent().len() < before {
                // Some was written: whoever waits for signs of life wants to know.
                return Poll::Ready(Ok(()));
            }
            result
        })
        .await
    }

    fn note_lag(&self, state: &mut State) {
        let lags = state.unsent().len() > MAX_UNREAD;
        if std::mem::replace(&mut state.lags, lags) == lags {
            return;
        }
        self.full.lists().lags.push((self.session, lags));
        self.full.0.lags_changed.notify_one();
        if !lags {
            self.reader.wake_by_ref();
        }
    }

    /// Whether so much waits that the client's requests are to be left alone; the client is among
    /// the readable ones again when that is over.
    pub fn lags(&self) -> bool {
        self.state().lags
    }

    /// Nothing more comes from the client, for this reason.
    pub fn end_with(&self, reason: End) {
        self.state().broken.get_or_insert(reason);
        self.heard.left_over.notify_one();
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

/// Polls without being told of what happens later. The budget that tokio gives a task counts for
/// one that serves one socket, not for this.
fn poll_once<T>(attempt: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    let attempt = tokio::task::coop::unconstrained(future::poll_fn(attempt));
    pin!(attempt).poll(&mut Context::from_waker(Waker::noop()))
}

/// The outboxes that something was put into since the last time that they were written out, and
/// those that lag.
#[derive(Debug, Clone, Default)]
pub struct FullOutboxes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lists: Mutex<Lists>,
    lags_changed: Notify,
}

#[derive(Debug, Default)]
struct Lists {
    full: Vec<Arc<Outbox>>,
    /// The clients that have begun or ceased to lag, in this order.
    lags: Vec<(SessionId, bool)>,
}

impl FullOutboxes {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes to every client what its socket takes.
    pub fn write_out(&self) {
        let full = std::mem::take(&mut self.lists().full);
        for outbox in full {
            outbox.write_out();
        }
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

/// Takes a connection apart. What is to be read is told to `readable`.
pub fn split(
    session: SessionId,
    connection: Connection,
    full: &FullOutboxes,
    readable: &Readable,
) -> (Inbox, Arc<Outbox>) {
    split_within(session, connection, full, readable, &TOTALS)
}

fn split_within(
    session: SessionId,
    connection: Connection,
    full: &FullOutboxes,
    readable: &Readable,
    totals: &'static Totals,
) -> (Inbox, Arc<Outbox>) {
    let (reader, writer) = tokio::io::split(connection.stream);
    let waker = readable.waker(session);
    let heard = Arc::new(Heard::default());
    let state = State {
        writer: Some(writer),
        backlog: Vec::new(),
        sent: 0,
        lags: false,
        listed: false,
        closing: false,
        broken: None,
        share: totals.backlog.share(),
    };
    let outbox = Arc::new(Outbox {
        session,
        state: Mutex::new(state),
        reader: waker.clone(),
        heard: heard.clone(),
        full: full.clone(),
    });
    let inbox = Inbox::new(reader, waker, heard, totals.partial.share());
    // To be read for the first time.
    inbox.put_off();
    (inbox, outbox)
}

/// Serves one connection until it ends, and then tells the event loop. `config` may change
/// meanwhile.
pub async fn serve(
    session: SessionId,
    outbox: Arc<Outbox>,
    config: watch::Receiver<Config>,
    events: mpsc::Sender<Event>,
) {
    let reason = write(&outbox, config).await;
    outbox.state().writer = None;
    // The event loop may already be gone when everything shuts down.
    let _ = events.send(Event::Disconnected { session, reason }).await;
}

/// What the connection's task has to know of what is read.
#[derive(Debug, Default)]
struct Heard {
    /// When something was heard of the client, since that was last asked.
    last: Mutex<Option<Instant>>,
    /// Until when a request has to be complete, and how much of it has come.
    partial: Mutex<Option<(Instant, usize)>>,
    /// Tells the connection's task that something is left to do for it.
    left_over: Notify,
}

impl Heard {
    fn now(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn take(&self) -> Option<Instant> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.take()
    }

    fn partial(&self) -> MutexGuard<'_, Option<(Instant, usize)>> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what is left over and probes a client that is silent.
async fn write(outbox: &Arc<Outbox>, mut config: watch::Receiver<Config>) -> End {
    let mut probe = Reconnect::new(*config.borrow_and_update(), Instant::now());
    probe.handle_connected(Instant::now());
    loop {
        if let Some(reason) = outbox.end() {
            return reason;
        }
        let deadline = probe.deadline();
        let complete_by = outbox.heard.partial().map(|(deadline, _)| deadline);
        tokio::select! {
            result = outbox.write_rest(), if outbox.has_unsent() => match result {
                // Nothing may be heard of it while it lags, but it reads.
                Ok(()) => outbox.heard.now(),
                Err(error) => return End::Send(error.to_string()),
            },
            () = outbox.heard.left_over.notified() => {}
            () = sleep_until(complete_by), if complete_by.is_some() => {
                // More of it may have come, which gives it more time.
                let partial = *outbox.heard.partial();
                if let Some((_, bytes)) = partial.filter(|(by, _)| Some(*by) <= complete_by) {
                    return End::Slow(bytes);
                }
            }
            Ok(()) = config.changed() => {
                let config = *config.borrow_and_update();
                probe.set_config(config, Instant::now());
            }
            () = sleep_until(deadline), if deadline.is_some() => {
                if let Some(last) = outbox.heard.take() {
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
