//! The `_Server` database, in which clients look up what databases there are and in what state.
//!
//! Source: ovsdb-server(5), "_Server Database Schema".

use std::collections::BTreeMap;

use ovsdb::error::sorted_json;
use ovsdb::schema::{AtomicType, BaseType, ColumnSchema, ColumnType, Constraint};
use ovsdb::{DatabaseSchema, Datum, TableSchema};
use serde_json::json;

use super::Server;

pub(super) const NAME: &str = "_Server";

/// The schema of `_Server`.
pub(super) fn schema() -> DatabaseSchema {
    let column = |key: BaseType, min: u32| ColumnSchema {
        column_type: ColumnType {
            key,
            value: None,
            min,
            max: 1,
        },
        ephemeral: false,
        mutable: true,
    };
    let plain = |atomic, min| column(BaseType::plain(atomic), min);
    let models = Constraint::Enum(Datum::set(["clustered", "relay", "standalone"]));
    let model = BaseType {
        atomic: AtomicType::String,
        constraint: models,
    };
    let columns: BTreeMap<String, ColumnSchema> = [
        ("name", plain(AtomicType::String, 1)),
        ("model", column(model, 1)),
        ("connected", plain(AtomicType::Boolean, 1)),
        ("leader", plain(AtomicType::Boolean, 1)),
        ("schema", plain(AtomicType::String, 0)),
        ("cid", plain(AtomicType::Uuid, 0)),
        ("sid", plain(AtomicType::Uuid, 0)),
        ("index", plain(AtomicType::Integer, 0)),
    ]
    .into_iter()
    .map(|(name, column)| (name.to_owned(), column))
    .collect();
    let table = TableSchema {
        name: "Database".to_owned(),
        columns,
        max_rows: None,
        is_root: true,
        indexes: Vec::new(),
    };
    DatabaseSchema {
        name: NAME.to_owned(),
        version: "1.2.0".to_owned(),
        cksum: Some("3009684573 744".to_owned()),
        tables: [("Database".to_owned(), table)].into(),
    }
}

impl Server {
    /// Brings the rows of `_Server` in line with the databases.
    pub(super) fn refresh_meta(&mut self) {
        let mut operations = Vec::new();
        let mut known: BTreeMap<String, Option<String>> = BTreeMap::new();
        if let Some(table) = self.database(NAME).and_then(|db| db.table(0)) {
            let (name, schema) = (table.column_id("name"), table.column_id("schema"));
            for (_, row) in table.rows() {
                let text = |id: Option<usize>| Some(row.get(id?).as_str()?.to_owned());
                known.insert(text(name).unwrap_or_default(), text(schema));
            }
        }
        for (name, managed) in &self.databases {
            let schema = sorted_json(&managed.db.schema().to_json());
            if let Some(old) = known.remove(&**name) {
                if old.as_ref() != Some(&schema) {
                    operations.push(json!({"op": "update", "table": "Database",
                        "where": [["name", "==", &**name]], "row": {"schema": schema}}));
                }
                continue;
            }
            operations.push(json!({"op": "insert", "table": "Database", "row": {
                "name": &**name,
                "model": "standalone",
                "connected": true,
                "leader": true,
                "schema": schema,
            }}));
        }
        for name in known.keys() {
            operations.push(json!({"op": "delete", "table": "Database",
                "where": [["name", "==", name]]}));
        }
        if !operations.is_empty() {
            self.run_own(NAME, operations);
        }
    }
}
