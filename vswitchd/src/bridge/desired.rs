//! What the database asks for: bridges, ports, interfaces and controllers as plain values.
//!
//! A pure function of the replica. Whatever is asked for and not supported is named by
//! [`unsupported`] in [`Interface::unsupported`], [`Bridge::unsupported`] or
//! [`Desired::problems`], which end up in the database's error and status columns and in the log:
//! nothing is accepted and ignored.
//!
//! Source: ovs-vswitchd.conf.db(5), tables Open_vSwitch, Bridge, Port, Interface, Controller,
//! Flow_Table.

pub mod flow_table;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use daemon::stream::{Method, MethodError, OPENFLOW_PORT};
use ofproto::port::PriorityTags;
use ofproto::table::TableConf;
use openflow::Version;
use ovsdb::replica::{Replica, Row};
use packet::EthAddr;
use uuid::Uuid;

use super::unsupported;

/// Everything asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The one row of Open_vSwitch; without it there is nothing to do.
    pub root: Option<Uuid>,
    pub next_cfg: i64,
    pub flow_restore_wait: bool,
    /// Longest life of an idle megaflow (`other_config:max-idle`).
    pub max_idle: Duration,
    /// How long an OpenFlow bundle is kept that nobody touches
    /// (`other_config:bundle-idle-timeout`).
    pub bundle_idle_timeout: Duration,
    /// Most megaflows (`other_config:flow-limit`).
    pub flow_limit: usize,
    pub stats_interval: Duration,
    pub bridges: BTreeMap<String, Bridge>,
    /// Bridges and interfaces that cannot be, for the log.
    pub problems: Vec<String>,
    /// Interfaces of bridges that cannot be, by row, and why.
    pub stranded: BTreeMap<Uuid, String>,
}

