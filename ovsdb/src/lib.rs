//! The Open vSwitch database protocol (RFC 7047 and Open vSwitch's ovsdb-server(7)).
//!
//! For clients:
//!
//! - [`connection`] follows a database over reconnections, reads its rows and changes them.
//! - [`client`] asks single questions over one connection.
//!
//! Below them are plain data and pure functions, without sockets and clocks: `db-server` executes
//! operations with them, the replica issues them.
//!
//! | Module | Source |
//! | --- | --- |
//! | [`value`] | RFC 7047, 5.1: atoms, sets, maps; Rust's types to and from them |
//! | [`schema`] | 3.2: database, table, column, type |
//! | [`condition`], [`mutation`] | 5.1: `<condition>`, `<mutation>` with their evaluation |
//! | [`operation`] | 5.2: one operation of a `transact` request |
//! | [`error`] | 3.1 and 5.2: error strings |
//! | [`jsonrpc`] | 4: JSON-RPC 1.0 messages on a byte stream |
//! | [`text`], [`table`] | values and tables as the tools print them |
//! | [`client`] | 4.1: a client's end of one connection; does I/O |
//! | [`replica`] | 4.1.5, 4.1.6 and ovsdb-server(7): a followed copy of tables and changes to it |
//! | [`connection`] | a replica and the connections that keep it up to date; does I/O |
//!
//! # Example
//!
//! A program that makes sure of a row and sees it come. The server is a task at the other end of a
//! pipe here; elsewhere `Endpoint::parse("unix:/var/run/openvswitch/db.sock")`.
//!
//! ```
//! use std::sync::Arc;
//! use ovsdb::connection::{Connection, Endpoint};
//! use ovsdb::replica::{Change, ColumnError, Selection, Transaction};
//! use ovsdb::{DatabaseSchema, Uuid};
//!
//! # async fn serve(stream: tokio::io::DuplexStream) {
//! #     use ovsdb::jsonrpc::Message;
//! #     let mut server = ovsdb::client::Client::new(stream);
//! #     while let Ok(message) = server.recv().await {
//! #         let Message::Request { id, method, params } = message else { continue };
//! #         let row = "550e8400-e29b-41d4-a716-446655440000";
//! #         let reply = match method.as_str() {
//! #             "monitor_cond" => serde_json::json!({"Database": {row: {"initial":
//! #                 {"name": "Shop", "model": "standalone", "connected": true}}}}),
//! #             "get_schema" => schema().to_json(),
//! #             "monitor_cond_since" => serde_json::json!([false, row, {}]),
//! #             "transact" => {
//! #                 let update = serde_json::json!([["monid", "Shop"], row,
//! #                     {"Fruit": {row: {"insert": params[1]["row"]}}}]);
//! #                 server.queue(&Message::notification("update3", update)).unwrap();
//! #                 serde_json::json!([{"uuid": ["uuid", row]}])
//! #             }
//! #             _ => params,
//! #         };
//! #         server.queue(&Message::reply(id, reply)).unwrap();
//! #         server.flush().await.unwrap();
//! #     }
//! # }
//! # fn schema() -> DatabaseSchema {
//! #     DatabaseSchema::from_json(&serde_json::json!({"name": "Shop", "version": "1.0.0",
//! #         "tables": {"Fruit": {"isRoot": true, "columns": {
//! #             "name": {"type": "string"}, "price": {"type": {"key": "integer", "min": 0}}}}}}))
//! #         .unwrap()
//! # }
//! /// There is an apple.
//! fn apple(txn: &mut Transaction<'_>) -> Result<(), ColumnError> {
//!     if txn.replica().find("Fruit", "name", "apple").is_none() {
//!         let row = Uuid::new_v4();
//!         txn.insert("Fruit", row);
//!         txn.write("Fruit", row, "name", "apple");
//!         txn.write("Fruit", row, "price", Some(3));
//!     }
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Endpoint::new("a pipe", || async {
//!     let (here, there) = tokio::io::duplex(4096);
//!     tokio::spawn(serve(there));
//!     Ok(here)
//! });
//! let mut selection = Selection::new(Arc::new(schema()));
//! selection.columns("Fruit", &["name", "price"])?;
//! let mut db = Connection::new(selection, vec![server]);
//!
//! db.synced().await;
//! db.ensure(apple).await?;
//! for (uuid, change) in &db.changed().await["Fruit"] {
//!     assert_eq!(*change, Change::Inserted);
//!     let row = db.replica().row("Fruit", *uuid).expect("an inserted row");
//!     assert_eq!(row.value::<&str>("name")?, "apple");
//!     assert_eq!(row.value::<Option<i64>>("price")?, Some(3));
//! }
//! # Ok(())
//! # }
//! ```

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
