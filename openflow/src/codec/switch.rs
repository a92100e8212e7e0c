//! Hello, errors, features, switch configuration, description and table-mods.
//!
//! Source: OpenFlow 1.0.0, 5.3.1, 5.3.2, 5.3.5, 5.4.4, 5.5; OpenFlow 1.3.5, 7.3.1 to 7.3.3,
//! 7.3.5.1, 7.5.1, 7.5.4; OpenFlow 1.4.0, 7.3.1.

use bytes::Bytes;

use super::kind::Kind;
use super::writer::MessageWriter;
use super::{ERROR_DATA_LEN, port};
use crate::error::{OfError, Vendor, WireError};
use crate::message::{
    Capabilities, Desc, ErrorMessage, FragHandling, Hello, SwitchConfig, SwitchFeatures,
};
use crate::version::{Version, VersionBitmap};
use crate::wire::{DecodeError, NICIRA, ONF, Reader, bad, pad8};

const OFPT_HELLO: u8 = 0;
const HELLO_VERSION_BITMAP: u16 = 1;

/// Error type of Nicira's errors in 1.0 and 1.1, and its only code.
const NXET_VENDOR: u16 = 0xb0c2;
const NXVC_VENDOR_ERROR: u16 = 0;
/// Error type of experimenter errors in 1.2 and later.
const OFPET_EXPERIMENTER: u16 = 0xffff;
/// Wire number of 1.2.
const FIRST_WITH_EXPERIMENTER_ERRORS: u8 = 3;

const CAPABILITIES_10: u32 = 0b1110_0111;
const CAPABILITIES_11: u32 = 0b1110_1111;
const CAPABILITIES_12: u32 = 0b1_0110_1111;
const CAPABILITIES_14: u32 = 0b111_0110_1111;
const CAPABILITY_STP_10: u32 = 1 << 3;

const CONFIG_FRAG_MASK: u16 = 3;
const CONFIG_INVALID_TTL: u16 = 1 << 2;

const DESC_STR_LEN: usize = 256;
const SERIAL_NUM_LEN: usize = 32;

/// Elements of type(2), length(2), value, padding to 8. Elements that are malformed are ignored,
/// and what follows them: the version in the header then counts.
///
/// Source: OpenFlow 1.3.5, 7.5.1.
pub(super) fn decode_hello(r: &mut Reader, version: u8) -> Result<Hello, DecodeError> {
    let mut versions = None;
    while r.remaining() >= 4 {
        let mut header = *r;
        let kind = header.u16()?;
        let len = usize::from(header.u16()?);
        if len < 4 || len > r.remaining() {
            break;
        }
        let mut element = r.sub(len, OfError::BrcBadLen)?;
        r.skip((pad8(len) - len).min(r.remaining()))?;
        element.skip(4)?;
        if kind == HELLO_VERSION_BITMAP && element.remaining() >= 4 && versions.is_none() {
            // Versions from 32 on do not exist.
            versions = Some(VersionBitmap(element.u32()?));
        }
    }
    r.skip(r.remaining())?;
    let versions = versions
        .map(|v| VersionBitmap(v.0 & !1))
        .filter(|v| !v.is_empty())
        .unwrap_or(VersionBitmap::up_to(version));
    Ok(Hello { versions })
}

/// The header has the highest version; the bitmap is left out when it would say nothing more. It is
/// of 1.3, and earlier versions ignore it as they ignore all that a hello has.
pub(super) fn encode_hello(o: &mut MessageWriter, hello: &Hello) {
    let highest = hello.versions.highest_wire();
    o.begin_as(highest, OFPT_HELLO);
    let says_all = hello.versions == VersionBitmap::up_to(highest);
    if !says_all {
        o.w.u16(HELLO_VERSION_BITMAP);
        o.w.u16(8);
        o.w.u32(hello.versions.0);
    }
    o.end();
}

