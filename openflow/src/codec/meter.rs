//! Meters: meter-mods, configuration, statistics and features, of 1.3 and later.
//!
//! ```text
//! meter-mod:  command(2), flags(2), meter(4), bands
//! config:     length(2), flags(2), meter(4), bands
//! band:       type(2), length(2), rate(4), burst(4), 4 bytes by type
//! ```
//!
//! Source: OpenFlow 1.3.5, 7.3.4.4 and 7.3.5.12 to 7.3.5.14.

use bytes::Bytes;

use super::flow::{duration, write_duration};
use super::group::{counts, write_counts};
use super::kind::Kind;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::message::{
    BandAction, MeterBand, MeterCommand, MeterConfig, MeterFeatures, MeterFlags, MeterMod,
    MeterStats,
};
use crate::wire::{DecodeError, Reader, Writer, bad};

const OFPMBT_DROP: u16 = 1;
const OFPMBT_DSCP_REMARK: u16 = 2;
const OFPMBT_EXPERIMENTER: u16 = 0xffff;
/// Of every band but an experimenter's, which may be longer.
const BAND_LEN: usize = 16;

/// Reads a meter-mod. What a deletion says beyond the meter's number is not looked at.
///
/// Errors: `OFPMMFC_BAD_COMMAND`, `_BAD_FLAGS`, `_BAD_BAND`.
pub(super) fn decode_mod(r: &mut Reader) -> Result<MeterMod, DecodeError> {
    r.check_aligned()?;
    let command = match r.u16()? {
        0 => MeterCommand::Add,
        1 => MeterCommand::Modify,
        2 => MeterCommand::Delete,
        _ => return bad("meter command", OfError::MmfcBadCommand),
    };
    let mut meter = MeterConfig {
        flags: MeterFlags(r.u16()?),
        meter_id: r.u32()?,
        bands: Vec::new(),
    };
    if command == MeterCommand::Delete {
        meter.flags = MeterFlags::default();
        r.skip(r.remaining())?;
        return Ok(MeterMod { command, meter });
    }
    if meter
        .flags
        .contains(MeterFlags::KBPS.with(MeterFlags::PKTPS))
    {
        return bad("two units of a meter", OfError::MmfcBadFlags);
    }
    meter.bands = decode_bands(r)?;
    Ok(MeterMod { command, meter })
}

pub(super) fn encode_mod(o: &mut MessageWriter, meter_mod: &MeterMod) {
    let MeterMod { command, meter } = meter_mod;
    o.begin(Kind::MeterMod);
    o.w.u16(match command {
        MeterCommand::Add => 0,
        MeterCommand::Modify => 1,
        MeterCommand::Delete => 2,
    });
    o.w.u16(meter.flags.0);
    o.w.u32(meter.meter_id);
    write_bands(&mut o.w, &meter.bands);
    o.end();
}

fn decode_bands(r: &mut Reader) -> Result<Vec<MeterBand>, DecodeError> {
    let mut bands = Vec::new();
    while !r.is_empty() {
        let mut header = Reader::new(r.rest(), OfError::BrcBadLen);
        let kind = header.u16()?;
        let len = usize::from(header.u16()?);
        let fits = len == BAND_LEN || kind == OFPMBT_EXPERIMENTER && len > BAND_LEN;
        if !fits {
            return bad("length of a band", OfError::BrcBadLen);
        }
        let mut body = r.sub(len, OfError::BrcBadLen)?;
        body.skip(4)?;
        let rate = body.u32()?;
        let burst = body.u32()?;
        let action = match kind {
            OFPMBT_DROP => {
                body.skip(4)?;
                BandAction::Drop
            }
            OFPMBT_DSCP_REMARK => {
                let prec_level = body.u8()?;
                body.skip(3)?;
                BandAction::DscpRemark { prec_level }
            }
            OFPMBT_EXPERIMENTER => BandAction::Experimenter {
                experimenter: body.u32()?,
                data: Bytes::copy_from_slice(body.bytes(body.remaining())?),
            },
            _ => return bad("type of a band", OfError::MmfcBadBand),
        };
        bands.push(MeterBand {
            action,
            rate,
            burst,
        });
    }
    Ok(bands)
}

