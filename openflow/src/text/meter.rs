//! Meter-mods from text: `meter=1,kbps,burst,bands=type=drop,rate=1000,burst_size=100`.
//!
//! Source: ovs-ofctl(8), "Meter Syntax"; the errors are those of Open vSwitch 3.1.

use super::error::At;
use super::token::Piece;
use super::value;
use crate::message::{
    BandAction, METER_ALL, METER_CONTROLLER, METER_MAX, METER_SLOWPATH, MeterBand, MeterCommand,
    MeterConfig, MeterFlags, MeterMod,
};

/// Why meter text was not understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
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

type Error = At<MeterError>;

/// Parses an addition, modification or deletion of a meter.
pub fn parse(text: &str, command: MeterCommand) -> Result<MeterMod, Error> {
    let mut meter = MeterConfig {
        meter_id: 0,
        flags: MeterFlags::default(),
        bands: Vec::new(),
    };
    if command == MeterCommand::Delete {
        meter.meter_id = parse_id(text)?;
        return Ok(MeterMod { command, meter });
    }
    let text = Piece::new(text);
    let cut = text
        .split_once("band")
        .and_then(|(head, rest)| Some((head, rest.split_once("=")?.1)));
    let (head, bands) = cut.ok_or(at_end(MeterError::NoBands, text))?;
    parse_head(head, Some(&mut meter.flags), &mut meter.meter_id)?;
    if meter.flags == MeterFlags::default() {
        return Err(at_end(MeterError::NoFlags, head));
    }
    meter.bands = parse_bands(bands, meter.flags)?;
    Ok(MeterMod { command, meter })
}

/// Parses the `meter=ID` of a deletion or a request.
pub fn parse_id(text: &str) -> Result<u32, Error> {
    let mut meter_id = 0;
    parse_head(Piece::new(text), None, &mut meter_id)?;
    Ok(meter_id)
}

/// What is missing is missing at the end.
fn at_end(kind: MeterError, text: Piece<'_>) -> Error {
    let text = text.trim_end();
    At::new(kind, text.at + text.text.len())
}

fn parse_head(
    text: Piece<'_>,
    mut flags: Option<&mut MeterFlags>,
    meter_id: &mut u32,
) -> Result<(), Error> {
    let mut words = Words(text);
    while let Some(name) = words.name() {
        let flag = match name.text {
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
        match (name.text, v.text) {
            ("meter", "all") => *meter_id = METER_ALL,
            ("meter", "controller") => *meter_id = METER_CONTROLLER,
            ("meter", "slowpath") => *meter_id = METER_SLOWPATH,
            ("meter", _) => match number(v)? {
                id @ 1..=METER_MAX => *meter_id = id,
                _ => return Err(At::new(MeterError::MeterId(name.text.to_owned()), v.at)),
            },
            _ => return Err(unknown(name)),
        }
    }
    match *meter_id {
        0 => Err(at_end(MeterError::NoMeter, text)),
        _ => Ok(()),
    }
}

fn unknown(name: Piece<'_>) -> Error {
    At::new(MeterError::UnknownKeyword(name.text.to_owned()), name.at)
}

fn parse_bands(text: Piece<'_>, flags: MeterFlags) -> Result<Vec<MeterBand>, Error> {
    // Each with its DSCP level and the place where it begins.
    let mut bands: Vec<(MeterBand, u8, usize)> = Vec::new();
    let mut words = Words(text);
    while let Some(name) = words.name() {
        let v = words.value(name)?;
        if name.text == "type" {
            let action = match v.text {
                "drop" => BandAction::Drop,
                "dscp_remark" => BandAction::DscpRemark { prec_level: 0 },
                _ => return Err(At::new(MeterError::BandType(v.text.to_owned()), v.at)),
            };
            let band = MeterBand {
                action,
                rate: 0,
                burst: 0,
            };
            bands.push((band, 0, name.at));
            continue;
        }
        let Some((band, level, _)) = bands.last_mut() else {
            return Err(At::new(MeterError::NoType, name.at));
        };
        match name.text {
            "rate" => band.rate = number(v)?,
            "burst_size" => band.burst = number(v)?,
            "prec_level" => {
                *level = value::u8_value(v.text)
                    .ok_or_else(|| At::new(MeterError::PrecLevel(v.text.to_owned()), v.at))?;
            }
            _ => return Err(unknown(name)),
        }
    }
    if bands.is_empty() {
        return Err(At::new(MeterError::EmptyBands, text.at));
    }
    bands
        .into_iter()
        .map(|(band, level, at)| check_band(band, level, flags).map_err(|kind| At::new(kind, at)))
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

fn number(text: Piece<'_>) -> Result<u32, Error> {
    value::u32_value(text.text)
        .ok_or_else(|| At::new(MeterError::Number(text.text.to_owned()), text.at))
}

/// Names and values as ovs-ofctl cuts them: a name ends at `=` too.
struct Words<'a>(Piece<'a>);

impl<'a> Words<'a> {
    const SPACES: [char; 5] = [',', ' ', '\t', '\r', '\n'];

    fn name(&mut self) -> Option<Piece<'a>> {
        self.cut(|c| c == '=' || Self::SPACES.contains(&c))
    }

    fn value(&mut self, name: Piece<'_>) -> Result<Piece<'a>, Error> {
        self.cut(|c| Self::SPACES.contains(&c)).ok_or_else(|| {
            let end = name.at + name.text.len();
            At::new(MeterError::MissingValue(name.text.to_owned()), end)
        })
    }

    fn cut(&mut self, ends: impl Fn(char) -> bool) -> Option<Piece<'a>> {
        let text = self.0.text.trim_start_matches(&ends);
        let start = self.0.skip(self.0.text.len() - text.len());
        let end = text.find(&ends).unwrap_or(text.len());
        let word = Piece {
            text: text.get(..end)?,
            at: start.at,
        };
        // The sign that ends a word goes with it; all of them have one byte.
        self.0 = start.skip(end).skip(1);
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
            assert_eq!(error.kind.to_string(), want, "{text}");
        }
        for (text, column) in [
            ("meter=1,foo=2,kbps,bands=type=drop,rate=1", 9),
            ("meter=x,kbps,bands=type=drop,rate=1", 7),
            ("meter=1,kbps,bands=type=drop,rate=x", 35),
            ("meter=1,kbps,bands=type=drop,rate=1,type=drop", 37),
            ("meter=1,kbps,bands=", 20),
            ("meter=1,kbps", 13),
        ] {
            let error = parse(text, MeterCommand::Add).expect_err(text);
            assert_eq!(error.column(), column, "{text}: {error}");
        }
        for (text, want) in [
            ("", "must specify 'meter'"),
            ("kbps", "field kbps missing value"),
            ("meter=1,kbps", "field kbps missing value"),
        ] {
            let error = parse(text, MeterCommand::Delete).expect_err(text);
            assert_eq!(error.kind.to_string(), want, "{text}");
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
