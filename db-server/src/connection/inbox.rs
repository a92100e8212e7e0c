//! What clients send, read by the event loop itself.
//!
//! A socket that has something to read puts its client into the queue of [`Readable`] and wakes
//! the event loop, which then takes message by message out of that client's [`Inbox`] until it has
//! to wait for more. So a request is read, carried out and answered without passing through any
//! other task.

use std::collections::VecDeque;
use std::future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::{Duration, Instant};

use daemon::stream::Stream;
use ovsdb::jsonrpc::{Framer, Received};
use tokio::io::{AsyncRead, ReadBuf, ReadHalf};
use tokio::task::coop;

use super::{End, Heard, Share};
use crate::server::SessionId;

/// The longest request.
const MAX_REQUEST: usize = 64 << 20;

/// How long a request may take to come as a whole, and what is then asked of a longer one: it is
/// no use to anybody, and holds memory.
const REQUEST_TIME: Duration = Duration::from_secs(60);
const REQUEST_BYTES_PER_SECOND: u64 = 1 << 10;

/// The clients whose sockets have something to read.
#[derive(Debug, Clone, Default)]
pub struct Readable(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    sessions: VecDeque<Arc<Bell>>,
    waiting: Option<Waker>,
}

/// Puts a client into the queue.
#[derive(Debug)]
struct Bell {
    session: SessionId,
    queued: AtomicBool,
    readable: Readable,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut queue = self.readable.queue();
        let waiting = queue.waiting.take();
        let bell = Arc::clone(&self);
        queue.sessions.push_back(bell);
        drop(queue);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

impl Readable {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who puts a client into the queue.
    pub(super) fn waker(&self, session: SessionId) -> Waker {
        Waker::from(Arc::new(Bell {
            session,
            queued: AtomicBool::new(false),
            readable: self.clone(),
        }))
    }