/// What a database without a row of Open_vSwitch asks for.
impl Default for Desired {
    fn default() -> Desired {
        Desired {
            root: None,
            next_cfg: 0,
            flow_restore_wait: false,
            max_idle: Duration::from_secs(10),
            bundle_idle_timeout: Duration::from_secs(10),
            flow_limit: 200_000,
            stats_interval: Duration::from_secs(5),
            bridges: BTreeMap::new(),
            problems: Vec::new(),
            stranded: BTreeMap::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Bridge {
    pub uuid: Uuid,
    pub name: String,
    /// `other_config:datapath-id`.
    pub datapath_id: Option<u64>,
    /// `other_config:hwaddr`.
    pub hwaddr: Option<EthAddr>,
    pub dp_desc: Option<String>,
    /// `other_config:dp-sn`, the serial number told to controllers.
    pub dp_sn: Option<String>,
    /// Whether NORMAL sends on what is for bridges themselves.
    pub forward_bpdu: bool,
    pub secure: bool,
    /// OpenFlow versions that connections may speak.
    pub protocols: BTreeSet<Version>,
    pub mac_aging_time: Duration,
    pub mac_table_size: u32,
    /// Flow tables that are configured.
    pub flow_tables: BTreeMap<u8, TableConf>,
    pub controllers: BTreeMap<Uuid, Controller>,
    pub ports: BTreeMap<String, Port>,
    pub unsupported: Vec<String>,
}

/// One row of Port. All ports have one interface: bonds are not supported.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    pub uuid: Uuid,
    pub name: String,
    pub vlan: VlanMode,
    /// VLANs carried; `None` for all. Meaningless for access ports.
    pub trunks: Option<BTreeSet<u16>>,
    pub protected: bool,
    pub priority_tags: PriorityTags,
    pub interfaces: Vec<Interface>,
    pub unsupported: Vec<String>,
}

/// Source: ovs-vswitchd.conf.db(5), Port, "VLAN Configuration".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VlanMode {
    Access(u16),
    Trunk,
    NativeTagged(u16),
    NativeUntagged(u16),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    pub uuid: Uuid,
    pub name: String,
    pub kind: Kind,
    /// `ofport_request`, else the number that it had before.
    pub ofport_request: Option<u32>,
    pub ofport_before: Option<u32>,
    pub mtu_request: Option<u32>,
    pub mac: Option<EthAddr>,
    /// Why the interface cannot be, for `Interface.error`.
    pub problem: Option<String>,
    /// Settings of it, its port and, for LOCAL, its bridge that are not carried out.
    pub unsupported: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A network device that exists.
    System,
    /// A network device that the datapath makes.
    Internal,
    /// The bridge's own internal interface, OpenFlow port LOCAL.
    Local,
    /// The other end of a pair within the switch.
    Patch { peer: String },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Controller {
    pub uuid: Uuid,
    pub target: String,
    pub method: Result<Method, MethodError>,
    /// `None` turns probes off.
    pub inactivity_probe: Option<Duration>,
    pub max_backoff: Duration,
    pub rate_limit: Option<RateLimit>,
    /// Packet-ins that may wait for the controller to read.
    pub queue_size: usize,
}

/// Packet-ins per second to one controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub per_second: u32,
    pub burst: u32,
}

/// The names of the default interface types; their rows in the documentation are the same.
pub const IFACE_TYPES: [&str; 3] = ["internal", "patch", "system"];
/// What `Bridge.datapath_type` may be; all mean the one datapath there is.
pub const DATAPATH_TYPES: [&str; 2] = ["netdev", "system"];

/// Port and bridge names longer than this cannot be network devices.
pub const MAX_NAME: usize = 15;

/// Reads the whole configuration.
pub fn desired(replica: &Replica) -> Desired {
    let Some(root) = replica.rows("Open_vSwitch").next() else {
        return Desired::default();
    };
    let mut desired = Desired {
        root: Some(root.uuid()),
        next_cfg: root.integer("next_cfg").unwrap_or(0),
        flow_restore_wait: root.get("other_config", "flow-restore-wait") == Some("true"),
        max_idle: Duration::from_millis(number(&root, "other_config", "max-idle", 10_000).max(500)),
        bundle_idle_timeout: Duration::from_secs(
            number(&root, "other_config", "bundle-idle-timeout", 10).clamp(1, u32::MAX.into()),
        ),
        flow_limit: usize::try_from(number(&root, "other_config", "flow-limit", 200_000))
            .unwrap_or(usize::MAX),
        stats_interval: Duration::from_millis(
            number(&root, "other_config", "stats-update-interval", 5_000).max(5_000),
        ),
        bridges: BTreeMap::new(),
        problems: Vec::new(),
        stranded: BTreeMap::new(),
    };
    desired.problems.extend(unsupported::of(&root));
    for row in root.references("manager_options") {
        desired.problems.extend(unsupported::of(&row));
    }
    let mut taken = Taken::new();
    // By name: of two bridges that list one port the same one always gets it, whatever the rows'
    // random identifiers are.
    let bridges: BTreeMap<&str, Row<'_>> = root
        .references("bridges")
        .filter_map(|row| Some((row.string("name")?, row)))
        .collect();
    for (name, row) in bridges {
        match bridge_problem(&row, name) {
            Some(problem) => {
                desired.problems.push(format!("bridge {name}: {problem}"));
                for port in row.references("ports") {
                    for interface in port.references("interfaces") {
                        desired.stranded.insert(interface.uuid(), problem.clone());
                    }
                }
            }
            None => {
                let bridge = bridge(&row, name, &mut taken, &mut desired.problems);
                desired.bridges.insert(name.to_owned(), bridge);
            }
        }
    }
    check_patches(&mut desired);
    desired
}

/// Which bridge has an interface, by the interface's name.
type Taken = BTreeMap<String, String>;

/// Why a bridge cannot be at all.
fn bridge_problem(row: &Row<'_>, name: &str) -> Option<String> {
    let datapath_type = row.string("datapath_type").unwrap_or("");
    if let Some(problem) = device_name_problem(name) {
        return Some(problem);
    }
    if !datapath_type.is_empty() && !DATAPATH_TYPES.contains(&datapath_type) {
        return Some(format!(
            "datapath type \"{datapath_type}\" is not supported (\"system\" and \"netdev\" are)"
        ));
    }
    None
}

fn bridge(row: &Row<'_>, name: &str, taken: &mut Taken, problems: &mut Vec<String>) -> Bridge {
    let mut unsupported = unsupported::of(row);
    let protocols = protocols(row);
    let datapath_id = row.get("other_config", "datapath-id").and_then(|text| {
        let id = parse_datapath_id(text);
        if id.is_none() {
            unsupported.push(format!(
                "other_config:datapath-id \"{text}\" of Bridge {name} is not 16 hex digits"
            ));
        }
        id
    });
    let hwaddr = row.get("other_config", "hwaddr").and_then(|text| {
        let mac = parse_mac(text).filter(|mac| !mac.is_multicast() && !mac.is_zero());
        if mac.is_none() {
            unsupported.push(format!(
                "other_config:hwaddr \"{text}\" of Bridge {name} is not a unicast address"
            ));
        }
        mac
    });
    for controller in row.references("controller") {
        unsupported.extend(unsupported::of(&controller));
        let target = controller.string("target").unwrap_or_default();
        if let Err(error) = Method::parse(target, OPENFLOW_PORT) {
            unsupported.push(format!("controller {error}"));
        }
    }
    let flow_tables = flow_table::flow_tables(row, &mut unsupported);
    let controllers = row
        .references("controller")
        .map(|controller_row| (controller_row.uuid(), controller(&controller_row, row)))
        .collect();
    let mut bridge = Bridge {
        uuid: row.uuid(),
        name: name.to_owned(),
        datapath_id,
        hwaddr,
        dp_desc: row.get("other_config", "dp-desc").map(str::to_owned),
        dp_sn: row.get("other_config", "dp-sn").map(str::to_owned),
        forward_bpdu: row.get("other_config", "forward-bpdu") == Some("true"),
        secure: row.string("fail_mode") == Some("secure"),
        protocols,
        mac_aging_time: Duration::from_secs(
            number(row, "other_config", "mac-aging-time", 300).max(1),
        ),
        mac_table_size: u32::try_from(number(row, "other_config", "mac-table-size", 8192))
            .unwrap_or(u32::MAX)
            .clamp(10, 1_000_000),
        flow_tables,
        controllers,
        ports: BTreeMap::new(),
        unsupported,
    };
    for row in row.references("ports") {
        if let Some(port_name) = row.string("name") {
            let port = port(&row, port_name, name, taken, problems);
            bridge.ports.insert(port_name.to_owned(), port);
        }
    }
    let interfaces = bridge.ports.values_mut().flat_map(|p| &mut p.interfaces);
    let mut local = interfaces.filter(|interface| interface.kind == Kind::Local);
    match local.next() {
        // What the bridge is not is told where bridges have errors: at its own interface.
        Some(local) => local.unsupported.extend(bridge.unsupported.iter().cloned()),
        None => {
            problems.extend(bridge.unsupported.iter().cloned());
            match taken.get(name) {
                Some(other) => problems.push(format!(
                    "bridge {name} has no local port: bridge {other} has a port of that name"
                )),
                None => {
                    taken.insert(name.to_owned(), name.to_owned());
                    bridge.ports.insert(name.to_owned(), local_port(name));
                }
            }
        }
    }
    check_numbers(&mut bridge);
    for interface in bridge.ports.values().flat_map(|port| &port.interfaces) {
        if let Some(problem) = &interface.problem {
            problems.push(format!("interface {}: {problem}", interface.name));
        }
        problems.extend(interface.unsupported.iter().cloned());
    }
    bridge
}

/// Of several interfaces that ask for one number, the first by name gets it; the others get
/// another number, and are told.
fn check_numbers(bridge: &mut Bridge) {
    let mut numbers: BTreeMap<u32, String> = BTreeMap::new();
    for interface in bridge.ports.values_mut().flat_map(|p| &mut p.interfaces) {
        if let Some(number) = interface.ofport_request
            && interface.problem.is_none()
            && interface.kind != Kind::Local
        {
            let first = numbers.entry(number).or_insert(interface.name.clone());
            if *first != interface.name {
                interface.unsupported.push(format!(
                    "ofport_request={number} of Interface {} goes to {first}, another number is \
                     picked",
                    interface.name
                ));
            }
        }
    }
}

/// The local port of a bridge without rows for it. The nil UUID stands for no row.
fn local_port(bridge: &str) -> Port {
    Port {
        uuid: Uuid::nil(),
        name: bridge.to_owned(),
        vlan: VlanMode::Trunk,
        trunks: None,
        protected: false,
        priority_tags: PriorityTags::Never,
        interfaces: vec![Interface {
            uuid: Uuid::nil(),
            name: bridge.to_owned(),
            kind: Kind::Local,
            ofport_request: None,
            ofport_before: None,
            mtu_request: None,
            mac: None,
            problem: None,
            unsupported: Vec::new(),
        }],
        unsupported: Vec::new(),
    }
}

/// The versions asked for that there are, or all.
fn protocols(row: &Row<'_>) -> BTreeSet<Version> {
    let mut protocols = BTreeSet::new();
    let mut asked = false;
    for text in row.strings("protocols") {
        asked = true;
        protocols.extend(Version::from_name(text));
    }
    if asked {
        protocols
    } else {
        Version::ALL.iter().copied().collect()
    }
}

fn port(
    row: &Row<'_>,
    name: &str,
    bridge: &str,
    taken: &mut Taken,
    problems: &mut Vec<String>,
) -> Port {
    let mut unsupported = unsupported::of(row);
    let rows: Vec<Row<'_>> = row.references("interfaces").collect();
    let bond = rows.len() > 1;
    let priority_tags = match row.get("other_config", "priority-tags") {
        None | Some("never" | "no" | "false") => PriorityTags::Never,
        Some("if-nonzero" | "yes" | "true") => PriorityTags::IfNonzero,
        Some("always") => PriorityTags::Always,
        Some(other) => {
            unsupported.push(format!(
                "other_config:priority-tags={other} of Port {name} is not supported (it can be \
                 never, if-nonzero or always)"
            ));
            PriorityTags::Never
        }
    };
    let tag = row.integer("tag").and_then(|tag| u16::try_from(tag).ok());
    let trunks: BTreeSet<u16> = row
        .integers("trunks")
        .filter_map(|vlan| u16::try_from(vlan).ok())
        .filter(|vlan| *vlan < 4096)
        .collect();
    let native = tag.unwrap_or(0);
    let vlan = match row.string("vlan_mode") {
        Some("access") => VlanMode::Access(native),
        Some("trunk") => VlanMode::Trunk,
        Some("native-untagged") => VlanMode::NativeUntagged(native),
        Some("native-tagged") => VlanMode::NativeTagged(native),
        // No value but dot1q-tunnel is left, which takes the port out.
        Some(_) | None => match tag {
            Some(tag) => VlanMode::Access(tag),
            None => VlanMode::Trunk,
        },
    };
    let dot1q_tunnel = row.string("vlan_mode") == Some("dot1q-tunnel");
    let interfaces = rows
        .iter()
        .filter(|row| {
            let interface = row.string("name").unwrap_or_default();
            match taken.get(interface) {
                // The row tells of the place that it has; the log tells of this one.
                Some(other) => {
                    problems.push(format!(
                        "bridge {bridge}: interface {interface} is already in bridge {other}"
                    ));
                    false
                }
                None => {
                    taken.insert(interface.to_owned(), bridge.to_owned());
                    true
                }
            }
        })
        .map(|row| {
            let mut interface = interface(row, bridge);
            if bond {
                interface.problem = Some(format!(
                    "port {name} has {} interfaces: bonds are not supported (give each interface a \
                     port of its own)",
                    rows.len()
                ));
            } else if dot1q_tunnel {
                // Carrying customers' tags wrongly would mix networks.
                interface.problem = Some(format!(
                    "vlan_mode=dot1q-tunnel of Port {name} is not supported (the port stays out \
                     of the bridge)"
                ));
            }
            interface.unsupported.extend(unsupported.iter().cloned());
            interface
        })
        .collect::<Vec<_>>();
    if rows.is_empty() {
        problems.push(format!("port {name} has no interfaces"));
    }
    let trunks = match vlan {
        VlanMode::NativeTagged(native) | VlanMode::NativeUntagged(native) => {
            (!trunks.is_empty()).then(|| trunks.into_iter().chain([native]).collect())
        }
        VlanMode::Trunk => (!trunks.is_empty()).then_some(trunks),
        VlanMode::Access(_) => None,
    };
    Port {
        uuid: row.uuid(),
        name: name.to_owned(),
        vlan,
        trunks,
        protected: row.boolean("protected"),
        priority_tags,
        interfaces,
        unsupported,
    }
}

fn interface(row: &Row<'_>, bridge: &str) -> Interface {
    let name = row.string("name").unwrap_or_default();
    let mut problem = None;
    let mut unsupported = unsupported::of(row);
    let mac = row.string("mac").and_then(|text| {
        let mac = parse_mac(text).filter(|mac| !mac.is_multicast() && !mac.is_zero());
        if mac.is_none() {
            unsupported.push(format!(
                "mac=\"{text}\" of Interface {name} is not a unicast address"
            ));
        }
        mac
    });
    let kind = match row.string("type").unwrap_or("") {
        _ if name == bridge => Kind::Local,
        "" | "system" => Kind::System,
        "internal" => Kind::Internal,
        "patch" => match row.get("options", "peer") {
            Some(peer) if peer == name => {
                problem = Some(format!("patch port {name} names itself as its peer"));
                Kind::Patch {
                    peer: peer.to_owned(),
                }
            }
            Some(peer) => Kind::Patch {
                peer: peer.to_owned(),
            },
            None => {
                problem = Some("patch port needs options:peer".to_owned());
                Kind::Patch {
                    peer: String::new(),
                }
            }
        },
        other => {
            problem = Some(format!(
                "could not open network device {name} (interface type \"{other}\" is not \
                 supported)"
            ));
            Kind::System
        }
    };
    if problem.is_none() && !matches!(kind, Kind::Patch { .. }) {
        problem = device_name_problem(name);
    }
    let mut unsupported = unsupported::of(row);
    if let (Some(mac), Kind::System | Kind::Patch { .. }) = (row.string("mac"), &kind) {
        unsupported.push(format!(
            "mac={mac} of Interface {name} is not supported (set it on the device)"
        ));
    }
    let ofport = |column: &str| {
        row.integer(column)
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| (1..0xff00).contains(n))
    };
    Interface {
        uuid: row.uuid(),
        name: name.to_owned(),
        kind,
        ofport_request: ofport("ofport_request"),
        ofport_before: ofport("ofport"),
        mtu_request: row
            .integer("mtu_request")
            .and_then(|mtu| u32::try_from(mtu).ok()),
        mac,
        problem,
        unsupported,
    }
}

