//! The argument of `-v` and `vlog/set`: `[MODULE] [DESTINATION] [LEVEL]` in any order, or
//! `PATTERN:DESTINATION:PATTERN`, or `FACILITY:NAME`.
//!
//! Source: ovs-appctl(8), "LOGGING COMMANDS"; OVS `lib/vlog.c`, `vlog_set_levels_from_string`.

use thiserror::Error;

use super::{Destination, Level};

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("no destination, level, or module \"{0}\"")]
    Unknown(String),
    #[error("unknown destination \"{0}\"")]
    UnknownDestination(String),
    #[error("missing destination")]
    MissingDestination,
    #[error("missing pattern")]
    MissingPattern,
    #[error("unknown facility \"{0}\"")]
    UnknownFacility(String),
    #[error("cannot specify multiple destinations")]
    TwoDestinations,
    #[error("cannot specify multiple levels")]
    TwoLevels,
    #[error("cannot specify multiple modules")]
    TwoModules,
}

/// What a specification asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// `None` means all.
    Levels {
        module: Option<String>,
        destination: Option<Destination>,
        level: Level,
    },
    Pattern {
        destination: Option<Destination>,
        pattern: String,
    },
    Facility(u8),
}

/// RFC 5424, 6.2.1: system daemons.
pub(super) const DAEMON_FACILITY: u8 = 3;

const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("clock", 9),
    ("ftp", 11),
    ("ntp", 12),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// Parses `text`; `is_module` says which module names exist.
pub(super) fn parse(text: &str, is_module: impl Fn(&str) -> bool) -> Result<Spec, Error> {
    let first_end = text.find([' ', ',', ':']).unwrap_or(text.len());
    let (first, rest) = text.split_at_checked(first_end).unwrap_or((text, ""));
    let rest = rest.get(1..).unwrap_or("");
    if first.eq_ignore_ascii_case("PATTERN") {
        return parse_pattern(rest);
    }
    if first.eq_ignore_ascii_case("FACILITY") {
        let name = rest.trim();
        return FACILITIES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, code)| Spec::Facility(*code))
            .ok_or_else(|| Error::UnknownFacility(name.to_owned()));
    }
    let mut module = None;
    let mut destination = None;
    let mut level = None;
    for word in text.split([' ', ',', ':']).filter(|word| !word.is_empty()) {
        // `any` is accepted for module, destination and level since the syntax was positional.
        if word.eq_ignore_ascii_case("ANY") {
        } else if let Some(found) = Destination::from_name(word) {
            if destination.replace(found).is_some() {
                return Err(Error::TwoDestinations);
            }
        } else if let Some(found) = Level::from_name(word) {
            if level.replace(found).is_some() {
                return Err(Error::TwoLevels);
            }
        } else if is_module(word) {
            if module.replace(word.to_owned()).is_some() {
                return Err(Error::TwoModules);
            }
        } else {
            return Err(Error::Unknown(word.to_owned()));
        }
    }
    Ok(Spec::Levels {
        module,
        destination,
        level: level.unwrap_or(Level::Dbg),
    })
}

fn parse_pattern(rest: &str) -> Result<Spec, Error> {
    let (name, pattern) = rest.split_once([' ', ',', ':']).unwrap_or((rest, ""));
    if name.is_empty() {
        return Err(Error::MissingDestination);
    }
    let destination = if name.eq_ignore_ascii_case("ANY") {
        None
    } else {
        Some(
            Destination::from_name(name)
                .ok_or_else(|| Error::UnknownDestination(name.to_owned()))?,
        )
    };
    if pattern.is_empty() {
        return Err(Error::MissingPattern);
    }
    Ok(Spec::Pattern {
        destination,
        pattern: pattern.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> bool {
        name == "bridge"
    }

    #[test]
    fn any_order() {
        let want = Spec::Levels {
            module: Some("bridge".into()),
            destination: Some(Destination::File),
            level: Level::Warn,
        };
        for text in ["bridge:file:warn", "warn,bridge,file", "FILE WARN bridge"] {
            assert_eq!(parse(text, known).as_ref(), Ok(&want));
        }
        assert_eq!(
            parse("ANY:ANY:dbg", known),
            Ok(Spec::Levels {
                module: None,
                destination: None,
                level: Level::Dbg
            })
        );
    }

    #[test]
    fn messages() {
        let error = |text: &str| parse(text, known).unwrap_err().to_string();
        assert_eq!(error("bogus"), "no destination, level, or module \"bogus\"");
        assert_eq!(error("PATTERN:bogus:x"), "unknown destination \"bogus\"");
        assert_eq!(error("PATTERN"), "missing destination");
        assert_eq!(error("PATTERN:file"), "missing pattern");
        assert_eq!(error("FACILITY:x"), "unknown facility \"x\"");
    }
}