/// type(2), code(2), data; experimenter errors have the experimenter(4) before the data, and in
/// 1.0 and 1.1 Nicira's have vendor(4), type(2), code(2) there.
pub(super) fn decode_error(r: &mut Reader, version: u8) -> Result<ErrorMessage, DecodeError> {
    let kind = r.u16()?;
    let code = r.u16()?;
    let with_type = version >= FIRST_WITH_EXPERIMENTER_ERRORS && kind == OFPET_EXPERIMENTER;
    let with_code = version < FIRST_WITH_EXPERIMENTER_ERRORS
        && (kind, code) == (NXET_VENDOR, NXVC_VENDOR_ERROR);
    let (experimenter, kind, code) = if with_code {
        (Some(r.u32()?), r.u16()?, r.u16()?)
    } else if with_type {
        (Some(r.u32()?), code, 0)
    } else {
        (None, kind, code)
    };
    let vendor = match experimenter {
        None => Some(Vendor::OpenFlow),
        Some(NICIRA) => Some(Vendor::Nicira),
        Some(ONF) => Some(Vendor::Onf),
        Some(_) => None,
    };
    let data = Bytes::copy_from_slice(r.bytes(r.remaining())?);
    let error =
        vendor.and_then(|vendor| OfError::from_wire(version, WireError { vendor, kind, code }));
    Ok(match error {
        Some(error) => ErrorMessage::Known { error, data },
        None => ErrorMessage::Unknown {
            kind,
            code,
            experimenter,
            data,
        },
    })
}

/// Of the message that failed, the first [`ERROR_DATA_LEN`] bytes go back; the text of a failed
/// hello goes whole.
pub(super) fn encode_error(o: &mut MessageWriter, message: &ErrorMessage) {
    let version = o.version();
    let (experimenter, kind, code, data) = match message {
        ErrorMessage::Known { error, data } => {
            let wire = error.to_wire(version);
            (wire.vendor.id(), wire.kind, wire.code, data)
        }
        ErrorMessage::Unknown {
            kind,
            code,
            experimenter,
            data,
        } => (*experimenter, *kind, *code, data),
    };
    o.begin(Kind::Error);
    match (experimenter, version) {
        (None, _) => {
            o.w.u16(kind);
            o.w.u16(code);
        }
        (Some(id), Version::Of10 | Version::Of11) => {
            o.w.u16(NXET_VENDOR);
            o.w.u16(NXVC_VENDOR_ERROR);
            o.w.u32(id);
            o.w.u16(kind);
            o.w.u16(code);
        }
        (Some(id), _) => {
            o.w.u16(OFPET_EXPERIMENTER);
            o.w.u16(kind);
            o.w.u32(id);
        }
    }
    let is_text = matches!(
        message,
        ErrorMessage::Known {
            error: OfError::HfcIncompatible | OfError::HfcEperm,
            ..
        }
    );
    let start = data.get(..ERROR_DATA_LEN).filter(|_| !is_text);
    o.w.bytes(start.unwrap_or(data));
    o.end();
}

/// datapath_id(8), buffers(4), tables(1), auxiliary_id(1), pad(2), capabilities(4),
/// actions or reserved(4), ports up to 1.2.
pub(super) fn decode_features(r: &mut Reader, v: Version) -> Result<SwitchFeatures, DecodeError> {
    let datapath_id = r.u64()?;
    let n_buffers = r.u32()?;
    let n_tables = r.u8()?;
    let auxiliary_id = r.u8()?;
    r.skip(2)?;
    let capabilities = capabilities(r.u32()?, v);
    let actions = r.u32()?;
    let ports = if v < Version::Of13 {
        port::decode_descs(r, v)?
    } else {
        Vec::new()
    };
    Ok(SwitchFeatures {
        datapath_id,
        n_buffers,
        n_tables,
        auxiliary_id: if v >= Version::Of13 { auxiliary_id } else { 0 },
        capabilities,
        actions: if v == Version::Of10 { actions } else { 0 },
        ports,
    })
}

/// Ports beyond what one message holds are left out: these versions have no other way, and their
/// `OFPST_PORT_DESC`, which Open vSwitch has in all of them, tells all.
pub(super) fn encode_features(o: &mut MessageWriter, f: &SwitchFeatures) {
    let v = o.version();
    o.begin(Kind::FeaturesReply);
    o.w.u64(f.datapath_id);
    o.w.u32(f.n_buffers);
    o.w.u8(f.n_tables);
    o.w.u8(if v >= Version::Of13 {
        f.auxiliary_id
    } else {
        0
    });
    o.w.zeros(2);
    o.w.u32(capabilities_number(f.capabilities, v));
    o.w.u32(if v == Version::Of10 { f.actions } else { 0 });
    if v < Version::Of13 {
        const HEADER_LEN: usize = 32;
        let port_len = if v == Version::Of10 { 48 } else { 64 };
        let max_ports = (usize::from(u16::MAX) - HEADER_LEN) / port_len;
        for p in f.ports.iter().take(max_ports) {
            port::encode_desc(&mut o.w, p, v);
        }
    }
    o.end();
}

