//! Typed reading of one row of a replica.

use std::fmt;
use std::sync::LazyLock;

use uuid::Uuid;

use super::{Replica, Table};
use crate::value::{Atom, Datum, ValueError};

/// A column that cannot be read as wished.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// The selection lacks the column.
    #[error("column {column} of table {table} is not followed")]
    NotFollowed { table: String, column: String },
    /// The server's schema lacks the column.
    #[error("the server has no column {column} in table {table}")]
    ServerLacks { table: String, column: String },
    /// The value is of another type.
    #[error("column {column} of row {uuid} in table {table}: {error}")]
    Value {
        table: String,
        column: String,
        uuid: Uuid,
        error: ValueError,
    },
}

static EMPTY: LazyLock<Datum> = LazyLock::new(Datum::empty);

/// A row, readable by column name.
///
/// [`Row::value`] reads a column as a Rust type and says what is wrong when that cannot be. The
/// other getters are short: what is not followed, lacking or of another type reads as unset.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    replica: &'a Replica,
    table_name: &'a str,
    table: &'a Table,
    uuid: Uuid,
    data: &'a [Datum],
}

impl<'a> Row<'a> {
    pub(super) fn new(
        replica: &'a Replica,
        table_name: &'a str,
        table: &'a Table,
        uuid: Uuid,
        data: &'a [Datum],
    ) -> Self {
        Self {
            replica,
            table_name,
            table,
            uuid,
            data,
        }
    }

    /// The row's `_uuid`.
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// The table that the row is in.
    pub fn table(&self) -> &'a str {
        self.table_name
    }

    /// A column as a Rust type; see [`crate::value`] for which types there are.
    ///
    /// ```
    /// # fn show(row: ovsdb::replica::Row<'_>) -> Result<(), ovsdb::replica::ColumnError> {
    /// use std::collections::BTreeMap;
    /// let name: &str = row.value("name")?;
    /// let tag: Option<i64> = row.value("tag")?;
    /// let ids: BTreeMap<String, String> = row.value("external_ids")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn value<T>(&self, column: &str) -> Result<T, ColumnError>
    where
        T: TryFrom<&'a Datum, Error = ValueError>,
    {
        let table = || self.table_name.to_owned();
        if self.table.position(column).is_none() {
            return Err(ColumnError::NotFollowed {
                table: table(),
                column: column.to_owned(),
            });
        }
        if self.replica.server_lacks(self.table_name, column) {
            return Err(ColumnError::ServerLacks {
                table: table(),
                column: column.to_owned(),
            });
        }
        T::try_from(self.datum(column)).map_err(|error| ColumnError::Value {
            table: table(),
            column: column.to_owned(),
            uuid: self.uuid,
            error,
        })
    }

    /// The whole value of a column.
    pub fn datum(&self, column: &str) -> &'a Datum {
        self.table
            .position(column)
            .and_then(|at| self.data.get(at))
            .unwrap_or(&EMPTY)
    }

    /// A string, or the first of a set of strings.
    pub fn string(&self, column: &str) -> Option<&'a str> {
        self.datum(column).as_str()
    }

    /// An integer, or the least of a set of integers.
    pub fn integer(&self, column: &str) -> Option<i64> {
        self.datum(column).as_i64()
    }

    /// A real number, or the least of a set of them.
    pub fn real(&self, column: &str) -> Option<f64> {
        self.datum(column).as_f64()
    }

    /// A boolean; `false` where it is unset.
    pub fn boolean(&self, column: &str) -> bool {
        self.datum(column).as_bool().unwrap_or(false)
    }

    /// A boolean that may be unset.
    pub fn optional_boolean(&self, column: &str) -> Option<bool> {
        self.datum(column).as_bool()
    }

    /// The strings of a set.
    pub fn strings(&self, column: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.datum(column).strings()
    }

    /// The integers of a set, ascending.
    pub fn integers(&self, column: &str) -> impl Iterator<Item = i64> + use<'a> {
        self.datum(column).iter().filter_map(Atom::as_i64)
    }

    /// The value under `key` in a map from strings to strings.
    pub fn get(&self, column: &str, key: &str) -> Option<&'a str> {
        self.datum(column).get(key)
    }

    /// The entries of a map from strings to strings, by ascending key.
    pub fn map(&self, column: &str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.datum(column)
            .entries()
            .filter_map(|(key, value)| Some((key.as_str()?, value.as_str()?)))
    }

    /// The UUIDs in a set of references, also of rows that are not here.
    pub fn uuids(&self, column: &str) -> impl Iterator<Item = Uuid> + use<'a> {
        self.datum(column).uuids()
    }

    /// The row to which a column with one reference points.
    pub fn reference(&self, column: &str) -> Option<Row<'a>> {
        self.references(column).next()
    }

    /// The rows to which a set of references points, by ascending UUID.
    pub fn references(&self, column: &str) -> impl Iterator<Item = Row<'a>> + use<'a> {
        let replica = self.replica;
        let target = replica
            .table_schema(self.table_name)
            .and_then(|table| table.columns.get(column))
            .and_then(|column| column.column_type.key.reference())
            .map(|(table, _)| table);
        self.datum(column)
            .uuids()
            .filter_map(move |uuid| replica.row(target?, uuid))
    }

    /// The entries of a map whose values are references.
    pub fn reference_map(
        &self,
        column: &str,
    ) -> impl Iterator<Item = (&'a Atom, Row<'a>)> + use<'a> {
        let replica = self.replica;
        let target = replica
            .table_schema(self.table_name)
            .and_then(|table| table.columns.get(column))
            .and_then(|column| column.column_type.value.as_ref()?.reference())
            .map(|(table, _)| table);
        self.datum(column)
            .entries()
            .filter_map(move |(key, value)| Some((key, replica.row(target?, value.as_uuid()?)?)))
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct(self.table_name);
        out.field("_uuid", &self.uuid);
        for (name, datum) in self.table.columns.iter().zip(self.data) {
            out.field(name, &format_args!("{datum}"));
        }
        out.finish()
    }
}
