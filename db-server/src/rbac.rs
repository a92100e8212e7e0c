//! Role-based access control: what the clients of a remote that has a role may change.
//!
//! A database with a table `RBAC_Role` has rules. A role's row names, by table, a row of
//! permissions: who may touch a row at all (`authorization`: columns, or keys of map columns, of
//! the row that have to hold the client's id; an empty string lets in everybody), whether rows
//! may come and go (`insert_delete`), and which columns may change (`update`). Reading is free.
//!
//! Source: ovsdb(7) and ovsdb-server(7), 3.2 and 4.1.3; ovsdb/rbac.c.

use ovsdb::error::Result;
use ovsdb::{Atom, Error, ErrorKind};

use crate::database::{Database, Row, Table};

/// What a transaction's client may do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Access<'a> {
    /// Whether the database is one that clients may only read.
    pub reserved: bool,
    /// Whether the client may only read.
    pub read_only: bool,
    /// The client's role; empty for one that no rules bind.
    pub role: &'a str,
    /// Who the client proved to be.
    pub id: Option<&'a str>,
}

/// A change that rules may forbid.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a> {
    Insert,
    Delete,
    /// Sets these columns.
    Update(&'a [&'a str]),
    /// Mutates these columns.
    Mutate(&'a [&'a str]),
}

impl Access<'_> {
    /// Whether rules may forbid something, so that [`Access::check`] is worth its arguments.
    pub(crate) fn is_bound(&self, db: &Database) -> bool {
        !self.role.is_empty() && db.table_id("RBAC_Role").is_some()
    }

    /// Whether the client may change `rows` of `table` so.
    ///
    /// Errors: `permission error`, in the words of ovsdb-server.
    pub(crate) fn check<'r>(
        &self,
        db: &Database,
        table: &Table,
        change: Change<'_>,
        rows: impl IntoIterator<Item = &'r Row>,
    ) -> Result<()> {
        if !self.is_bound(db) || self.permits(db, table, change, rows).is_some() {
            return Ok(());
        }
        let what = match change {
            Change::Insert => "row insertion into",
            Change::Delete => "row deletion from",
            Change::Update(_) => "modification of",
            Change::Mutate(_) => "mutate operation on",
        };
        Err(self.refuse(&format!("{what} table \"{}\".", table.name)))
    }

    /// Whether the client may convert the database: only one without a role may.
    pub(crate) fn check_convert(&self, database: &str) -> Result<()> {
        if self.role.is_empty() {
            return Ok(());
        }
        Err(self.refuse(&format!(
            "\"convert\" of database {database} (only the root role may convert databases)"
        )))
    }

    fn refuse(&self, what: &str) -> Error {
        // A client without an id is printed as a null string is in C.
        let (id, role) = (self.id.unwrap_or("(null)"), self.role);
        let details = format!("RBAC rules for client \"{id}\" role \"{role}\" prohibit {what}");
        Error::new(ErrorKind::PermissionError, details)
    }

    /// `Some` when the rules let the change happen; whatever is missing forbids it.
    fn permits<'r>(
        &self,
        db: &Database,
        table: &Table,
        change: Change<'_>,
        rows: impl IntoIterator<Item = &'r Row>,
    ) -> Option<()> {
        let id = self.id?;
        let (permissions, rules) = permissions(db, self.role, &table.name)?;
        let column = |name: &str| Some(rules.get(permissions.column_id(name)?));
        let may_change = match change {
            Change::Insert | Change::Delete => column("insert_delete")?.as_bool()?,
            Change::Update(names) | Change::Mutate(names) => {
                let allowed = column("update")?;
                names
                    .iter()
                    .all(|name| allowed.strings().any(|allowed| allowed == *name))
            }
        };
        let owners = column("authorization")?;
        rows.into_iter()
            .all(|row| {
                may_change
                    && owners
                        .strings()
                        .any(|owner| owner.is_empty() || names_client(table, row, owner, id))
            })
            .then_some(())
    }
}

/// The row of permissions that a role has for a table.
fn permissions<'d>(db: &'d Database, role: &str, table: &str) -> Option<(&'d Table, &'d Row)> {
    let roles = db.table(db.table_id("RBAC_Role")?)?;
    let (name, permissions) = (roles.column_id("name")?, roles.column_id("permissions")?);
    let (_, row) = roles
        .rows()
        .find(|(_, row)| row.get(name).strings().any(|name| name == role))?;
    let uuid = row
        .get(permissions)
        .get_atom(&Atom::from(table))?
        .as_uuid()?;
    let base = roles
        .column(permissions)?
        .schema
        .column_type
        .value
        .as_ref()?;
    let target = db.table(db.table_id(base.reference()?.0)?)?;
    Some((target, target.row(&uuid)?))
}

/// Whether `owner`, a column or `column:key`, of the row holds the client's id.
fn names_client(table: &Table, row: &Row, owner: &str, id: &str) -> bool {
    let (column, key) = match owner.split_once(':') {
        Some((column, key)) => (column, Some(key)),
        None => (owner, None),
    };
    let Some(datum) = table.column_id(column).map(|column| row.get(column)) else {
        return false;
    };
    let value = match key {
        Some(key) => datum.get(key),
        None if datum.len() == 1 && !datum.is_map() => datum.as_str(),
        None => None,
    };
    value == Some(id)
}
