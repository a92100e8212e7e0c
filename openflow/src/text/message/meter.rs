//! Meter messages as text.

use std::fmt::Write;

use crate::message::{
    BandAction, METER_ALL, METER_CONTROLLER, METER_SLOWPATH, MeterCommand, MeterConfig,
    MeterFeatures, MeterFlags, MeterMod, MeterStats,
};
use crate::text::flow_print;

/// `write!` that cannot fail, because strings take all text.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{ let _ = write!($out, $($arg)*); }};
}

pub fn write_mod(out: &mut String, meter_mod: &MeterMod) {
    out.push_str(match meter_mod.command {
        MeterCommand::Add => " ADD ",
        MeterCommand::Modify => " MOD ",
        MeterCommand::Delete => " DEL ",
    });
    write_config(out, &meter_mod.meter);
}

/// Blank lines stand between meters.
pub fn write_configs(out: &mut String, meters: &[MeterConfig]) {
    for meter in meters {
        out.push('\n');
        write_config(out, meter);
    }
}

fn write_config(out: &mut String, meter: &MeterConfig) {
    write_id(out, meter.meter_id, '=');
    out.push(' ');
    write_flags(out, meter.flags);
    out.push_str("bands=");
    for band in &meter.bands {
        out.push_str(match band.action {
            BandAction::Drop => "\ntype=drop",
            BandAction::DscpRemark { .. } => "\ntype=dscp_remark",
            BandAction::Experimenter { .. } => "\ntype=experimenter",
        });
        put!(out, " rate={}", band.rate);
        if meter.flags.contains(MeterFlags::BURST) {
            put!(out, " burst_size={}", band.burst);
        }
        match &band.action {
            BandAction::Drop => {}
            BandAction::DscpRemark { prec_level } => put!(out, " prec_level={prec_level}"),
            BandAction::Experimenter { experimenter, data } => {
                put!(out, " experimenter={experimenter:#010x}");
                if !data.is_empty() {
                    put!(out, " data={data:02x}");
                }
            }
        }
    }
    out.push('\n');
}

/// `meter=1`; meters of the switch itself have names.
fn write_id(out: &mut String, id: u32, separator: char) {
    put!(out, "meter{separator}");
    match id {
        METER_SLOWPATH => out.push_str("slowpath"),
        METER_CONTROLLER => out.push_str("controller"),
        METER_ALL => out.push_str("all"),
        _ => put!(out, "{id}"),
    }
}

/// Each flag followed by a space.
fn write_flags(out: &mut String, flags: MeterFlags) {
    let (names, rest) = flag_names(u32::from(flags.0));
    for name in names {
        put!(out, "{name} ");
    }
    if rest != 0 {
        put!(out, "flags:{rest:#x} ");
    }
}

/// Names of the flags that are set, and those that have no name.
fn flag_names(flags: u32) -> (impl Iterator<Item = &'static str>, u32) {
    const NAMES: [(MeterFlags, &str); 4] = [
        (MeterFlags::KBPS, "kbps"),
        (MeterFlags::PKTPS, "pktps"),
        (MeterFlags::BURST, "burst"),
        (MeterFlags::STATS, "stats"),
    ];
    let is_set = move |flag: MeterFlags| flags & u32::from(flag.0) != 0;
    let names = NAMES.into_iter().filter(move |(flag, _)| is_set(*flag));
    (names.map(|(_, name)| name), flags & !0xf)
}

/// Names of bits with spaces between, the unnamed bits as a number behind them.
fn write_bits(out: &mut String, names: impl Iterator<Item = &'static str>, rest: u32) {
    let start = out.len();
    for name in names {
        put!(out, " {name}");
    }
    if rest != 0 || out.len() == start {
        out.push(' ');
        crate::text::value::write_hex(out, u128::from(rest));
    }
}

/// The meter that a request is about.
pub fn write_request(out: &mut String, meter_id: u32) {
    out.push(' ');
    write_id(out, meter_id, '=');
}

pub fn write_stats(out: &mut String, meters: &[MeterStats]) {
    for meter in meters {
        out.push('\n');
        write_id(out, meter.meter_id, ':');
        put!(
            out,
            " flow_count:{} packet_in_count:{} byte_in_count:{} duration:",
            meter.flow_count,
            meter.input.packets,
            meter.input.bytes
        );
        flow_print::write_duration(out, meter.duration);
        out.push_str(" bands:\n");
        for (n, band) in meter.bands.iter().enumerate() {
            put!(
                out,
                "{n}: packet_count:{} byte_count:{}\n",
                band.packets,
                band.bytes
            );
        }
    }
}

pub fn write_features(out: &mut String, features: &MeterFeatures) {
    put!(
        out,
        "\nmax_meter:{} max_bands:{} max_color:{}\nband_types:",
        features.max_meters,
        features.max_bands,
        features.max_color
    );
    let types = features.band_types;
    let known = [(1, "drop"), (2, "dscp_remark")];
    let names = known.into_iter().filter(|(bit, _)| types & 1 << bit != 0);
    write_bits(out, names.map(|(_, name)| name), types & !0b110);
    out.push_str("\ncapabilities:");
    let (names, rest) = flag_names(features.capabilities);
    write_bits(out, names, rest);
    out.push('\n');
}