/// The bits that `v` has. 1.0 has the spanning tree where later versions have groups.
fn capability_bits(v: Version) -> u32 {
    match v {
        Version::Of10 => CAPABILITIES_10,
        Version::Of11 => CAPABILITIES_11,
        Version::Of12 | Version::Of13 => CAPABILITIES_12,
        Version::Of14 | Version::Of15 => CAPABILITIES_14,
    }
}

fn capabilities(n: u32, v: Version) -> Capabilities {
    let known = Capabilities(n & capability_bits(v));
    if v == Version::Of10 && n & CAPABILITY_STP_10 != 0 {
        known | Capabilities::STP
    } else {
        known
    }
}

fn capabilities_number(c: Capabilities, v: Version) -> u32 {
    let known = c.0 & capability_bits(v);
    if v == Version::Of10 && c.contains(Capabilities::STP) {
        known | CAPABILITY_STP_10
    } else {
        known
    }
}

/// flags(2), miss_send_len(2)
///
/// Errors: `OFPSCFC_BAD_FLAGS`.
pub(super) fn decode_config(r: &mut Reader, v: Version) -> Result<SwitchConfig, DecodeError> {
    let flags = r.u16()?;
    let miss_send_len = r.u16()?;
    let allowed = if v < Version::Of13 {
        CONFIG_FRAG_MASK | CONFIG_INVALID_TTL
    } else {
        CONFIG_FRAG_MASK
    };
    if flags & !allowed != 0 {
        return bad("switch configuration flags", OfError::ScfcBadFlags);
    }
    let frag = match flags & CONFIG_FRAG_MASK {
        0 => FragHandling::Normal,
        1 => FragHandling::Drop,
        2 => FragHandling::Reassemble,
        _ => FragHandling::NxMatch,
    };
    let invalid_ttl_to_controller = flags & CONFIG_INVALID_TTL != 0;
    Ok(SwitchConfig {
        frag,
        invalid_ttl_to_controller,
        miss_send_len,
    })
}

pub(super) fn encode_config(o: &mut MessageWriter, kind: Kind, c: &SwitchConfig) {
    let frag = match c.frag {
        FragHandling::Normal => 0,
        FragHandling::Drop => 1,
        FragHandling::Reassemble => 2,
        FragHandling::NxMatch => 3,
    };
    let ttl = match o.version() {
        v if v < Version::Of13 && c.invalid_ttl_to_controller => CONFIG_INVALID_TTL,
        _ => 0,
    };
    o.begin(kind);
    o.w.u16(frag | ttl);
    o.w.u16(c.miss_send_len);
    o.end();
}

/// Manufacturer, hardware, software(256 each), serial number(32), datapath(256).
pub(super) fn decode_desc(r: &mut Reader) -> Result<Desc, DecodeError> {
    Ok(Desc {
        mfr_desc: r.string(DESC_STR_LEN)?,
        hw_desc: r.string(DESC_STR_LEN)?,
        sw_desc: r.string(DESC_STR_LEN)?,
        serial_num: r.string(SERIAL_NUM_LEN)?,
        dp_desc: r.string(DESC_STR_LEN)?,
    })
}

pub(super) fn encode_desc(o: &mut MessageWriter, d: &Desc) {
    o.begin(Kind::DescReply);
    o.w.string(&d.mfr_desc, DESC_STR_LEN);
    o.w.string(&d.hw_desc, DESC_STR_LEN);
    o.w.string(&d.sw_desc, DESC_STR_LEN);
    o.w.string(&d.serial_num, SERIAL_NUM_LEN);
    o.w.string(&d.dp_desc, DESC_STR_LEN);
    o.end_multipart();
}
