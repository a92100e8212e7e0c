//! The Open vSwitch database protocol (RFC 7047 and Open vSwitch's ovsdb-server(7)).
//!
//! All but [`client`] are plain data and pure functions: no sockets, no clock. `db-server`
//! executes operations; the client and the replica issue them.
//!
//! | Module | RFC 7047 |
//! | --- | --- |
//! | [`value`] | 5.1, atoms, sets, maps |
//! | [`schema`] | 3.2, database, table, column, type |
//! | [`condition`], [`mutation`] | 5.1, `<condition>`, `<mutation>` with their evaluation |
//! | [`operation`] | 5.2, one operation of a `transact` request |
//! | [`error`] | 3.1 and 5.2, error strings |
//! | [`jsonrpc`] | 4, JSON-RPC 1.0 messages on a byte stream |
//! | [`client`] | 4.1, a client's end of a connection; the one module with I/O |
//! | [`replica`] | 4.1.5 and 4.1.6, a followed copy of tables and changes to it |
//! | [`text`], [`table`] | values and tables as the tools print them |

pub mod client;
pub mod condition;
pub mod connection;
pub mod error;
pub mod jsonrpc;
pub mod members;
pub mod mutation;
pub mod operation;
pub mod replica;
pub mod schema;
pub mod table;
pub mod text;
pub mod value;

pub use condition::{Clause, Function};
pub use error::{Error, ErrorKind};
pub use mutation::{Mutation, Mutator};
pub use operation::Operation;
pub use schema::{
    AtomicType, BaseType, ColumnSchema, ColumnType, Constraint, DatabaseSchema, RefKind,
    TableSchema,
};
pub use uuid::Uuid;
pub use value::{Atom, Datum, Real};
