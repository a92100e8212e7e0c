//! The results of a transaction's operations, written as JSON text straight from the rows: they are
//! sent as they are, and with a large `select` a value in between would be most of the work.

use std::io::Write as _;

use ovsdb::Uuid;
use ovsdb::value::write_uuid_json;
use serde_json::Value;

use crate::database::{ColumnId, Row, Table};

/// The array to answer a `transact` request with.
#[derive(Debug, Default)]
pub struct Results {
    /// The elements with commas between.
    text: Vec<u8>,
    error: Option<Value>,
}

impl Results {
    /// The text of the array's elements, with commas between.
    pub fn elements(&self) -> &[u8] {
        &self.text
    }

    /// The result of the operation that failed, or of the commit.
    pub fn into_error(self) -> Option<Value> {
        self.error
    }

    /// The elements as values.
    pub fn to_json(&self) -> Vec<Value> {
        let text = [b"[", self.elements(), b"]"].concat();
        // It was written from values, so it can be read.
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Lets `write` append an element. What it has written of one that fails is dropped.
    pub(super) fn push<T, E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mark = self.text.len();
        if mark > 0 {
            self.text.push(b',');
        }
        let written = write(&mut self.text);
        if written.is_err() {
            self.text.truncate(mark);
        }
        written
    }

    /// Ends with an error and a null for each of the `rest` of the operations.
    pub(super) fn fail(&mut self, error: Value, rest: usize) {
        if !self.text.is_empty() {
            self.text.push(b',');
        }
        // A vector takes all that is written.
        let _ = write!(self.text, "{error}");
        for _ in 0..rest {
            self.text.extend_from_slice(b",null");
        }
        self.error = Some(error);
    }
}

/// Appends the result of an `insert`.
pub(super) fn inserted(uuid: &Uuid, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"uuid\":");
    write_uuid_json(uuid, out);
    out.push(b'}');
}

/// Appends the result of an operation on so many rows.
pub(super) fn counted(count: usize, out: &mut Vec<u8>) {
    // As above.
    let _ = write!(out, "{{\"count\":{count}}}");
}

/// Appends the `<row>` of these columns, which are different ones.
pub(super) fn row(table: &Table, row: &Row, columns: &[ColumnId], out: &mut Vec<u8>) {
    out.push(b'{');
    let columns = columns
        .iter()
        .filter_map(|id| Some((*id, table.column(*id)?)));
    for (n, (id, column)) in columns.enumerate() {
        out.extend_from_slice(if n > 0 { b",\"" } else { b"\"" });
        // Names of columns need no escapes.
        out.extend_from_slice(column.name.as_bytes());
        out.extend_from_slice(b"\":");
        row.get(id).write_json(&column.schema.column_type, out);
    }
    out.push(b'}');
}
