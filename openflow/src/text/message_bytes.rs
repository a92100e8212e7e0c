//! Messages as they are on the wire, printed: what `monitor`, `snoop`, `ofp-print` and
//! `ofp-parse` show.
//!
//! Bytes that are no message print too, with the reason and a hexadecimal dump.

use std::fmt::Write;

use super::message::{self, Style, write_decode_error, write_header, write_hex_dump};
use super::ports::Names;
use crate::codec::{Decoded, Dialect, Header, decode, kind_of};
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
        if let Some(kind) = kind_of(bytes) {
            write_header(&mut out, kind.name(), header.version, header.xid);
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
            if let Some(kind) = kind_of(bytes).filter(|_| !unnamed) {
                write_header(&mut out, kind.name(), header.version, header.xid);
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
    let name = decoded.kind.name();
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

/// How messages with this header are to be read; of one of a version that does not exist only the
/// header can be read.
fn dialect(header: &Header) -> Dialect {
    let version = Version::from_wire(header.version).unwrap_or(Version::Of15);
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