    /// Waits until the queue is not empty.
    pub async fn wait(&self) {
        future::poll_fn(|cx| {
            let mut queue = self.queue();
            if !queue.sessions.is_empty() {
                return Poll::Ready(());
            }
            match &mut queue.waiting {
                Some(waiting) => waiting.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
        .await;
    }

    /// How many clients are in the queue.
    pub fn len(&self) -> usize {
        self.queue().sessions.len()
    }

    /// Whether nobody is in the queue.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next client; what its socket gets from now on puts it into the queue again.
    pub fn take(&self) -> Option<SessionId> {
        let bell = self.queue().sessions.pop_front()?;
        bell.queued.store(false, Ordering::Release);
        Some(bell.session)
    }
}

/// The end of a connection that is read.
pub struct Inbox {
    reader: ReadHalf<Box<dyn Stream>>,
    framer: Framer,
    /// Puts this client into the queue.
    waker: Waker,
    heard: Arc<Heard>,
    partial: Share,
    /// When the first bytes of a request came that is not complete.
    since: Option<Instant>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Inbox {
    pub(super) fn new(
        reader: ReadHalf<Box<dyn Stream>>,
        waker: Waker,
        heard: Arc<Heard>,
        partial: Share,
    ) -> Self {
        Self {
            reader,
            framer: Framer::new(MAX_REQUEST),
            waker,
            heard,
            partial,
            since: None,
        }
    }

    /// The next message, read by way of `buffer`. When it is pending, the client comes into the
    /// queue when there is more.
    pub fn poll_received(&mut self, buffer: &mut [u8]) -> Poll<Result<Received, End>> {
        loop {
            match self.framer.poll_received() {
                Ok(None) => {}
                Ok(Some(received)) => {
                    if self.since.take().is_some() {
                        *self.heard.partial() = None;
                    }
                    return Poll::Ready(Ok(received));
                }
                Err(error) => return Poll::Ready(Err(End::Bad(error.to_string()))),
            }
            let buffered = self.framer.buffered();
            self.partial.set(buffered);
            if buffered > 0 {
                self.note_partial(buffered);
            }
            if self.partial.exceeds() {
                return Poll::Ready(Err(End::Partial(buffered)));
            }
            let count = match ready!(self.poll_read(buffer)) {
                Ok(0) => return Poll::Ready(Err(End::ByPeer)),
                Ok(count) => count,
                Err(error) => return Poll::Ready(Err(End::Receive(error.to_string()))),
            };
            self.heard.now();
            self.framer.push(buffer.get(..count).unwrap_or_default());
        }
    }

    fn poll_read(&mut self, buffer: &mut [u8]) -> Poll<std::io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let reader = &mut self.reader;
        // The budget that tokio gives a task counts for one that reads one socket, not for this.
        let attempt = coop::unconstrained(future::poll_fn(|cx| {
            Pin::new(&mut *reader).poll_read(cx, &mut buffer)
        }));
        ready!(pin!(attempt).poll(&mut Context::from_waker(&self.waker)))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Puts the client into the queue again.
    pub fn put_off(&self) {
        self.waker.wake_by_ref();
    }

    /// So much of a request has come, and not all of it: the connection's task ends the client if
    /// that takes too long.
    fn note_partial(&mut self, bytes: usize) {
        let is_new = self.since.is_none();
        let since = *self.since.get_or_insert_with(Instant::now);
        let deadline = since.checked_add(allowed(bytes));
        *self.heard.partial() = deadline.map(|deadline| (deadline, bytes));
        if is_new {
            self.heard.left_over.notify_one();
        }
    }
}

/// How long a request may take of which this much has come.
fn allowed(bytes: usize) -> Duration {
    let more = (bytes as u64) / REQUEST_BYTES_PER_SECOND;
    REQUEST_TIME.saturating_add(Duration::from_secs(more))
}

#[cfg(test)]
mod tests {
    use super::super::TOTALS;
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    const REQUEST: &[u8] = br#"{"id":1,"method":"list_dbs","params":[]}"#;

    /// A client's socket, and what reads from it for session 7.
    fn pair() -> (UnixStream, Inbox, Readable) {
        let (peer, socket) = UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let stream: Box<dyn Stream> = Box::new(tokio::net::UnixStream::from_std(socket).unwrap());
        let readable = Readable::default();
        let (reader, _writer) = tokio::io::split(stream);
        let inbox = Inbox::new(
            reader,
            readable.waker(7),
            Arc::default(),
            TOTALS.partial.share(),
        );
        (peer, inbox, readable)
    }

    /// Reads as the event loop does: how many requests there are, and why it ends, if it does.
    fn take(inbox: &mut Inbox) -> (usize, Option<End>) {
        let mut buffer = vec![0; 4096];
        let mut count = 0;
        loop {
            match inbox.poll_received(&mut buffer) {
                Poll::Pending => return (count, None),
                Poll::Ready(Ok(_)) => count += 1,
                Poll::Ready(Err(end)) => return (count, Some(end)),
            }
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let limit = Duration::from_secs(30);
        runtime.block_on(async { tokio::time::timeout(limit, test).await.unwrap() });
    }

    #[test]
    fn every_request_is_told_of() {
        run(async {
            let (mut peer, mut inbox, readable) = pair();
            // For the first time without being told.
            take(&mut inbox);
            for n in 1..=100 {
                // Several at a time, more than the buffer has room for, and the last one in pieces.
                peer.write_all(&REQUEST.repeat(n * 3)).unwrap();
                let (first, second) = REQUEST.split_at(n % REQUEST.len());
                peer.write_all(first).unwrap();
                let mut count = 0;
                while count < n * 3 {
                    readable.wait().await;
                    assert_eq!(readable.take(), Some(7));
                    assert!(readable.is_empty(), "it is in the queue once");
                    count += take(&mut inbox).0;
                }
                assert_eq!(count, n * 3);
                peer.write_all(second).unwrap();
                let mut rest = 0;
                while rest < 1 {
                    readable.wait().await;
                    readable.take();
                    rest += take(&mut inbox).0;
                }
            }
            drop(peer);
            readable.wait().await;
            assert!(matches!(take(&mut inbox), (0, Some(End::ByPeer))));
        });
    }
}
