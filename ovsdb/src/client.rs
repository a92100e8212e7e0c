//! The client's end of one connection to a database server.
//!
//! [`Client`] moves messages over any byte stream. A program that follows a database pumps
//! messages between it and a [`Session`](crate::replica::Session); one that only asks a question
//! uses [`Client::call`] and its siblings, which answer the server's echo requests and keep
//! notifications for [`Client::poll_notification`].
//!
//! What is buffered is bounded in both directions: a peer that sends without end, or does not
//! read, gets an error instead of memory. Source: RFC 7047, 4.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use uuid::Uuid;

use crate::jsonrpc::{FrameError, Framer, Message};
use crate::operation::Operation;
use crate::schema::DatabaseSchema;
use crate::value::UuidNames;

/// The connection is of no further use after any error but [`Error::Remote`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server closed the connection.
    #[error("end of file")]
    Closed,
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What came is no sequence of messages.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The server does not read.
    #[error("more than {limit} bytes wait to be sent")]
    SendBuffer { limit: usize },
    /// The server sends notifications instead of an answer.
    #[error("more than {limit} notifications wait to be taken")]
    Notifications { limit: usize },
    /// The server's answer is an error, as it came.
    #[error("{0}")]
    Remote(Value),
    /// The answer does not have the form that the method asks for.
    #[error("malformed answer: {0}")]
    Answer(crate::error::Error),
}

/// Most bytes that wait to be written.
const MAX_OUTPUT: usize = 256 << 20;
/// Most notifications kept while a call waits for its answer.
const MAX_NOTIFICATIONS: usize = 4096;
/// How much is read at once.
const READ_BYTES: usize = 64 << 10;

