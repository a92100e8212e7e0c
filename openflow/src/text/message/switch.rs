//! Hello, errors, features, configuration, description and tables.

use std::fmt::Write;

use super::{Style, port, write_hex_dump};
use crate::message::{
    Capabilities, Desc, ErrorMessage, FragHandling, Hello, SwitchConfig, SwitchFeatures, TABLE_ALL,
    TableFeatures, TableMod, TableStats,
};
use crate::text::message_bytes;
use crate::text::ports::Names;
use crate::version::Version;

/// Names of the actions in a features reply of 1.0, by bit, in the order they are printed.
const ACTIONS: [(u32, &str); 12] = [
    (0, "output"),
    (11, "enqueue"),
    (1, "set_vlan_vid"),
    (2, "set_vlan_pcp"),
    (3, "strip_vlan"),
    (4, "mod_dl_src"),
    (5, "mod_dl_dst"),
    (6, "mod_nw_src"),
    (7, "mod_nw_dst"),
    (8, "mod_nw_tos"),
    (9, "mod_tp_src"),
    (10, "mod_tp_dst"),
];

const CAPABILITIES: [(Capabilities, &str); 9] = [
    (Capabilities::FLOW_STATS, "FLOW_STATS"),
    (Capabilities::TABLE_STATS, "TABLE_STATS"),
    (Capabilities::PORT_STATS, "PORT_STATS"),
    (Capabilities::STP, "STP"),
    (Capabilities::GROUP_STATS, "GROUP_STATS"),
    (Capabilities::IP_REASM, "IP_REASM"),
    (Capabilities::QUEUE_STATS, "QUEUE_STATS"),
    (Capabilities::ARP_MATCH_IP, "ARP_MATCH_IP"),
    (Capabilities::PORT_BLOCKED, "PORT_BLOCKED"),
];

/// The wildcard bits of OpenFlow 1.0 and what they stand for.
const WILDCARDS_ALL: u32 = 0x3f_ffff;
const WILDCARDS: [(u32, &str); 12] = [
    (1 << 0, "in_port"),
    (1 << 2, "eth_src"),
    (1 << 3, "eth_dst"),
    (1 << 4, "eth_type"),
    (1 << 1, "vlan_vid"),
    (1 << 20, "vlan_pcp"),
    (0x3f << 8, "ip_src"),
    (0x3f << 14, "ip_dst"),
    (1 << 5, "nw_proto"),
    (1 << 21, "nw_tos"),
    (1 << 6, "tcp_src"),
    (1 << 7, "tcp_dst"),
];

pub fn write_hello(out: &mut String, hello: &Hello) {
    out.push_str("\n version bitmap: ");
    let versions: Vec<String> = (0..32)
        .filter(|n| hello.versions.0 & (1 << n) != 0)
        .map(|n| format!("0x{n:02x}"))
        .collect();
    out.push_str(&versions.join(", "));
}

pub fn write_error(out: &mut String, error: &ErrorMessage, style: Style<'_>) {
    match error {
        ErrorMessage::Known { error, data } => {
            let _ = writeln!(out, " {error}");
            if error.name().starts_with("OFPHFC_") {
                out.push_str(&String::from_utf8_lossy(data));
            } else {
                out.push_str(&message_bytes::print(data, style.names, 1));
            }
        }
        ErrorMessage::Unknown {
            kind,
            code,
            experimenter,
            data,
        } => {
            let _ = write!(out, " ***unknown error: type {kind}, code {code}");
            if let Some(id) = experimenter {
                let _ = write!(out, ", experimenter 0x{id:08x}");
            }
            out.push_str("***\n");
            write_hex_dump(out, data, true);
        }
    }
}

pub fn write_features(out: &mut String, features: &SwitchFeatures, style: Style<'_>) {
    let _ = writeln!(out, " dpid:{:016x}", features.datapath_id);
    let _ = write!(
        out,
        "n_tables:{}, n_buffers:{}",
        features.n_tables, features.n_buffers
    );
    if features.auxiliary_id != 0 {
        let _ = write!(out, ", auxiliary_id:{}", features.auxiliary_id);
    }
    out.push_str("\ncapabilities:");
    let mut any = false;
    for (bit, name) in CAPABILITIES {
        if features.capabilities.contains(bit) {
            out.push(' ');
            out.push_str(name);
            any = true;
        }
    }
    out.push_str(if any { "\n" } else { " 0\n" });
    if style.version == Version::Of10 {
        out.push_str("actions:");
        for (bit, name) in ACTIONS {
            if features.actions & (1 << bit) != 0 {
                out.push(' ');
                out.push_str(name);
            }
        }
        out.push('\n');
    }
    port::write_ports(out, &features.ports, style.names);
}

/// The word for a fragment mode, as `set-frags` takes it.
pub fn frag_name(frag: FragHandling) -> &'static str {
    match frag {
        FragHandling::Normal => "normal",
        FragHandling::Drop => "drop",
        FragHandling::Reassemble => "reassemble",
        FragHandling::NxMatch => "nx-match",
    }
}

