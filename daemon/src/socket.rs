//! A stream socket whose writability is only watched while something waits to be written.
//!
//! tokio's own sockets are told of both directions all the time. On a Unix socket that means a
//! wakeup each time that the peer has read something, which nobody here waits for: with many
//! connections that only get updates it is most of the work of a server. Called by
//! [`crate::stream`].

use std::io::{self, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// See the module's documentation.
#[derive(Debug)]
pub struct Socket {
    socket: AsyncFd<socket2::Socket>,
    /// The same socket again, watched for room to write while there is none.
    full: Option<AsyncFd<socket2::Socket>>,
}

impl Socket {
    /// Takes a socket that does not block.
    pub fn new(socket: impl Into<socket2::Socket>) -> io::Result<Self> {
        Ok(Self {
            socket: watch(socket.into(), Interest::READABLE)?,
            full: None,
        })
    }
}

fn watch(socket: socket2::Socket, interest: Interest) -> io::Result<AsyncFd<socket2::Socket>> {
    // SAFETY: the socket owns its descriptor and does not change it.
    unsafe { AsyncFd::register_with_interest(socket, interest) }.map_err(io::Error::from)
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.socket.poll_read_ready(cx))?;
            // SAFETY: nothing is taken out of the room, only bytes are put in.
            let room = unsafe { buffer.unfilled_mut() };
            let size = room.len();
            match guard.try_io(|socket| socket.get_ref().recv(room)) {
                Ok(Ok(count)) => {
                    // What filled no buffer was all that there is; the next bytes are told of.
                    if count < size {
                        guard.clear_ready();
                    }
                    // SAFETY: so many bytes were received into it.
                    unsafe { buffer.assume_init(count) };
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            match (&mut this.socket.get_ref()).write(bytes) {
                Ok(count) => {
                    this.full = None;
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Poll::Ready(Err(error)),
            }
            let full = match &mut this.full {
                Some(full) => full,
                none => {
                    let again = this.socket.get_ref().try_clone()?;
                    none.insert(watch(again, Interest::WRITABLE)?)
                }
            };
            ready!(full.poll_write_ready(cx))?.clear_ready();
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.get_ref().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn pair() -> [Socket; 2] {
        let (a, b) = UnixStream::pair().unwrap();
        [a, b].map(|socket| {
            socket.set_nonblocking(true).unwrap();
            Socket::new(socket).unwrap()
        })
    }

    /// Runs to the end, which is soon: a wakeup that is lost would wait for ever.
    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let limit = Duration::from_secs(30);
        runtime.block_on(async { tokio::time::timeout(limit, test).await.unwrap() });
    }

    #[test]
    fn much_more_than_fits_arrives_in_order() {
        run(async {
            let [mut a, mut b] = pair();
            let sent: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
            let expected = sent.clone();
            let writing = tokio::spawn(async move {
                a.write_all(&sent).await.unwrap();
                assert!(a.full.is_none(), "writability is watched for nothing");
                a.shutdown().await.unwrap();
                a
            });
            let mut got = Vec::new();
            b.read_to_end(&mut got).await.unwrap();
            assert!(got == expected);
            writing.await.unwrap();
        });
    }

    #[test]
    fn every_small_message_is_seen() {
        run(async {
            let [mut a, mut b] = pair();
            let echo = tokio::spawn(async move {
                let mut buffer = [0u8; 100];
                loop {
                    let count = b.read(&mut buffer).await.unwrap();
                    if count == 0 {
                        return;
                    }
                    b.write_all(&buffer[..count]).await.unwrap();
                }
            });
            for n in 0..5_000usize {
                // Some are as long as the buffer, which says that there may be more.
                let message = vec![b'x'; n % 100 + 1];
                a.write_all(&message).await.unwrap();
                let mut got = vec![0u8; message.len()];
                a.read_exact(&mut got).await.unwrap();
                assert_eq!(got, message);
            }
            drop(a);
            echo.await.unwrap();
        });
    }

    #[test]
    fn a_peer_that_leaves_ends_reading_and_writing() {
        run(async {
            let [mut a, b] = pair();
            // Fill the socket, so that the writer waits when the peer leaves.
            let writing = tokio::spawn(async move {
                let chunk = vec![0u8; 1 << 20];
                loop {
                    if let Err(error) = a.write_all(&chunk).await {
                        return error;
                    }
                }
            });
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(b);
            let error = writing.await.unwrap();
            assert!(
                matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ),
                "{error}"
            );
        });
    }
}