fn device_name_problem(name: &str) -> Option<String> {
    let reason = if name.is_empty()
        || matches!(name, "." | "..")
        || name
            .contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%'))
    {
        "not a name that a network device can have"
    } else if name.len() > MAX_NAME {
        "the name is longer than 15 bytes"
    } else {
        return None;
    };
    Some(format!("could not open network device {name} ({reason})"))
}

/// A patch port whose peer is missing or points elsewhere stays a port that leads nowhere, as in
/// Open vSwitch: the peer may come later. Only what can never work is a problem.
fn check_patches(desired: &mut Desired) {
    let kinds: BTreeMap<String, Kind> = desired
        .bridges
        .values()
        .flat_map(|bridge| bridge.ports.values())
        .flat_map(|port| &port.interfaces)
        .map(|interface| (interface.name.clone(), interface.kind.clone()))
        .collect();
    let interfaces = desired
        .bridges
        .values_mut()
        .flat_map(|bridge| bridge.ports.values_mut())
        .flat_map(|port| &mut port.interfaces);
    for interface in interfaces {
        if let Kind::Patch { peer } = &interface.kind
            && interface.problem.is_none()
            && let Some(other) = kinds.get(peer)
            && !matches!(other, Kind::Patch { .. })
        {
            interface.problem = Some(format!("peer {peer} is not a patch port"));
        }
    }
}

