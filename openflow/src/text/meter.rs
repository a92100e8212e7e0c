//! Meter-mods from text: `meter=1,kbps,burst,bands=type=drop,rate=1000,burst_size=100`.
//!
//! Source: ovs-ofctl(8), "Meter Syntax"; the errors are those of Open vSwitch 3.1.

use thiserror::Error;

use super::value;
use crate::message::{
    BandAction, METER_ALL, METER_CONTROLLER, METER_MAX, METER_SLOWPATH, MeterBand, MeterCommand,
    MeterConfig, MeterFlags, MeterMod,
};

/// Why meter text was not understood.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum MeterError {
    #[error("must specify bands")]
    NoBands,
    #[error("field {0} missing value")]
    MissingValue(String),
    #[error("invalid value for {0}")]
    MeterId(String),
    #[error("invalid numeric format {0}")]
    Number(String),
    #[error("unknown keyword {0}")]
    UnknownKeyword(String),
    #[error("must specify 'meter'")]
    NoMeter,
    #[error("meter must specify either 'kbps' or 'pktps'")]
    NoFlags,
    #[error("meter must have bands")]
    EmptyBands,
    #[error("field type unknown value {0}")]
    BandType(String),
    #[error("band must start with the 'type' keyword")]
    NoType,
    #[error("invalid prec_level \"{0}\"")]
    PrecLevel(String),
    #[error("'dscp_remark' band must have 'prec_level'")]
    NoPrecLevel,
    #[error("Only 'dscp_remark' band may have 'prec_level'")]
    PrecLevelNotAllowed,
    #[error("band must have 'rate'")]
    NoRate,
    #[error("band must have 'burst_size' when 'burst' flag is set")]
    NoBurst,
    #[error("band may have 'burst_size' only when 'burst' flag is set")]
    BurstNotAllowed,
}

/// Parses an addition, modification or deletion of a meter.
pub fn parse(text: &str, command: MeterCommand) -> Result<MeterMod, MeterError> {
    let mut meter = MeterConfig {
        meter_id: 0,
        flags: MeterFlags::default(),
        bands: Vec::new(),
    };
    if command == MeterCommand::Delete {
        meter.meter_id = parse_id(text)?;
        return Ok(MeterMod { command, meter });
    }
    let (head, rest) = text.split_once("band").ok_or(MeterError::NoBands)?;
    let (_, bands) = rest.split_once('=').ok_or(MeterError::NoBands)?;
    parse_head(head, Some(&mut meter.flags), &mut meter.meter_id)?;
    if meter.flags == MeterFlags::default() {
        return Err(MeterError::NoFlags);
    }
    meter.bands = parse_bands(bands, meter.flags)?;
    Ok(MeterMod { command, meter })
}

/// Parses the `meter=ID` of a deletion or a request.
pub fn parse_id(text: &str) -> Result<u32, MeterError> {
    let mut meter_id = 0;
    parse_head(text, None, &mut meter_id)?;
    Ok(meter_id)
}

fn parse_head(
    text: &str,
    mut flags: Option<&mut MeterFlags>,
    meter_id: &mut u32,
) -> Result<(), MeterError> {
    let mut words = Words(text);
    while let Some(name) = words.name() {
        let flag = match name {
            "kbps" => MeterFlags::KBPS,
            "pktps" => MeterFlags::PKTPS,
            "burst" => MeterFlags::BURST,
            "stats" => MeterFlags::STATS,
            _ => MeterFlags::default(),
        };
        if let Some(flags) = flags.as_deref_mut().filter(|_| flag.0 != 0) {
            *flags = flags.with(flag);
            continue;
        }
        let v = words.value(name)?;
        match (name, v) {
            ("meter", "all") => *meter_id = METER_ALL,
            ("meter", "controller") => *meter_id = METER_CONTROLLER,
            ("meter", "slowpath") => *meter_id = METER_SLOWPATH,
            ("meter", _) => match number(v)? {
                id @ 1..=METER_MAX => *meter_id = id,
                _ => return Err(MeterError::MeterId(name.to_owned())),
            },
            _ => return Err(MeterError::UnknownKeyword(name.to_owned())),
        }
    }
    match *meter_id {
        0 => Err(MeterError::NoMeter),
        _ => Ok(()),
    }
}

fn parse_bands(text: &str, flags: MeterFlags) -> Result<Vec<MeterBand>, MeterError> {
    let mut bands: Vec<(MeterBand, u8)> = Vec::new();
    let mut words = Words(text);
    while let Some(name) = words.name() {
        let v = words.value(name)?;
        if name == "type" {
            let action = match v {
                "drop" => BandAction::Drop,
                "dscp_remark" => BandAction::DscpRemark { prec_level: 0 },
                _ => return Err(MeterError::BandType(v.to_owned())),
            };
            let band = MeterBand {
                action,
                rate: 0,
                burst: 0,
            };
            bands.push((band, 0));
            continue;
        }
        let (band, level) = bands.last_mut().ok_or(MeterError::NoType)?;
        match name {
            "rate" => band.rate = number(v)?,
            "burst_size" => band.burst = number(v)?,
            "prec_level" => {
                let n = value::u8_value(v);
                *level = n.ok_or_else(|| MeterError::PrecLevel(v.to_owned()))?;
            }
            _ => return Err(MeterError::UnknownKeyword(name.to_owned())),
        }
    }
    if bands.is_empty() {
        return Err(MeterError::EmptyBands);
    }
    bands
        .into_iter()
        .map(|(band, level)| check_band(band, level, flags))
        .collect()
}

