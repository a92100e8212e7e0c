//! Ports, their statistics and their queues.

use std::fmt::Write;

use packet::OfPort;

use crate::message::{
    CustomCounter, PortConfig, PortDesc, PortFeatures, PortMod, PortReason, PortState, PortStats,
    PortStatus, QUEUE_ALL, QueueConfig, QueueStats, QueueStatsRequest, RFC_2819_COUNTERS,
};
use crate::text::flow_print::{write_counter, write_duration};
use crate::text::ports::Names;
use crate::text::value;

const CONFIG: [(PortConfig, &str); 7] = [
    (PortConfig::PORT_DOWN, "PORT_DOWN"),
    (PortConfig::NO_STP, "NO_STP"),
    (PortConfig::NO_RECV, "NO_RECV"),
    (PortConfig::NO_RECV_STP, "NO_RECV_STP"),
    (PortConfig::NO_FLOOD, "NO_FLOOD"),
    (PortConfig::NO_FWD, "NO_FWD"),
    (PortConfig::NO_PACKET_IN, "NO_PACKET_IN"),
];

const STATE: [(PortState, &str); 3] = [
    (PortState::LINK_DOWN, "LINK_DOWN"),
    (PortState::BLOCKED, "BLOCKED"),
    (PortState::LIVE, "LIVE"),
];

const FEATURES: [(PortFeatures, &str); 16] = [
    (PortFeatures::TEN_MB_HD, "10MB-HD"),
    (PortFeatures::TEN_MB_FD, "10MB-FD"),
    (PortFeatures::HUNDRED_MB_HD, "100MB-HD"),
    (PortFeatures::HUNDRED_MB_FD, "100MB-FD"),
    (PortFeatures::ONE_GB_HD, "1GB-HD"),
    (PortFeatures::ONE_GB_FD, "1GB-FD"),
    (PortFeatures::TEN_GB_FD, "10GB-FD"),
    (PortFeatures::FORTY_GB_FD, "40GB-FD"),
    (PortFeatures::HUNDRED_GB_FD, "100GB-FD"),
    (PortFeatures::ONE_TB_FD, "1TB-FD"),
    (PortFeatures::OTHER, "OTHER"),
    (PortFeatures::COPPER, "COPPER"),
    (PortFeatures::FIBER, "FIBER"),
    (PortFeatures::AUTONEG, "AUTO_NEG"),
    (PortFeatures::PAUSE, "AUTO_PAUSE"),
    (PortFeatures::PAUSE_ASYM, "AUTO_PAUSE_ASYM"),
];

