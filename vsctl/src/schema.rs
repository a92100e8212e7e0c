//! The schema that vsctl is made for.
//!
//! Command lines are checked against it before anything is sent, so that a typing error is told
//! apart from a server that is not there.

use std::sync::Arc;

use ovsdb::schema::DatabaseSchema;

const TEXT: &str = include_str!("../../db-server/schema/vswitch.ovsschema");

/// The `Open_vSwitch` schema.
pub fn vswitch() -> Arc<DatabaseSchema> {
    let json = serde_json::from_str(TEXT).expect("the schema is part of the program and valid");
    let schema =
        DatabaseSchema::from_json(&json).expect("the schema is part of the program and valid");
    Arc::new(schema)
}
