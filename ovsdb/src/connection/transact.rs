//! Transactions that are built again until the server has decided.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use super::Connection;
use crate::replica::{Outcome, Transaction};

/// Nothing is left to be done: the changes are committed, or there were none to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed<T> {
    /// What the body returned when it was run for the last time.
    pub value: T,
    /// The UUIDs that inserted rows got, by those that they had in the transaction.
    pub inserted: BTreeMap<Uuid, Uuid>,
    /// The new value of the column of [`Transaction::increment`].
    pub incremented: Option<i64>,
}

/// A transaction that was not committed, or about which nobody knows.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TransactError<E> {
    /// The body gave up; nothing was sent.
    #[error("{0}")]
    Body(E),
    /// The server refused; its `<error>`.
    #[error("the server refused the transaction: {}", Outcome::error_text(.0))]
    Refused(Value),
    /// The lock of [`Connection::set_lock`] is not held; nothing was changed.
    #[error("the lock is not held")]
    NotLocked,
    /// Nothing was changed, as [`Transaction::abort_at_end`] asked.
    #[error("aborted as asked")]
    Aborted,
    /// The connection was lost before the answer: the changes were made or not.
    #[error(
        "the connection was lost before the server answered: what became of the transaction is not known"
    )]
    Unknown,
}

/// How long a transaction whose `wait` failed is held back for the update that explains it.
const EXPLANATION: Duration = Duration::from_secs(1);

impl Connection {
    /// Makes changes at most once.
    ///
    /// `body` is run on a replica that is in sync, and again each time that a value which it
    /// relied on ([`Transaction::rely_on`]) was changed by somebody else before. The replica has
    /// the changes when this returns.
    ///
    /// Errors: [`TransactError::Unknown`] when the connection was lost after the transaction was
    /// sent; see the [module](super) for when it may be made again.
    pub async fn transact<T, E>(
        &mut self,
        body: impl FnMut(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<Committed<T>, TransactError<E>> {
        self.attempt(body, false).await
    }

    /// Makes changes as often as it takes: like [`Connection::transact`], but `body` is also run
    /// again when the connection was lost before the answer.
    ///
    /// `body` says what should be there, given what is there. It finds its own work when the lost
    /// transaction was committed, and then changes nothing.
    pub async fn ensure<T, E>(
        &mut self,
        body: impl FnMut(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<Committed<T>, TransactError<E>> {
        self.attempt(body, true).await
    }

    async fn attempt<T, E>(
        &mut self,
        mut body: impl FnMut(&mut Transaction<'_>) -> Result<T, E>,
        repeats: bool,
    ) -> Result<Committed<T>, TransactError<E>> {
        loop {
            self.synced().await;
            let seqno = self.replica().seqno();
            let mut transaction = Transaction::new(self.session.replica());
            let value = body(&mut transaction).map_err(TransactError::Body)?;
            let Some(request) = transaction.build() else {
                return Ok(Committed {
                    value,
                    inserted: BTreeMap::new(),
                    incremented: None,
                });
            };
            self.outcome = None;
            self.awaited = Some(self.session.transact(request));
            let outcome = loop {
                // What else happens shows in the state of the handle.
                while self.poll_event().is_some() {}
                if let Some(outcome) = self.outcome.take() {
                    break outcome;
                }
                self.advance().await;
            };
            match outcome {
                Outcome::Committed {
                    inserted,
                    incremented,
                } => {
                    return Ok(Committed {
                        value,
                        inserted,
                        incremented,
                    });
                }
                Outcome::TryAgain => self.moved_from(seqno).await,
                Outcome::Unknown if repeats => {}
                Outcome::Unknown => return Err(TransactError::Unknown),
                Outcome::NotLocked => return Err(TransactError::NotLocked),
                Outcome::Aborted => return Err(TransactError::Aborted),
                Outcome::Error(error) => return Err(TransactError::Refused(error)),
            }
        }
    }

    /// Waits until the replica is another than at `seqno`, for a while.
    async fn moved_from(&mut self, seqno: u64) {
        let moved = async {
            while self.session.is_synced() && self.replica().seqno() == seqno {
                self.next().await;
            }
        };
        // A value that was changed and put back explains nothing.
        let _ = timeout(EXPLANATION, moved).await;
    }
}
