//! Messages as they are on the wire, printed: what `monitor`, `snoop`, `ofp-print` and
//! `ofp-parse` show.
//!
//! Bytes that are no message print too, with the reason and a hexadecimal dump.

use std::fmt::Write;

use super::message::{self, Style, write_decode_error, write_header, write_hex_dump};
use super::ports::Names;
use crate::codec::{Decoded, Dialect, Header, decode};
use crate::error::OfError;
use crate::version::Version;

const HEADER_LEN: usize = 8;

/// The text of the message in `bytes`, ending in a new line.
pub fn print(bytes: &[u8], names: &Names, verbosity: u8) -> String {
    let mut out = String::new();
    if bytes.is_empty() {
        return "OpenFlow message is empty\n".to_owned();
    }
    let Ok(header) = Header::decode(bytes) else {
        let _ = writeln!(
            out,
            "OpenFlow packet too short (only {} bytes):",
            bytes.len()
        );
        write_hex_dump(&mut out, bytes, true);
        return out;
    };
    let len = usize::from(header.len);
    if len > bytes.len() {
        if let Some(name) = name_of(bytes, &header) {
            write_header(&mut out, name, header.version, header.xid);
            out.push('\n');
        }
        let _ = writeln!(out, "(***truncated to {} bytes from {len}***)", bytes.len());
        write_hex_dump(&mut out, bytes, true);
        return out;
    }
    if len < bytes.len() {
        let _ = writeln!(out, "(***only uses {len} bytes out of {}***)", bytes.len());
        write_hex_dump(&mut out, bytes, true);
        return out;
    }
    match decode(bytes, &dialect(&header)) {
        Ok(decoded) => write_decoded(&mut out, &decoded, bytes, names, verbosity),
        Err(e) => {
            let error = match e.error() {
                OfError::BrcBadVersion => OfError::BrcBadType,
                error => error,
            };
            // What the header alone says wrong leaves nothing to name.
            let unnamed = matches!(error, OfError::BrcBadLen | OfError::BrcBadType);
            if let Some(name) = name_of(bytes, &header).filter(|_| !unnamed) {
                write_header(&mut out, name, header.version, header.xid);
            }
            write_decode_error(&mut out, error, bytes);
        }
    }
    out
}