/// Packet-ins that wait for a controller when the database does not say how many may.
pub const QUEUE_SIZE: u64 = 100;
/// The most that the database can ask for.
const MAX_QUEUE_SIZE: u64 = 512;

/// The row's own setting, else the bridge's.
fn queue_size(controller: &Row<'_>, bridge: &Row<'_>) -> usize {
    let own = controller.integer("controller_queue_size");
    let size = own
        .and_then(|n| u64::try_from(n).ok())
        .unwrap_or_else(|| number(bridge, "other_config", "controller-queue-size", QUEUE_SIZE));
    usize::try_from(size.clamp(1, MAX_QUEUE_SIZE)).unwrap_or(1)
}

fn controller(row: &Row<'_>, bridge: &Row<'_>) -> Controller {
    let target = row.string("target").unwrap_or_default().to_owned();
    let milliseconds = |column: &str, default: u64| match row.integer(column) {
        Some(n) => Duration::from_millis(u64::try_from(n).unwrap_or(0)),
        None => Duration::from_millis(default),
    };
    let limit = |column: &str| {
        row.integer(column)
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n > 0)
    };
    let probe = milliseconds("inactivity_probe", 5_000);
    Controller {
        uuid: row.uuid(),
        method: Method::parse(&target, OPENFLOW_PORT),
        target,
        inactivity_probe: (!probe.is_zero()).then_some(probe),
        max_backoff: milliseconds("max_backoff", 8_000).max(Duration::from_secs(1)),
        queue_size: queue_size(row, bridge),
        rate_limit: limit("controller_rate_limit").map(|per_second| RateLimit {
            per_second,
            burst: limit("controller_burst_limit")
                .unwrap_or(per_second / 4)
                .max(1),
        }),
    }
}

fn number(row: &Row<'_>, column: &str, key: &str, default: u64) -> u64 {
    row.get(column, key)
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(default)
}

/// 16 hexadecimal digits, or `0x` and up to 16; never 0.
pub fn parse_datapath_id(text: &str) -> Option<u64> {
    let digits = match text.strip_prefix("0x") {
        Some(digits) if (1..=16).contains(&digits.len()) => digits,
        None if text.len() == 16 => text,
        _ => return None,
    };
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok().filter(|id| *id != 0)
}

/// `xx:xx:xx:xx:xx:xx`.
pub fn parse_mac(text: &str) -> Option<EthAddr> {
    let mut bytes = [0u8; 6];
    let mut parts = text.trim().split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| (1..=2).contains(&part.len()))?;
        if !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(EthAddr(bytes))
}

#[cfg(test)]
mod tests;
