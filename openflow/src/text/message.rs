//! Messages as text, as `ovs-ofctl` prints them for `monitor`, `snoop` and `ofp-print`.
//!
//! A message prints as its name, its OpenFlow version when that is not 1.0, its transaction id,
//! and a body that begins with a space or a new line. The text always ends in a new line.
//! Source: the form is that of Open vSwitch 3.1, `ofp_to_string`.

mod asynchronous;
mod bundle;
mod ct_flush;
mod flow_monitor;
mod group;
mod ipfix;
mod meter;
mod port;
mod switch;
mod table_desc;
mod tables;
mod tlv;

use std::fmt::Write;

pub use switch::frag_name;

use super::flow_print;
use super::ports::Names;
use crate::message::{AsyncConfig, Message, QUEUE_ALL};
use crate::version::Version;

/// What else the printer must know.
#[derive(Clone, Copy, Debug)]
pub struct Style<'a> {
    pub version: Version,
    pub names: &'a Names,
    /// From 0; packets show their bytes from 3 on.
    pub verbosity: u8,
}

/// `NAME (OF1.3) (xid=0x1):`
pub fn write_header(out: &mut String, name: &str, wire_version: u8, xid: u32) {
    out.push_str(name);
    match wire_version {
        1 => {}
        n @ 2..=6 => {
            let _ = write!(out, " (OF1.{})", n - 1);
        }
        n => {
            let _ = write!(out, " (OF 0x{n:02x})");
        }
    }
    let _ = write!(out, " (xid=0x{xid:x}):");
}