/// Prints a message that is decoded already from `bytes`.
pub fn write_decoded(
    out: &mut String,
    decoded: &Decoded,
    bytes: &[u8],
    names: &Names,
    verbosity: u8,
) {
    let header = &decoded.header;
    let name = message::name(&decoded.message, subtype(bytes, header));
    write_header(out, name, header.version, header.xid);
    if decoded.more {
        out.push_str(" flags=[more]");
    }
    let style = Style {
        version: dialect(header).version,
        names,
        verbosity,
    };
    message::write_body(out, &decoded.message, style);
    if header.kind == OFPT_HELLO && has_unknown_elements(bytes) {
        out.push_str("\n unknown data in hello:\n");
        write_hex_dump(out, bytes, true);
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
}

/// How messages with this header are to be read; one of a version that is not spoken is read as
/// if it were of the newest one.
fn dialect(header: &Header) -> Dialect {
    let version = Version::from_wire(header.version).unwrap_or(Version::Of13);
    Dialect {
        // A command's high byte is zero unless the extension is in use.
        flow_mod_table_id: true,
        ..Dialect::from(version)
    }
}

const OFPT_HELLO: u8 = 0;

/// Does a hello carry anything but one version bitmap?
fn has_unknown_elements(bytes: &[u8]) -> bool {
    const VERSION_BITMAP: &[u8] = &[0, 1];
    match bytes.get(HEADER_LEN..) {
        None | Some([]) => false,
        Some(body) => !body.starts_with(VERSION_BITMAP) || body.len() != 8,
    }
}

/// Type of a vendor or experimenter message.
const OFPT_VENDOR: u8 = 4;

/// The subtype of a vendor message.
fn subtype(bytes: &[u8], header: &Header) -> Option<u32> {
    let at = HEADER_LEN + 4;
    match bytes.get(at..at + 4) {
        Some([a, b, c, d]) if header.kind == OFPT_VENDOR => {
            Some(u32::from_be_bytes([*a, *b, *c, *d]))
        }
        _ => None,
    }
}

/// The name that the header, and in vendor and multipart messages the type behind it, stand for.
fn name_of(bytes: &[u8], header: &Header) -> Option<&'static str> {
    let names: &[&'static str] = match header.version {
        1 => &[
            "OFPT_PORT_MOD",
            "OFPST request",
            "OFPST reply",
            "OFPT_BARRIER_REQUEST",
            "OFPT_BARRIER_REPLY",
            "OFPT_QUEUE_GET_CONFIG_REQUEST",
            "OFPT_QUEUE_GET_CONFIG_REPLY",
        ],
        4 => &[
            "OFPT_GROUP_MOD",
            "OFPT_PORT_MOD",
            "OFPT_TABLE_MOD",
            "OFPST request",
            "OFPST reply",
            "OFPT_BARRIER_REQUEST",
            "OFPT_BARRIER_REPLY",
            "OFPT_QUEUE_GET_CONFIG_REQUEST",
            "OFPT_QUEUE_GET_CONFIG_REPLY",
            "OFPT_ROLE_REQUEST",
            "OFPT_ROLE_REPLY",
            "OFPT_GET_ASYNC_REQUEST",
            "OFPT_GET_ASYNC_REPLY",
            "OFPT_SET_ASYNC",
            "OFPT_METER_MOD",
        ],
        _ => return None,
    };
    const COMMON: [&str; 15] = [
        "OFPT_HELLO",
        "OFPT_ERROR",
        "OFPT_ECHO_REQUEST",
        "OFPT_ECHO_REPLY",
        "NXT",
        "OFPT_FEATURES_REQUEST",
        "OFPT_FEATURES_REPLY",
        "OFPT_GET_CONFIG_REQUEST",
        "OFPT_GET_CONFIG_REPLY",
        "OFPT_SET_CONFIG",
        "OFPT_PACKET_IN",
        "OFPT_FLOW_REMOVED",
        "OFPT_PORT_STATUS",
        "OFPT_PACKET_OUT",
        "OFPT_FLOW_MOD",
    ];
    let kind = usize::from(header.kind);
    let name = match COMMON.get(kind) {
        Some(name) => name,
        None => names.get(kind - COMMON.len())?,
    };
    match *name {
        "NXT" => Some(match subtype(bytes, header)? {
            10 => "NXT_ROLE_REQUEST",
            11 => "NXT_ROLE_REPLY",
            12 => "NXT_SET_FLOW_FORMAT",
            13 => "NXT_FLOW_MOD",
            14 => "NXT_FLOW_REMOVED",
            15 => "NXT_FLOW_MOD_TABLE_ID",
            16 => "NXT_SET_PACKET_IN_FORMAT",
            17 => "NXT_PACKET_IN",
            19 => "NXT_SET_ASYNC_CONFIG",
            20 => "NXT_SET_CONTROLLER_ID",
            30 => "NXT_PACKET_IN2",
            _ => return None,
        }),
        "OFPST request" => multipart_name(bytes, true),
        "OFPST reply" => multipart_name(bytes, false),
        name => Some(name),
    }
}

fn multipart_name(bytes: &[u8], request: bool) -> Option<&'static str> {
    let Some([a, b]) = bytes.get(HEADER_LEN..HEADER_LEN + 2) else {
        return None;
    };
    let (as_request, as_reply) = match u16::from_be_bytes([*a, *b]) {
        0 => ("OFPST_DESC request", "OFPST_DESC reply"),
        1 => ("OFPST_FLOW request", "OFPST_FLOW reply"),
        2 => ("OFPST_AGGREGATE request", "OFPST_AGGREGATE reply"),
        3 => ("OFPST_TABLE request", "OFPST_TABLE reply"),
        4 => ("OFPST_PORT request", "OFPST_PORT reply"),
        5 => ("OFPST_QUEUE request", "OFPST_QUEUE reply"),
        13 => ("OFPST_PORT_DESC request", "OFPST_PORT_DESC reply"),
        _ => return None,
    };
    Some(if request { as_request } else { as_reply })
}
