//! What the switch tells the database: numbers, states, errors and statistics, and last of all
//! `cur_cfg`.
//!
//! [`write`] fills one transaction. Only columns that differ from the replica are sent.
//!
//! Source: ovs-vswitchd.conf.db(5), the "Status" sections of each table.

use std::collections::BTreeMap;

use ovsdb::replica::Transaction;
use ovsdb::value::Datum;
use packet::EthAddr;
use uuid::Uuid;

use super::desired::{DATAPATH_TYPES, Desired, IFACE_TYPES, Interface, Kind};
use super::plan::{Actual, ActualPort};
use super::port_conf::stable_mac;
use crate::netdev::{Details, Link, LinkStats, Links};

/// What the connection to one controller is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControllerStatus {
    pub is_connected: bool,
    /// `master`, `slave` or `other`.
    pub role: Option<&'static str>,
    /// `state`, `sec_since_connect`, `sec_since_disconnect`, `last_error`, `current_version`, and
    /// with a rate limit `packet-in-*`.
    pub status: BTreeMap<String, String>,
}

/// Counters of ports that are no network devices.
pub type PatchStats = BTreeMap<Uuid, LinkStats>;

/// Everything that the columns are made from.
pub struct Facts<'a> {
    pub desired: &'a Desired,
    pub actual: &'a Actual,
    /// Why an interface could not be added, by row.
    pub failures: &'a BTreeMap<Uuid, String>,
    pub links: &'a Links,
    pub datapath_ids: &'a BTreeMap<String, u64>,
    pub controllers: &'a BTreeMap<Uuid, ControllerStatus>,
    pub patch_stats: &'a PatchStats,
    /// Whether to write the statistics columns, which change all the time.
    pub with_statistics: bool,
    /// The `next_cfg` that has been carried out whole.
    pub cur_cfg: Option<i64>,
}

/// Writes all status columns that differ.
pub fn write(txn: &mut Transaction<'_>, facts: &Facts<'_>) {
    let Some(root) = facts.desired.root else {
        return;
    };
    write_root(txn, root, facts);
    for (uuid, problem) in &facts.desired.stranded {
        txn.refresh("Interface", *uuid, "ofport", Datum::integer(-1));
        txn.refresh("Interface", *uuid, "error", Datum::string(problem));
    }
    for (name, bridge) in &facts.desired.bridges {
        if let Some(id) = facts.datapath_ids.get(name) {
            let text = format!("{id:016x}");
            txn.refresh("Bridge", bridge.uuid, "datapath_id", Datum::string(&text));
        }
        txn.refresh(
            "Bridge",
            bridge.uuid,
            "datapath_version",
            Datum::string(daemon::version::VERSION),
        );
        txn.refresh(
            "Bridge",
            bridge.uuid,
            "status",
            unsupported(&bridge.unsupported),
        );
        for uuid in bridge.controllers.keys() {
            write_controller(txn, *uuid, facts.controllers.get(uuid));
        }
        for port in bridge.ports.values() {
            if !port.uuid.is_nil() {
                txn.refresh("Port", port.uuid, "status", unsupported(&port.unsupported));
            }
            for interface in port.interfaces.iter().filter(|i| !i.uuid.is_nil()) {
                let actual = facts
                    .actual
                    .bridges
                    .get(name)
                    .and_then(|bridge| bridge.ports.get(&interface.name));
                write_interface(txn, interface, actual, facts);
            }
        }
    }
}

fn write_root(txn: &mut Transaction<'_>, root: Uuid, facts: &Facts<'_>) {
    let mut refresh = |column: &str, value| txn.refresh("Open_vSwitch", root, column, value);
    refresh(
        "datapath_types",
        Datum::set(DATAPATH_TYPES.map(str::to_owned)),
    );
    refresh("iface_types", Datum::set(IFACE_TYPES.map(str::to_owned)));
    refresh("dpdk_initialized", Datum::boolean(false));
    if let Some(cur_cfg) = facts.cur_cfg {
        refresh("cur_cfg", Datum::integer(cur_cfg));
    }
    // What a start script has written stands.
    let (system_type, system_version) = system();
    let unset = [
        ("ovs_version", daemon::version::OVS_VERSION.to_owned()),
        ("db_version", txn.replica().schema().version.clone()),
        ("system_type", system_type),
        ("system_version", system_version),
    ];
    for (column, value) in unset {
        if txn.read("Open_vSwitch", root, column).is_empty() {
            txn.write("Open_vSwitch", root, column, Datum::string(&value));
        }
    }
}

/// Name and version of the operating system.
fn system() -> (String, String) {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
            .filter(|value| !value.is_empty())
            .unwrap_or_else(|| "unknown".to_owned())
    };
    (field("ID"), field("VERSION_ID"))
}

/// `{unsupported="..."}`, or nothing.
fn unsupported(texts: &[String]) -> Datum {
    if texts.is_empty() {
        Datum::empty()
    } else {
        Datum::map([("unsupported".to_owned(), texts.join("; "))])
    }
}

fn write_controller(txn: &mut Transaction<'_>, uuid: Uuid, status: Option<&ControllerStatus>) {
    let none = ControllerStatus::default();
    let status = status.unwrap_or(&none);
    txn.refresh(
        "Controller",
        uuid,
        "is_connected",
        Datum::boolean(status.is_connected),
    );
    txn.refresh(
        "Controller",
        uuid,
        "role",
        Datum::optional(status.role.map(str::to_owned)),
    );
    txn.refresh(
        "Controller",
        uuid,
        "status",
        Datum::map(status.status.clone()),
    );
}

