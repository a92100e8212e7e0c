//! What the commands of one run share: the transaction, the names, the model.
//!
//! A context lives for one attempt: when the server says that something changed in between, a new
//! one is made from what the replica holds by then, and all commands run again.

use std::collections::BTreeSet;

use ovsdb::replica::{Replica, Transaction};
use ovsdb::schema::DatabaseSchema;
use ovsdb::table::Table;
use ovsdb::{Datum, Uuid};

use crate::model::{Bridge, Iface, Model, Port};
use crate::symbols::Symbols;

/// What a command prints.
#[derive(Debug, Default)]
pub struct Output {
    pub text: String,
    pub table: Option<Table>,
    /// The row that a `create` inserted; its lasting UUID is printed instead of `text`.
    pub created: Option<Uuid>,
}

impl Output {
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// One line for each item, in the order given.
    pub fn lines<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> Self {
        let mut text = String::new();
        for line in lines {
            text.push_str(line.as_ref());
            text.push('\n');
        }
        Self::text(text)
    }
}

/// State of one attempt.
#[derive(Debug)]
pub struct Context<'r> {
    pub txn: Transaction<'r>,
    pub symbols: Symbols,
    /// The Open_vSwitch row.
    pub ovs: Uuid,
    model: Option<Model>,
    ports_relied_on: bool,
}

impl<'r> Context<'r> {
    /// A fresh attempt; inserts the Open_vSwitch row when the database is empty.
    pub fn new(replica: &'r Replica) -> Self {
        let mut txn = Transaction::new(replica);
        let ovs = match replica.rows("Open_vSwitch").next() {
            Some(row) => row.uuid(),
            None => {
                // Of several that set an empty database up, one does.
                let uuid = Uuid::new_v4();
                txn.rely_on_empty("Open_vSwitch");
                txn.insert("Open_vSwitch", uuid);
                uuid
            }
        };
        Self {
            txn,
            symbols: Symbols::default(),
            ovs,
            model: None,
            ports_relied_on: false,
        }
    }

    pub fn schema(&self) -> &'r DatabaseSchema {
        self.txn.replica().schema()
    }

    /// Interfaces that this run inserts or changes, also by way of their port; their fate is
    /// reported at the end.
    pub fn touched_ifaces(&self) -> BTreeSet<Uuid> {
        let mut ifaces: BTreeSet<Uuid> = self.txn.touched_rows("Interface").into_iter().collect();
        for port in self.txn.touched_rows("Port") {
            ifaces.extend(self.txn.read("Port", port, "interfaces").uuids());
        }
        ifaces
    }

    /// Whether this run changes rows through which interfaces can come to have errors without
    /// being changed themselves.
    pub fn touches_more(&self) -> bool {
        ["Bridge", "Controller", "Flow_Table"]
            .iter()
            .any(|table| !self.txn.touched_rows(table).is_empty())
    }

    /// The bridges and ports as they are by now.
    pub fn model(&mut self) -> &mut Model {
        let (txn, ovs) = (&self.txn, self.ovs);
        self.model.get_or_insert_with(|| Model::new(txn, ovs))
    }

    /// Says that rows changed in a way that the model was not told of.
    pub fn invalidate(&mut self) {
        self.model = None;
    }

    /// Inserts a row and returns its UUID within the transaction.
    pub fn insert(&mut self, table: &str) -> Uuid {
        let uuid = Uuid::new_v4();
        self.txn.insert(table, uuid);
        uuid
    }

    /// Makes the run depend on which bridges there are.
    pub fn rely_on_bridges(&mut self) {
        self.txn.rely_on("Open_vSwitch", self.ovs, "bridges");
    }

    /// Makes the run depend on which bridges, ports and interfaces belong together.
    pub fn rely_on_ports(&mut self) {
        if std::mem::replace(&mut self.ports_relied_on, true) {
            return;
        }
        self.rely_on_bridges();
        for (table, column) in [("Bridge", "ports"), ("Port", "interfaces")] {
            for row in self.txn.replica().rows(table) {
                self.txn.rely_on(table, row.uuid(), column);
            }
        }
    }

    /// A real or fake bridge.
    pub fn bridge(&mut self, name: &str) -> Option<Bridge> {
        self.rely_on_bridges();
        self.model().bridges.get(name).cloned()
    }

    /// A port other than the local port of its bridge.
    pub fn port(&mut self, name: &str) -> Option<Port> {
        self.rely_on_ports();
        let port = self.model().ports.get(name)?;
        (port.bridge != name).then(|| port.clone())
    }

    /// An interface other than that of the local port.
    pub fn iface(&mut self, name: &str) -> Option<Iface> {
        self.rely_on_ports();
        let iface = self.model().ifaces.get(name)?.clone();
        let local = self.bridge_of_iface(&iface) == name;
        (!local).then_some(iface)
    }

    /// The bridge of the port that an interface is in.
    pub fn bridge_of_iface(&mut self, iface: &Iface) -> String {
        self.model()
            .ports
            .get(&iface.port)
            .map(|port| port.bridge.clone())
            .unwrap_or_default()
    }

    /// Adds one reference to a set.
    pub fn add_reference(&mut self, table: &str, row: Uuid, column: &str, target: Uuid) {
        let mut set = self.txn.read(table, row, column);
        set.union(&Datum::uuid(target));
        self.txn.write(table, row, column, set);
    }

    /// Removes one reference from a set.
    pub fn remove_reference(&mut self, table: &str, row: Uuid, column: &str, target: Uuid) {
        let mut set = self.txn.read(table, row, column);
        set.subtract(&Datum::uuid(target));
        self.txn.write(table, row, column, set);
    }
}