/// The names of the bits that `has` says are there; `0` for none.
fn bit_names<T: Copy>(names: &[(T, &'static str)], has: impl Fn(T) -> bool) -> String {
    let set: Vec<&str> = names
        .iter()
        .filter(|(bit, _)| has(*bit))
        .map(|(_, name)| *name)
        .collect();
    if set.is_empty() {
        "0".to_owned()
    } else {
        set.join(" ")
    }
}

fn config_names(config: PortConfig) -> String {
    bit_names(&CONFIG, |bit| config.contains(bit))
}

fn state_names(state: PortState) -> String {
    let names = bit_names(&STATE, |bit| state.contains(bit));
    // The spanning tree state is two bits; "listening" is what a switch without it has.
    let stp = match state.0 & PortState::STP_MASK.0 {
        0 => return names,
        n if n == PortState::STP_LEARN.0 => "STP_LEARN",
        n if n == PortState::STP_FORWARD.0 => "STP_FORWARD",
        _ => "STP_BLOCK",
    };
    match names.as_str() {
        "0" => stp.to_owned(),
        names => format!("{stp} {names}"),
    }
}

fn feature_names(features: PortFeatures) -> String {
    bit_names(&FEATURES, |bit| features.contains(bit))
}

/// A port with its name and all about it, over several lines.
pub fn write_desc(out: &mut String, port: &PortDesc) {
    out.push(' ');
    // The number, also where names are shown elsewhere: the name follows.
    Names::none().write_port(out, port.port);
    out.push('(');
    value::write_name(out, &port.name);
    let _ = writeln!(out, "): addr:{}", port.hw_addr);
    let _ = writeln!(out, "     config:     {}", config_names(port.config));
    let _ = writeln!(out, "     state:      {}", state_names(port.state));
    for (what, features) in [
        ("current:    ", port.curr),
        ("advertised: ", port.advertised),
        ("supported:  ", port.supported),
        ("peer:       ", port.peer),
    ] {
        if !features.is_empty() {
            let _ = writeln!(out, "     {what}{}", feature_names(features));
        }
    }
    let _ = writeln!(
        out,
        "     speed: {} Mbps now, {} Mbps max",
        port.curr_speed_kbps / 1000,
        port.max_speed_kbps / 1000
    );
}

/// Ports by number.
pub fn write_ports(out: &mut String, ports: &[PortDesc], _names: &Names) {
    let mut sorted: Vec<&PortDesc> = ports.iter().collect();
    sorted.sort_by_key(|p| p.port);
    for port in sorted {
        write_desc(out, port);
    }
}

pub fn write_status(out: &mut String, status: &PortStatus, _names: &Names) {
    out.push_str(match status.reason {
        PortReason::Add => " ADD:",
        PortReason::Delete => " DEL:",
        PortReason::Modify => " MOD:",
    });
    write_desc(out, &status.desc);
}

pub fn write_port_mod(out: &mut String, port_mod: &PortMod, names: &Names) {
    out.push_str(" port: ");
    names.write_port(out, port_mod.port);
    let _ = writeln!(out, ": addr:{}", port_mod.hw_addr);
    let _ = writeln!(out, "     config: {}", config_names(port_mod.config));
    let _ = writeln!(out, "     mask:   {}", config_names(port_mod.mask));
    let advertise = match port_mod.advertise {
        none if none.is_empty() => "UNCHANGED".to_owned(),
        some => feature_names(some),
    };
    let _ = writeln!(out, "     advertise: {advertise}");
}

pub fn write_stats(out: &mut String, stats: &[PortStats], names: &Names) {
    let _ = writeln!(out, " {} ports", stats.len());
    for s in stats {
        out.push_str("  port ");
        // Numbers of one digit line up with those of two.
        if s.port.0 < 10 {
            out.push(' ');
        }
        names.write_port(out, s.port);
        write_counters(
            out,
            ": rx ",
            &[
                ("pkts", s.rx_packets),
                ("bytes", s.rx_bytes),
                ("drop", s.rx_dropped),
                ("errs", s.rx_errors),
                ("frame", s.rx_frame_errors),
                ("over", s.rx_over_errors),
                ("crc", s.rx_crc_errors),
            ],
        );
        write_counters(
            out,
            "           tx ",
            &[
                ("pkts", s.tx_packets),
                ("bytes", s.tx_bytes),
                ("drop", s.tx_dropped),
                ("errs", s.tx_errors),
                ("coll", s.collisions),
            ],
        );
        if let Some(duration) = s.duration {
            out.push_str("           duration=");
            write_duration(out, duration);
            out.push('\n');
        }
        if let Some(counters) = &s.rfc_2819 {
            write_rfc_2819(out, counters);
        }
        write_custom(out, &s.custom);
    }
}

/// Those that are kept, received and sent apart, three to a line.
fn write_rfc_2819(out: &mut String, counters: &[u64; RFC_2819_COUNTERS]) {
    const RX: [(usize, &str); 12] = [
        (0, "1_to_64_packets"),
        (1, "65_to_127_packets"),
        (2, "128_to_255_packets"),
        (3, "256_to_511_packets"),
        (4, "512_to_1023_packets"),
        (5, "1024_to_1522_packets"),
        (6, "1523_to_max_packets"),
        (15, "broadcast_packets"),
        (17, "undersized_errors"),
        (18, "oversize_errors"),
        (19, "fragmented_errors"),
        (20, "jabber_errors"),
    ];
    const TX: [(usize, &str); 9] = [
        (7, "1_to_64_packets"),
        (8, "65_to_127_packets"),
        (9, "128_to_255_packets"),
        (10, "256_to_511_packets"),
        (11, "512_to_1023_packets"),
        (12, "1024_to_1522_packets"),
        (13, "1523_to_max_packets"),
        (14, "multicast_packets"),
        (16, "broadcast_packets"),
    ];
    for (title, list) in [("rx", &RX[..]), ("tx", &TX[..])] {
        let kept: Vec<String> = list
            .iter()
            .filter_map(|(n, name)| Some((counters.get(*n)?, name)))
            .filter(|(count, _)| **count != u64::MAX)
            .map(|(count, name)| format!("{title} {name}={count}"))
            .collect();
        for line in kept.chunks(3) {
            let _ = writeln!(out, "           {}", line.join(", "));
        }
    }
}

fn write_custom(out: &mut String, counters: &[CustomCounter]) {
    if counters.is_empty() {
        return;
    }
    out.push_str("           CUSTOM Statistics\n");
    for line in counters.chunks(3) {
        let texts: Vec<String> = line
            .iter()
            .map(|c| format!("{}={},", c.name, c.value))
            .collect();
        let _ = writeln!(out, "                      {}", texts.join(" "));
    }
}

fn write_counters(out: &mut String, start: &str, counters: &[(&str, u64)]) {
    out.push_str(start);
    for (n, (name, count)) in counters.iter().enumerate() {
        if n > 0 {
            out.push_str(", ");
        }
        out.push_str(name);
        out.push('=');
        write_counter(out, *count);
    }
    out.push('\n');
}

/// Queues by number, those of one port below its name, or all below that of `port`.
pub fn write_queue_config(
    out: &mut String,
    port: Option<OfPort>,
    queues: &[QueueConfig],
    names: &Names,
) {
    let port_of = |q: &QueueConfig| port.unwrap_or(q.port);
    let mut sorted: Vec<&QueueConfig> = queues.iter().collect();
    sorted.sort_by_key(|q| (port_of(q), q.queue));
    let mut last = None;
    for q in sorted {
        let port = port_of(q);
        if last != Some(port) {
            if last.is_none() {
                out.push(' ');
            }
            last = Some(port);
            out.push_str("port=");
            names.write_port(out, port);
            out.push('\n');
        }
        let _ = write!(out, "queue {}:", q.queue);
        for (name, rate) in [("min_rate", q.min_rate), ("max_rate", q.max_rate)] {
            if let Some(rate) = rate {
                // More than everything means that there is no such limit.
                match rate {
                    0..=1000 => {
                        let _ = write!(out, " {name}:{}.{}%", rate / 10, rate % 10);
                    }
                    _ => {
                        let _ = write!(out, " {name}:(disabled)");
                    }
                }
            }
        }
        out.push('\n');
    }
}

pub fn write_queue_request(out: &mut String, request: &QueueStatsRequest, names: &Names) {
    out.push_str(" port=");
    names.write_port(out, request.port);
    out.push_str(" queue=");
    if request.queue == QUEUE_ALL {
        out.push_str("ALL");
    } else {
        let _ = write!(out, "{}", request.queue);
    }
}

pub fn write_queue_stats(out: &mut String, stats: &[QueueStats], names: &Names) {
    let _ = writeln!(out, " {} queues", stats.len());
    for s in stats {
        out.push_str("  port ");
        names.write_port(out, s.port);
        let _ = write!(out, " queue {}: bytes=", s.queue);
        write_counter(out, s.tx_bytes);
        out.push_str(", pkts=");
        write_counter(out, s.tx_packets);
        out.push_str(", errors=");
        write_counter(out, s.tx_errors);
        out.push_str(", duration=");
        match s.duration {
            Some(duration) => write_duration(out, duration),
            None => out.push('?'),
        }
        out.push('\n');
    }
}