fn write_bands(w: &mut Writer, bands: &[MeterBand]) {
    for band in bands {
        let start = w.len();
        w.u16(match band.action {
            BandAction::Drop => OFPMBT_DROP,
            BandAction::DscpRemark { .. } => OFPMBT_DSCP_REMARK,
            BandAction::Experimenter { .. } => OFPMBT_EXPERIMENTER,
        });
        w.u16(0);
        w.u32(band.rate);
        w.u32(band.burst);
        match &band.action {
            BandAction::Drop => w.zeros(4),
            BandAction::DscpRemark { prec_level } => {
                w.u8(*prec_level);
                w.zeros(3);
            }
            BandAction::Experimenter { experimenter, data } => {
                w.u32(*experimenter);
                w.bytes(data);
            }
        }
        w.patch_len(start + 2, start);
    }
}

/// A request about one meter or all: meter(4), pad(4).
pub(super) fn decode_request(r: &mut Reader) -> Result<u32, DecodeError> {
    let meter_id = r.u32()?;
    r.skip(4)?;
    Ok(meter_id)
}

pub(super) fn request(meter_id: u32) -> [u8; 8] {
    (u64::from(meter_id) << 32).to_be_bytes()
}

/// The next meter of a configuration reply.
pub(super) fn decode_config(r: &mut Reader) -> Result<MeterConfig, DecodeError> {
    let len = usize::from(Reader::new(r.rest(), OfError::BrcBadLen).u16()?);
    let mut body = r.sub(len, OfError::BrcBadLen)?;
    body.skip(2)?;
    Ok(MeterConfig {
        flags: MeterFlags(body.u16()?),
        meter_id: body.u32()?,
        bands: decode_bands(&mut body)?,
    })
}

pub(super) fn encode_config(o: &mut MessageWriter, meter: &MeterConfig) {
    let w = &mut o.w;
    let start = w.len();
    w.u16(0);
    w.u16(meter.flags.0);
    w.u32(meter.meter_id);
    write_bands(w, &meter.bands);
    w.patch_len(start, start);
}

/// The next meter of a statistics reply: meter(4), length(2), pad(6), flows(4), packets(8),
/// bytes(8), duration(8), then packets(8) and bytes(8) of each band.
pub(super) fn decode_stats(r: &mut Reader) -> Result<MeterStats, DecodeError> {
    let mut header = Reader::new(r.rest(), OfError::BrcBadLen);
    header.skip(4)?;
    let len = usize::from(header.u16()?);
    let mut body = r.sub(len, OfError::BrcBadLen)?;
    let meter_id = body.u32()?;
    body.skip(8)?;
    let flow_count = body.u32()?;
    let input = counts(&mut body)?;
    let duration = duration(&mut body)?;
    let mut bands = Vec::new();
    while !body.is_empty() {
        bands.push(counts(&mut body)?);
    }
    Ok(MeterStats {
        meter_id,
        flow_count,
        input,
        duration,
        bands,
    })
}

pub(super) fn encode_stats(o: &mut MessageWriter, meter: &MeterStats) {
    let w = &mut o.w;
    let start = w.len();
    w.u32(meter.meter_id);
    w.zeros(8);
    w.u32(meter.flow_count);
    write_counts(w, meter.input);
    write_duration(w, meter.duration);
    for band in &meter.bands {
        write_counts(w, *band);
    }
    w.patch_len(start + 4, start);
}

/// max_meter(4), band_types(4), capabilities(4), max_bands(1), max_color(1), pad(2). What 1.5 puts
/// behind them (Open vSwitch does not) is not looked at.
pub(super) fn decode_features(r: &mut Reader) -> Result<MeterFeatures, DecodeError> {
    let features = MeterFeatures {
        max_meters: r.u32()?,
        band_types: r.u32()?,
        capabilities: r.u32()?,
        max_bands: r.u8()?,
        max_color: r.u8()?,
    };
    r.skip(2)?;
    if r.remaining() == 8 {
        r.skip(8)?;
    }
    Ok(features)
}

pub(super) fn encode_features(o: &mut MessageWriter, features: &MeterFeatures) {
    o.begin(Kind::MeterFeaturesReply);
    let w = &mut o.w;
    w.u32(features.max_meters);
    w.u32(features.band_types);
    w.u32(features.capabilities);
    w.u8(features.max_bands);
    w.u8(features.max_color);
    w.zeros(2);
    o.end_multipart();
}