fn check_band(mut band: MeterBand, level: u8, flags: MeterFlags) -> Result<MeterBand, MeterError> {
    match (&mut band.action, level) {
        (BandAction::DscpRemark { .. }, 0) => return Err(MeterError::NoPrecLevel),
        (BandAction::DscpRemark { prec_level }, _) => *prec_level = level,
        (_, 0) => {}
        _ => return Err(MeterError::PrecLevelNotAllowed),
    }
    if band.rate == 0 {
        return Err(MeterError::NoRate);
    }
    match (flags.contains(MeterFlags::BURST), band.burst) {
        (true, 0) => Err(MeterError::NoBurst),
        (false, 1..) => Err(MeterError::BurstNotAllowed),
        _ => Ok(band),
    }
}

fn number(text: &str) -> Result<u32, MeterError> {
    value::u32_value(text).ok_or_else(|| MeterError::Number(text.to_owned()))
}

/// Names and values as ovs-ofctl cuts them: a name ends at `=` too.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    const SPACES: [char; 5] = [',', ' ', '\t', '\r', '\n'];

    fn name(&mut self) -> Option<&'a str> {
        self.cut(|c| c == '=' || Self::SPACES.contains(&c))
    }

    fn value(&mut self, name: &str) -> Result<&'a str, MeterError> {
        self.cut(|c| Self::SPACES.contains(&c))
            .ok_or_else(|| MeterError::MissingValue(name.to_owned()))
    }

    fn cut(&mut self, ends: impl Fn(char) -> bool) -> Option<&'a str> {
        let text = self.0.trim_start_matches(&ends);
        let end = text.find(&ends).unwrap_or(text.len());
        let (word, rest) = text.split_at_checked(end)?;
        // The sign that ends a word goes with it.
        let mut rest = rest.chars();
        rest.next();
        self.0 = rest.as_str();
        (!word.is_empty()).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ovs-ofctl 3.1 said.
    #[test]
    fn errors() {
        for (text, want) in [
            ("meter=1", "must specify bands"),
            ("meter=1,kbps,bands", "must specify bands"),
            (
                "meter=0,kbps,bands=type=drop,rate=1",
                "invalid value for meter",
            ),
            ("kbps,bands=type=drop,rate=1", "must specify 'meter'"),
            (
                "meter=1,bands=type=drop,rate=1",
                "meter must specify either 'kbps' or 'pktps'",
            ),
            ("meter=1,kbps,bands=", "meter must have bands"),
            (
                "meter=1,kbps,bands=rate=1",
                "band must start with the 'type' keyword",
            ),
            (
                "meter=1,kbps,bands=type=foo",
                "field type unknown value foo",
            ),
            ("meter=1,kbps,bands=type=drop", "band must have 'rate'"),
            (
                "meter=1,kbps,bands=type=drop,rate",
                "field rate missing value",
            ),
            (
                "meter=1,kbps,bands=type=drop,rate=x",
                "invalid numeric format x",
            ),
            (
                "meter=1,kbps,bands=type=drop,rate=1,burst_size=1",
                "band may have 'burst_size' only when 'burst' flag is set",
            ),
            (
                "meter=1,kbps,burst,bands=type=drop,rate=1",
                "band must have 'burst_size' when 'burst' flag is set",
            ),
            (
                "meter=1,kbps,bands=type=drop,rate=1,prec_level=1",
                "Only 'dscp_remark' band may have 'prec_level'",
            ),
            (
                "meter=1,kbps,bands=type=dscp_remark,rate=1",
                "'dscp_remark' band must have 'prec_level'",
            ),
            (
                "meter=1,kbps,bands=type=dscp_remark,rate=1,prec_level=300",
                "invalid prec_level \"300\"",
            ),
            (
                "meter=4294901761,kbps,bands=type=drop,rate=1",
                "invalid value for meter",
            ),
            (
                "meter=x,kbps,bands=type=drop,rate=1",
                "invalid numeric format x",
            ),
            ("foo=1,kbps,bands=type=drop,rate=1", "unknown keyword foo"),
            (
                "meter=1,kbps,bands=type=drop,rate=1,foo=1",
                "unknown keyword foo",
            ),
        ] {
            let error = parse(text, MeterCommand::Add).expect_err(text);
            assert_eq!(error.to_string(), want, "{text}");
        }
        for (text, want) in [
            ("", "must specify 'meter'"),
            ("kbps", "field kbps missing value"),
            ("meter=1,kbps", "field kbps missing value"),
        ] {
            let error = parse(text, MeterCommand::Delete).expect_err(text);
            assert_eq!(error.to_string(), want, "{text}");
        }
    }

    #[test]
    fn all_of_it() {
        let text = "meter=7 pktps,burst stats bands= type=drop rate=5 burst_size=6,\
                    type=dscp_remark,rate=0x10 burst_size=8 prec_level=2";
        let band = |action, rate, burst| MeterBand {
            action,
            rate,
            burst,
        };
        assert_eq!(
            parse(text, MeterCommand::Modify).unwrap().meter,
            MeterConfig {
                meter_id: 7,
                flags: MeterFlags(14),
                bands: vec![
                    band(BandAction::Drop, 5, 6),
                    band(BandAction::DscpRemark { prec_level: 2 }, 16, 8),
                ],
            }
        );
        assert_eq!(parse_id("meter=slowpath"), Ok(METER_SLOWPATH));
    }
}
