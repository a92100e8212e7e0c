//! A client's socket with what HTTP libraries leave out: a peer that does not read is not read
//! either, and not waited for too long; and the connection can be ended from elsewhere.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

/// A peer that takes nothing of what it is sent for so long is gone.
const STALL_TIME: Duration = Duration::from_secs(60);

/// Ends a connection from outside, whatever it is doing.
#[derive(Debug, Default)]
pub(super) struct Link {
    closed: AtomicBool,
    /// The peer does not take what it is sent.
    stalled: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Link {
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn set_stalled(&self, stalled: bool) {
        if self.stalled.swap(stalled, Ordering::AcqRel) && !stalled {
            self.reader.wake();
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    link: Arc<Link>,
    /// When the peer is given up, while it takes nothing.
    deadline: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    /// `place` is given back when the socket is closed.
    pub fn new(socket: TcpStream, place: OwnedSemaphorePermit) -> Self {
        Self {
            socket,
            link: Arc::default(),
            deadline: None,
            _place: place,
        }
    }

    pub fn link(&self) -> Arc<Link> {
        self.link.clone()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        self.link.reader.register(cx.waker());
        if self.link.is_closed() {
            return Poll::Ready(Ok(()));
        }
        // What it asks for without reading the answers would gather here.
        if self.link.stalled.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        self.link.writer.register(cx.waker());
        if self.link.is_closed() {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        if let Poll::Ready(result) = Pin::new(&mut self.socket).poll_write(cx, bytes) {
            self.deadline = None;
            self.link.set_stalled(false);
            return Poll::Ready(result);
        }
        self.link.set_stalled(true);
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + STALL_TIME)));
        ready!(deadline.as_mut().poll(cx));
        let seconds = STALL_TIME.as_secs();
        Poll::Ready(Err(Error::new(
            ErrorKind::TimedOut,
            format!("the peer has read nothing for {seconds} seconds"),
        )))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;
    use tokio::time::timeout;

    use super::*;

    async fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap());
        let (peer, accepted) = tokio::join!(peer, listener.accept());
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        (Stream::new(accepted.unwrap().0, place), peer.unwrap())
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(test);
    }

    #[test]
    fn who_does_not_read_is_not_read() {
        run(async {
            let (ours, mut peer) = pair().await;
            let link = ours.link();
            let (mut reader, mut writer) = tokio::io::split(ours);
            let writing = tokio::spawn(async move {
                let chunk = vec![0u8; 1 << 20];
                for _ in 0..64 {
                    writer.write_all(&chunk).await.unwrap();
                }
                writer
            });
            while !link.stalled.load(Ordering::Acquire) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            peer.write_all(b"hello").await.unwrap();
            let mut bytes = [0u8; 5];
            let reading = timeout(Duration::from_millis(100), reader.read_exact(&mut bytes)).await;
            assert!(reading.is_err(), "it was read");
            let mut taken = vec![0u8; 64 << 20];
            peer.read_exact(&mut taken).await.unwrap();
            let reading = timeout(Duration::from_secs(5), reader.read_exact(&mut bytes)).await;
            assert_eq!(reading.unwrap().unwrap(), 5);
            drop(writing.await.unwrap());
        });
    }

    #[test]
    fn closed_from_elsewhere() {
        run(async {
            let (mut ours, _peer) = pair().await;
            let link = ours.link();
            let reading = tokio::spawn(async move {
                let mut bytes = [0u8; 1];
                let read = ours.read(&mut bytes).await;
                (read, ours.write(b"x").await)
            });
            tokio::time::sleep(Duration::from_millis(20)).await;
            link.close();
            let both = timeout(Duration::from_secs(5), reading).await;
            let (read, write) = both.unwrap().unwrap();
            assert_eq!(read.unwrap(), 0);
            assert_eq!(write.unwrap_err().kind(), ErrorKind::ConnectionAborted);
        });
    }
}