pub fn write_config(out: &mut String, config: &SwitchConfig) {
    let _ = write!(out, " frags={}", frag_name(config.frag));
    if config.invalid_ttl_to_controller {
        out.push_str(" invalid_ttl_to_controller");
    }
    let _ = write!(out, " miss_send_len={}", config.miss_send_len);
}

pub fn write_desc(out: &mut String, desc: &Desc) {
    out.push('\n');
    for (name, text) in [
        ("Manufacturer", &desc.mfr_desc),
        ("Hardware", &desc.hw_desc),
        ("Software", &desc.sw_desc),
        ("Serial Num", &desc.serial_num),
        ("DP Description", &desc.dp_desc),
    ] {
        let _ = writeln!(out, "{name}: {text}");
    }
}

pub fn write_table_mod(out: &mut String, table_mod: &TableMod, names: &Names) {
    if table_mod.table_id == TABLE_ALL {
        out.push_str(" table_id: ALL_TABLES");
    } else {
        out.push_str(" table_id=");
        names.write_table(out, table_mod.table_id);
    }
}

/// What tells tables apart: number, name and size.
pub fn write_table_features(out: &mut String, tables: &[TableFeatures]) {
    for table in tables {
        let _ = write!(out, "\n  table {}", table.table_id);
        if !table.name.is_empty() {
            let _ = write!(out, " (\"{}\")", table.name);
        }
        let _ = write!(
            out,
            ":\n    metadata: match={:#x} write={:#x}\n    max_entries={}",
            table.metadata_match, table.metadata_write, table.max_entries
        );
    }
}

/// Tables in blocks; tables that differ from the one before in nothing but their number are
/// counted together, unless they have names.
pub fn write_tables(out: &mut String, tables: &[TableStats], style: Style<'_>) {
    out.push('\n');
    let mut rest = tables;
    let mut previous: Option<&TableStats> = None;
    let mut blank_line = false;
    while let Some((table, tail)) = rest.split_first() {
        if blank_line {
            out.push('\n');
        }
        rest = tail;
        blank_line = true;
        if !previous.is_some_and(|p| same(p, table)) {
            write_table(out, table, previous, style);
            previous = Some(table);
            continue;
        }
        let n = table.table_id;
        if !table.name.is_empty() {
            let _ = writeln!(out, "  table {n} (\"{}\"): ditto", table.name);
            blank_line = false;
            continue;
        }
        let alike = |t: &&TableStats| same(table, t) && t.name.is_empty();
        let more = tail.iter().take_while(alike).count();
        let _ = match tail.get(..more).and_then(<[TableStats]>::last) {
            Some(last) => writeln!(out, "  tables {n}...{}: ditto", last.table_id),
            None => writeln!(out, "  table {n}: ditto"),
        };
        rest = tail.get(more..).unwrap_or(&[]);
    }
}

/// Everything but number and name.
fn same(a: &TableStats, b: &TableStats) -> bool {
    same_stats(a, b) && same_kind(a, b)
}

fn same_stats(a: &TableStats, b: &TableStats) -> bool {
    (a.active_count, a.lookup_count, a.matched_count)
        == (b.active_count, b.lookup_count, b.matched_count)
}

fn same_kind(a: &TableStats, b: &TableStats) -> bool {
    (a.wildcards, a.max_entries) == (b.wildcards, b.max_entries)
}

fn write_table(
    out: &mut String,
    table: &TableStats,
    previous: Option<&TableStats>,
    style: Style<'_>,
) {
    let _ = write!(out, "  table {}", table.table_id);
    if !table.name.is_empty() {
        let _ = write!(out, " (\"{}\")", table.name);
    }
    let _ = writeln!(
        out,
        ":\n    active={}, lookup={}, matched={}",
        table.active_count, table.lookup_count, table.matched_count
    );
    if style.version != Version::Of10 {
        return;
    }
    if previous.is_some_and(|p| same_kind(p, table)) {
        out.push_str("    (same features)\n");
        return;
    }
    let _ = writeln!(out, "    max_entries={}", table.max_entries);
    out.push_str("    matching:\n");
    if table.wildcards & WILDCARDS_ALL == WILDCARDS_ALL {
        out.push_str(
            "      exact match or wildcard: in_port eth_{src,dst,type} vlan_{vid,pcp} \
             ip_{src,dst} nw_{proto,tos} tcp_{src,dst}\n",
        );
        return;
    }
    for (title, wild) in [
        ("exact match or wildcard", true),
        ("must exact match", false),
    ] {
        let fields: Vec<&str> = WILDCARDS
            .iter()
            .filter(|(bits, _)| (table.wildcards & bits != 0) == wild)
            .map(|(_, name)| *name)
            .collect();
        if !fields.is_empty() {
            let _ = writeln!(out, "      {title}: {}", fields.join(" "));
        }
    }
}