/// All of a message after the header.
pub fn write_body(out: &mut String, message: &Message, style: Style<'_>) {
    match message {
        Message::FeaturesRequest
        | Message::GetConfigRequest
        | Message::BarrierRequest
        | Message::BarrierReply
        | Message::GetAsyncRequest
        | Message::DescRequest
        | Message::GroupFeaturesRequest
        | Message::MeterFeaturesRequest
        | Message::FlowMonitorPaused
        | Message::FlowMonitorResumed
        | Message::TlvTableRequest
        | Message::TableDescRequest
        | Message::IpfixBridgeRequest
        | Message::IpfixFlowRequest
        | Message::FlowAge
        | Message::ControllerStatusRequest
        | Message::TableStatsRequest => {}
        Message::Hello(hello) => switch::write_hello(out, hello),
        Message::Error(error) => switch::write_error(out, error, style),
        Message::EchoRequest(data) | Message::EchoReply(data) => {
            let _ = writeln!(out, " {} bytes of payload", data.len());
            if style.verbosity > 1 {
                write_hex_dump(out, data, true);
            }
        }
        Message::FeaturesReply(features) => switch::write_features(out, features, style),
        Message::GetConfigReply(config) | Message::SetConfig(config) => {
            switch::write_config(out, config);
        }
        Message::DescReply(desc) => switch::write_desc(out, desc),
        Message::TableMod(table) => table_desc::write_mod(out, table, style),
        Message::TableDescReply(tables) => table_desc::write_descs(out, tables, style),
        Message::TableStatus(status) => table_desc::write_status(out, status, style),
        Message::TableFeaturesRequest(tables) | Message::TableFeaturesReply(tables) => {
            tables::write_features(out, tables, style);
        }
        Message::TableStatsReply(tables) => tables::write_stats(out, tables, style),

        Message::PacketIn(packet_in) | Message::Resume(packet_in) => {
            asynchronous::write_packet_in(out, packet_in, style)
        }
        Message::PacketOut(packet_out) => asynchronous::write_packet_out(out, packet_out, style),
        Message::FlowRemoved(removed) => asynchronous::write_flow_removed(out, removed, style),
        Message::RoleRequest(role) | Message::RoleReply(role) => {
            asynchronous::write_role(out, role);
        }
        Message::GetAsyncReply(config) | Message::SetAsync { config, .. } => {
            asynchronous::write_async_config(out, config, style.version);
        }
        Message::SetAsyncProperties(properties) => {
            let mut config = AsyncConfig::none();
            properties.iter().for_each(|p| config.set(*p));
            asynchronous::write_async_config(out, &config, style.version);
        }
        Message::RequestForward(forward) => match &*forward.request {
            Message::GroupMod(group_mod) => {
                out.push_str(" reason=group_mod");
                group::write_mod(out, group_mod, style);
            }
            Message::MeterMod(meter_mod) => {
                out.push_str(" reason=meter_mod");
                meter::write_mod(out, meter_mod);
            }
            _ => {}
        },
        Message::ControllerStatus(status) => asynchronous::write_controller(out, status),
        Message::ControllerStatusReply(all) => {
            for status in all {
                asynchronous::write_controller(out, status);
            }
        }
        Message::RoleStatus(status) => asynchronous::write_role_status(out, status),
        Message::TlvTableMod(tm) => tlv::write_mod(out, tm),
        Message::TlvTableReply(table) => tlv::write_table(out, table),
        Message::CtFlush(flush) => ct_flush::write(out, flush),
        Message::CtFlushZone { zone } => {
            let _ = write!(out, " zone_id={zone}");
        }
        Message::IpfixBridgeReply(stats) => ipfix::write_bridge(out, stats),
        Message::IpfixFlowReply(stats) => ipfix::write_flows(out, stats),
        Message::BundleControl(control) => bundle::write_control(out, control),
        Message::BundleAdd(add) => bundle::write_add(out, add, style),
        Message::BundleFeaturesRequest(request) => bundle::write_features_request(out, request),
        Message::BundleFeaturesReply(features) => bundle::write_features(out, features),
        Message::FlowMonitorRequest(requests) => {
            flow_monitor::write_requests(out, requests, style);
        }
        Message::FlowMonitorReply(updates) => flow_monitor::write_updates(out, updates, style),
        Message::FlowMonitorCancel { id } => {
            let _ = write!(out, " id={id}");
        }
        Message::SetFlowFormat(format) => asynchronous::write_flow_format(out, *format),
        Message::SetFlowModTableId(on) => {
            out.push_str(if *on { " enable" } else { " disable" });
        }
        Message::SetPacketInFormat(format) => asynchronous::write_packet_in_format(out, *format),
        Message::SetControllerId(id) => {
            let _ = write!(out, " id={id}");
        }

        Message::FlowMod(fm) => {
            out.push(' ');
            flow_print::write_flow_mod(out, fm, style.version, style.names);
        }
        Message::FlowStatsRequest(request) | Message::AggregateRequest(request) => {
            flow_print::write_stats_request(out, request, style.names);
        }
        Message::FlowStatsReply(reply) => {
            for flow in &reply.flows {
                out.push('\n');
                flow_print::write_flow_stats(out, flow, style.version, style.names, true);
            }
        }
        Message::FlowCountsRequest(request) => {
            flow_print::write_stats_request(out, request, style.names);
        }
        Message::FlowCountsReply(flows) => {
            for flow in flows {
                out.push('\n');
                flow_print::write_flow_counts(out, flow, style.names);
            }
        }
        Message::AggregateReply { stats, .. } => flow_print::write_aggregate(out, stats),

        Message::PortStatus(status) => port::write_status(out, status, style.names),
        Message::PortMod(port_mod) => port::write_port_mod(out, port_mod, style.names),
        Message::PortStatsRequest { port } => {
            out.push_str(" port_no=");
            style.names.write_port(out, *port);
        }
        Message::PortStatsReply(stats) => port::write_stats(out, stats, style.names),
        Message::PortDescRequest { port } => {
            out.push_str(" port=");
            style.names.write_port(out, *port);
        }
        Message::PortDescReply(ports) => {
            out.push('\n');
            port::write_ports(out, ports, style.names);
        }
        Message::QueueGetConfigRequest { port, queue } => {
            out.push_str(" port=");
            style.names.write_port(out, *port);
            if *queue != QUEUE_ALL {
                let _ = write!(out, " queue={queue}");
            }
        }
        Message::QueueGetConfigReply { port, queues } => {
            // Before 1.4 Open vSwitch shows the port that was asked for.
            let port = (style.version < Version::Of14).then_some(*port);
            port::write_queue_config(out, port, queues, style.names);
        }
        Message::QueueStatsRequest(request) => {
            port::write_queue_request(out, request, style.names);
        }
        Message::QueueStatsReply(stats) => port::write_queue_stats(out, stats, style.names),

        Message::GroupMod(group_mod) => group::write_mod(out, group_mod, style),
        Message::GroupStatsRequest { group_id } | Message::GroupDescRequest { group_id } => {
            group::write_request(out, *group_id);
        }
        Message::GroupStatsReply(groups) => group::write_stats(out, groups),
        Message::GroupDescReply(groups) => group::write_descs(out, groups, style),
        Message::GroupFeaturesReply(features) => {
            group::write_features(out, features, style.version);
        }
        Message::MeterMod(meter_mod) => meter::write_mod(out, meter_mod),
        Message::MeterStatsRequest { meter_id } | Message::MeterConfigRequest { meter_id } => {
            meter::write_request(out, *meter_id);
        }
        Message::MeterStatsReply(meters) => meter::write_stats(out, meters),
        Message::MeterConfigReply(meters) => meter::write_configs(out, meters),
        Message::MeterFeaturesReply(features) => meter::write_features(out, features),
    }
}

/// Lines of 16 bytes with their offset, and their characters when `ascii`.
pub fn write_hex_dump(out: &mut String, data: &[u8], ascii: bool) {
    for (n, line) in data.chunks(16).enumerate() {
        let _ = write!(out, "{:08x} ", n * 16);
        for i in 0..16 {
            let before = if i == 8 && line.len() > 8 || i == 8 && line.len() == 8 && ascii {
                '-'
            } else {
                ' '
            };
            match line.get(i) {
                Some(byte) => {
                    let _ = write!(out, "{before}{byte:02x}");
                }
                None if ascii => {
                    out.push(before);
                    out.push_str("  ");
                }
                None => break,
            }
        }
        if ascii {
            out.push_str(" |");
            for i in 0..16 {
                out.push(match line.get(i) {
                    Some(b) if (0x20..0x7f).contains(b) => char::from(*b),
                    Some(_) => '.',
                    None => ' ',
                });
            }
            out.push('|');
        }
        out.push('\n');
    }
}

/// ` ***decode error: NAME***` and the bytes.
pub fn write_decode_error(out: &mut String, error: crate::OfError, data: &[u8]) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push(' ');
    }
    let _ = writeln!(out, "***decode error: {error}***");
    write_hex_dump(out, data, true);
}
