//! Which tables and columns of the database the daemon follows: its configuration, and the status
//! columns that it writes, so that only differences are sent.

use std::sync::Arc;

use ovsdb::replica::{Change, Changes, Selection, SelectionError};
use ovsdb::schema::DatabaseSchema;

use crate::bridge::unsupported;

/// The schema that this program was written for.
pub const SCHEMA: &str = include_str!("../../db-server/schema/vswitch.ovsschema");

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the built-in schema is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the built-in schema: {0}")]
    Schema(ovsdb::error::Error),
    #[error("the built-in schema: {0}")]
    Selection(#[from] SelectionError),
}

/// Columns that others write: the configuration. [`unsupported::watched`] adds those that are
/// looked at for settings that are not carried out.
const CONFIGURATION: &[(&str, &[&str])] = &[
    (
        "Open_vSwitch",
        &["bridges", "manager_options", "next_cfg", "other_config"],
    ),
    (
        "Bridge",
        &[
            "name",
            "ports",
            "controller",
            "fail_mode",
            "datapath_type",
            "flow_tables",
            "protocols",
            "other_config",
        ],
    ),
    (
        "Port",
        &[
            "name",
            "interfaces",
            "tag",
            "trunks",
            "vlan_mode",
            "protected",
            "other_config",
        ],
    ),
    (
        "Interface",
        &[
            "name",
            "type",
            "options",
            "ofport_request",
            "mtu_request",
            "mac",
        ],
    ),
    (
        "Flow_Table",
        &[
            "name",
            "flow_limit",
            "overflow_policy",
            "groups",
            "prefixes",
        ],
    ),
    ("Manager", &["target"]),
    (
        "Controller",
        &[
            "target",
            "max_backoff",
            "inactivity_probe",
            "controller_queue_size",
            "controller_rate_limit",
            "controller_burst_limit",
        ],
    ),
];

/// Columns that the daemon writes.
const STATUS: &[(&str, &[&str])] = &[
    (
        "Open_vSwitch",
        &[
            "cur_cfg",
            "ovs_version",
            "db_version",
            "system_type",
            "system_version",
            "datapath_types",
            "iface_types",
            "dpdk_initialized",
        ],
    ),
    ("Bridge", &["datapath_id", "datapath_version", "status"]),
    ("Port", &["status"]),
    (
        "Interface",
        &[
            "ofport",
            "mtu",
            "mac_in_use",
            "error",
            "admin_state",
            "link_state",
            "link_resets",
            "link_speed",
            "duplex",
            "ifindex",
            "status",
            "statistics",
            "lacp_current",
        ],
    ),
    ("Controller", &["is_connected", "role", "status"]),
];

/// Whether a change of the replica may ask for something new. The daemon's own status columns,
/// which come back to it, do not.
pub fn touches_configuration(changes: &Changes) -> bool {
    let configures = |table: &str, column: &str| {
        CONFIGURATION
            .iter()
            .any(|(name, columns)| *name == table && columns.contains(&column))
            || unsupported::watched().any(|watched| watched == (table, column))
    };
    changes.iter().any(|(table, rows)| {
        rows.values().any(|change| match change {
            Change::Inserted | Change::Deleted => true,
            Change::Modified(columns) => columns.iter().any(|column| configures(table, column)),
        })
    })
}

/// The selection, checked against the built-in schema.
pub fn selection() -> Result<Selection, Error> {
    let schema =
        DatabaseSchema::from_json(&serde_json::from_str(SCHEMA)?).map_err(Error::Schema)?;
    let mut selection = Selection::new(Arc::new(schema));
    for (table, columns) in CONFIGURATION.iter().chain(STATUS) {
        selection.columns(table, columns)?;
    }
    for (table, column) in unsupported::watched() {
        selection.column(table, column)?;
    }
    Ok(selection)
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_in_the_schema() {
        super::selection().unwrap();
    }
}
