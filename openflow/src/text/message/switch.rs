//! Hello, errors, features, configuration, description and table-mods.

use std::fmt::Write;

use super::{Style, port, write_hex_dump};
use crate::message::{
    Capabilities, Desc, ErrorMessage, FragHandling, Hello, SwitchConfig, SwitchFeatures,
};
use crate::text::message_bytes;
use crate::version::Version;

/// Names of the actions in a features reply of 1.0, and in group features of 1.0, by bit, in the
/// order they are printed.
pub(super) const ACTIONS: [(u32, &str); 12] = [
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

const CAPABILITIES: [(Capabilities, &str); 11] = [
    (Capabilities::FLOW_STATS, "FLOW_STATS"),
    (Capabilities::TABLE_STATS, "TABLE_STATS"),
    (Capabilities::PORT_STATS, "PORT_STATS"),
    (Capabilities::STP, "STP"),
    (Capabilities::GROUP_STATS, "GROUP_STATS"),
    (Capabilities::IP_REASM, "IP_REASM"),
    (Capabilities::QUEUE_STATS, "QUEUE_STATS"),
    (Capabilities::ARP_MATCH_IP, "ARP_MATCH_IP"),
    (Capabilities::PORT_BLOCKED, "PORT_BLOCKED"),
    (Capabilities::BUNDLES, "BUNDLES"),
    (Capabilities::FLOW_MONITORING, "FLOW_MONITORING"),
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