/// One connection, over the stream `S`.
#[derive(Debug)]
pub struct Client<S> {
    stream: S,
    framer: Framer,
    input: Vec<u8>,
    output: VecDeque<u8>,
    unflushed: bool,
    received_bytes: u64,
    next_id: u64,
    notifications: VecDeque<Message>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// A client on a stream that is connected.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            framer: Framer::default(),
            input: vec![0; READ_BYTES],
            output: VecDeque::new(),
            unflushed: false,
            received_bytes: 0,
            // Apart from the ids of a session on the same connection.
            next_id: 1 << 32,
            notifications: VecDeque::new(),
        }
    }

    /// Takes a message for sending; [`Client::recv`] and [`Client::flush`] write it out.
    pub fn queue(&mut self, message: &Message) -> Result<(), Error> {
        let bytes = message.to_bytes();
        if self.output.len().saturating_add(bytes.len()) > MAX_OUTPUT {
            return Err(Error::SendBuffer { limit: MAX_OUTPUT });
        }
        self.output.extend(bytes);
        self.unflushed = true;
        Ok(())
    }

    /// The next message, also an echo request; writes what is queued in the meantime.
    ///
    /// Cancel safe: nothing is lost when the future is dropped.
    pub async fn recv(&mut self) -> Result<Message, Error> {
        loop {
            if let Some(message) = self.framer.poll_message()? {
                return Ok(message);
            }
            poll_fn(|cx| self.poll_io(cx)).await?;
        }
    }

    /// Writes all that is queued. Cancel safe.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_write_out(cx)).await
    }

    /// How much has come so far, also of a message that is not whole yet.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Asks and waits for the answer. Echo requests are answered, notifications kept.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, Error> {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.queue(&Message::request(id, method, params))?;
        loop {
            match self.recv().await? {
                Message::Response { id: got, result } if got.as_u64() == Some(id) => {
                    return result.map_err(Error::Remote);
                }
                Message::Response { .. } => {}
                other => self.handle_unasked(other)?,
            }
        }
    }

    /// The next notification, waiting for one; echo requests are answered.
    pub async fn notification(&mut self) -> Result<Message, Error> {
        loop {
            if let Some(message) = self.notifications.pop_front() {
                return Ok(message);
            }
            let message = self.recv().await?;
            self.handle_unasked(message)?;
        }
    }

    /// A notification that came while a call waited.
    pub fn poll_notification(&mut self) -> Option<Message> {
        self.notifications.pop_front()
    }

    /// The names of the server's databases.
    pub async fn list_dbs(&mut self) -> Result<Vec<String>, Error> {
        let reply = self.call("list_dbs", json!([])).await?;
        serde_json::from_value(reply.clone()).map_err(|_| {
            Error::Answer(crate::error::Error::syntax(
                &reply,
                "expected an array of strings",
            ))
        })
    }

    /// The schema of one database.
    pub async fn get_schema(&mut self, database: &str) -> Result<DatabaseSchema, Error> {
        let reply = self.call("get_schema", json!([database])).await?;
        DatabaseSchema::from_json(&reply).map_err(Error::Answer)
    }

    /// Carries out operations and returns one result for each, as they came.
    pub async fn transact(
        &mut self,
        schema: &DatabaseSchema,
        operations: &[Operation],
    ) -> Result<Vec<Value>, Error> {
        let names = UuidNames::new();
        let mut params = vec![json!(schema.name)];
        params.extend(
            operations
                .iter()
                .map(|operation| operation.to_json(schema, &names)),
        );
        match self.call("transact", Value::Array(params)).await? {
            Value::Array(results) => Ok(results),
            other => Err(Error::Answer(crate::error::Error::syntax(
                &other,
                "expected an array of results",
            ))),
        }
    }

    /// Starts a monitor; `requests` are `<monitor-cond-requests>`. Returns `<table-updates2>`.
    pub async fn monitor_cond(
        &mut self,
        database: &str,
        id: Value,
        requests: Value,
    ) -> Result<Value, Error> {
        self.call("monitor_cond", json!([database, id, requests]))
            .await
    }

    /// Starts a monitor from the transaction `last` on. Returns `[found, last, updates]`.
    pub async fn monitor_cond_since(
        &mut self,
        database: &str,
        id: Value,
        requests: Value,
        last: Uuid,
    ) -> Result<Value, Error> {
        let last = last.hyphenated().to_string();
        self.call("monitor_cond_since", json!([database, id, requests, last]))
            .await
    }

    fn handle_unasked(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::Request { id, method, params } if method == "echo" => {
                self.queue(&Message::reply(id, params))
            }
            Message::Request { id, .. } => self.queue(&Message::error(id, json!("unknown method"))),
            notification if self.notifications.len() < MAX_NOTIFICATIONS => {
                self.notifications.push_back(notification);
                Ok(())
            }
            _ => Err(Error::Notifications {
                limit: MAX_NOTIFICATIONS,
            }),
        }
    }

    /// Writes what can be written and reads once.
    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Poll::Ready(Err(error)) = self.poll_write_out(cx) {
            return Poll::Ready(Err(error));
        }
        let mut buffer = ReadBuf::new(&mut self.input);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Err(Error::Closed)),
            Poll::Ready(Ok(())) => {
                let count = buffer.filled().len() as u64;
                self.received_bytes = self.received_bytes.wrapping_add(count);
                self.framer.push(buffer.filled());
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.output.is_empty() {
            let (front, _) = self.output.as_slices();
            match Pin::new(&mut self.stream).poll_write(cx, front) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Error::Closed)),
                Poll::Ready(Ok(written)) => {
                    self.output.drain(..written.min(self.output.len()));
                }
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Ready(Ok(())) => self.unflushed = false,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(test);
    }

    #[test]
    fn echo_both_ways_and_ids_matched() {
        run(async {
            let (here, mut there) = tokio::io::duplex(64);
            let mut client = Client::new(here);
            let server = async {
                there
                    .write_all(
                        br#"{"id":"echo","method":"echo","params":[7]}
                        {"id":null,"method":"update","params":[null,{}]}
                        {"id":99,"result":"for nobody","error":null}
                        {"id":4294967296,"result":["a","b"],"error":null}"#,
                    )
                    .await
                    .unwrap();
                let mut framer = Framer::default();
                let mut got = Vec::new();
                let mut buffer = [0; 16];
                while got.len() < 2 {
                    let n = there.read(&mut buffer).await.unwrap();
                    framer.push(&buffer[..n]);
                    while let Some(message) = framer.poll_message().unwrap() {
                        got.push(message);
                    }
                }
                got
            };
            let asking = async {
                let names = client.list_dbs().await.unwrap();
                client.flush().await.unwrap();
                names
            };
            let (names, sent) = tokio::join!(asking, server);
            assert_eq!(names, ["a", "b"]);
            assert_eq!(
                sent[0],
                Message::request(4294967296u64, "list_dbs", json!([]))
            );
            assert_eq!(sent[1], Message::reply(json!("echo"), json!([7])));
            assert!(client.poll_notification().is_some());
            drop(there);
            assert!(matches!(client.recv().await, Err(Error::Closed)));
        });
    }

    #[test]
    fn errors_of_the_peer_and_of_the_stream() {
        run(async {
            let (here, mut there) = tokio::io::duplex(4096);
            let mut client = Client::new(here);
            there
                .write_all(
                    br#"{"id":4294967296,"result":null,"error":{"error":"unknown database"}}["#,
                )
                .await
                .unwrap();
            let error = client.get_schema("x").await.unwrap_err();
            assert!(matches!(error, Error::Remote(_)));
            let error = client.get_schema("x").await.unwrap_err();
            assert!(matches!(error, Error::Frame(_)), "{error}");
        });
    }

    #[test]
    fn a_flood_of_notifications_ends_the_call() {
        run(async {
            let (here, mut there) = tokio::io::duplex(4096);
            let mut client = Client::new(here);
            let flood = async {
                let one = br#"{"id":null,"method":"update","params":[]}"#;
                while there.write_all(one).await.is_ok() {}
            };
            let call = async move {
                let error = client.call("echo", json!([])).await.unwrap_err();
                assert!(matches!(error, Error::Notifications { .. }));
            };
            tokio::join!(flood, call);
        });
    }
}