fn write_interface(
    txn: &mut Transaction<'_>,
    interface: &Interface,
    actual: Option<&ActualPort>,
    facts: &Facts<'_>,
) {
    let uuid = interface.uuid;
    let problem = interface
        .problem
        .as_ref()
        .or_else(|| facts.failures.get(&uuid));
    let link = match interface.kind {
        Kind::Patch { .. } => None,
        _ => facts.links.get(&interface.name),
    };
    let mut refresh = |column: &str, value| txn.refresh("Interface", uuid, column, value);
    let ofport = match actual {
        Some(port) => Some(ofport_number(port)),
        None if problem.is_some() => Some(-1),
        None => None,
    };
    refresh("ofport", Datum::optional(ofport));
    let errors = problem.into_iter().chain(&interface.unsupported);
    let errors: Vec<&str> = errors.map(String::as_str).collect();
    let error = (!errors.is_empty()).then(|| errors.join("; "));
    refresh("error", Datum::optional(error));
    refresh("lacp_current", Datum::empty());
    let state = match (actual, link) {
        (Some(_), Some(link)) => State::of(link, facts.links.details(&link.name)),
        (Some(_), None) if matches!(interface.kind, Kind::Patch { .. }) => {
            State::patch(interface.uuid)
        }
        _ => State::default(),
    };
    let text = |value: Option<&str>| Datum::optional(value.map(str::to_owned));
    let up = |up: bool| if up { "up" } else { "down" };
    refresh("admin_state", text(state.admin_up.map(up)));
    refresh("link_state", text(state.carrier.map(up)));
    refresh("link_resets", Datum::optional(state.resets));
    refresh("link_speed", Datum::optional(state.speed));
    refresh(
        "duplex",
        text(
            state
                .full_duplex
                .map(|full| if full { "full" } else { "half" }),
        ),
    );
    refresh("mtu", Datum::optional(state.mtu));
    refresh(
        "mac_in_use",
        Datum::optional(state.mac.map(|mac| mac.to_string())),
    );
    refresh("ifindex", Datum::optional(state.ifindex));
    refresh("status", state.status);
    if facts.with_statistics {
        let stats = match interface.kind {
            Kind::Patch { .. } => facts.patch_stats.get(&uuid).copied(),
            // A frame that the host sends is one that the switch receives.
            Kind::Internal | Kind::Local => link.map(|link| link.stats.turned_around()),
            Kind::System => link.map(|link| link.stats),
        };
        let datum = match (actual, stats) {
            (Some(_), Some(stats)) => statistics(&stats, &interface.kind),
            _ => Datum::empty(),
        };
        refresh("statistics", datum);
    }
}

/// As the column has it: LOCAL is 65534 there.
fn ofport_number(port: &ActualPort) -> i64 {
    match port.ofport.to_u16() {
        Some(number) => i64::from(number),
        None => i64::from(port.ofport.0),
    }
}

#[derive(Default)]
struct State {
    admin_up: Option<bool>,
    carrier: Option<bool>,
    resets: Option<i64>,
    speed: Option<i64>,
    full_duplex: Option<bool>,
    mtu: Option<i64>,
    mac: Option<EthAddr>,
    ifindex: Option<i64>,
    status: Datum,
}

impl State {
    fn of(link: &Link, details: Details) -> State {
        let Details { speed, driver } = details;
        let status = [
            ("driver_name", driver.name),
            ("driver_version", driver.version),
            ("firmware_version", driver.firmware),
        ];
        State {
            admin_up: Some(link.admin_up),
            carrier: Some(link.carrier),
            resets: Some(i64::from(link.carrier_changes)),
            speed: speed
                .bits_per_second
                .and_then(|bits| i64::try_from(bits).ok()),
            full_duplex: speed.full_duplex,
            mtu: Some(i64::from(link.mtu)),
            mac: Some(link.mac),
            ifindex: Some(i64::from(link.ifindex.0)),
            status: Datum::map(status.map(|(key, value)| (key.to_owned(), value))),
        }
    }

    fn patch(uuid: Uuid) -> State {
        State {
            admin_up: Some(true),
            carrier: Some(true),
            resets: Some(0),
            ifindex: Some(0),
            mac: Some(stable_mac(uuid)),
            status: Datum::empty(),
            ..State::default()
        }
    }
}

impl LinkStats {
    /// Receiving and sending exchanged.
    pub fn turned_around(self) -> LinkStats {
        LinkStats {
            rx_packets: self.tx_packets,
            tx_packets: self.rx_packets,
            rx_bytes: self.tx_bytes,
            tx_bytes: self.rx_bytes,
            rx_errors: self.tx_errors,
            tx_errors: self.rx_errors,
            rx_dropped: self.tx_dropped,
            tx_dropped: self.rx_dropped,
            ..LinkStats::default()
        }
    }
}

fn statistics(stats: &LinkStats, kind: &Kind) -> Datum {
    let mut entries = vec![
        ("rx_packets", stats.rx_packets),
        ("tx_packets", stats.tx_packets),
        ("rx_bytes", stats.rx_bytes),
        ("tx_bytes", stats.tx_bytes),
    ];
    if !matches!(kind, Kind::Patch { .. }) {
        entries.extend([
            ("rx_errors", stats.rx_errors),
            ("tx_errors", stats.tx_errors),
            ("rx_dropped", stats.rx_dropped),
            ("tx_dropped", stats.tx_dropped),
            ("collisions", stats.collisions),
            ("rx_over_err", stats.rx_over_errors),
            ("rx_crc_err", stats.rx_crc_errors),
            ("rx_frame_err", stats.rx_frame_errors),
            ("rx_missed_errors", stats.rx_missed_errors),
        ]);
    }
    Datum::map(
        entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), i64::try_from(value).unwrap_or(i64::MAX))),
    )
}
