//! Values as users write and read them.
//!
//! Source: ovs-vsctl(8), "Database Values"; the messages are those of the stock tool.

use ovsdb::schema::{AtomicType, BaseType, ColumnType};
use ovsdb::value::{Atom, Datum, Real, parse_uuid};
use thiserror::Error;

use crate::symbols::Symbols;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    #[error("{0}: backslash at end of argument")]
    Backslash(String),
    #[error("{0}: quoted string extends past end of argument")]
    Unquoted(String),
    #[error("\"{0}\" is not a valid integer or range")]
    BadIntegerOrRange(String),
    #[error("\"{0}\" is not a valid range. Range end cannot be before start.")]
    BackwardRange(String),
    #[error(
        "constraint violation: Range \"{0}-{1}\" is too big. Maximum allowed size is {MAX_RANGE}."
    )]
    LongRange(i64, i64),
    #[error("\"{0}\" is not a valid real number")]
    BadReal(String),
    #[error("\"{0}\" is not a valid boolean (use \"true\" or \"false\")")]
    BadBoolean(String),
    #[error("An empty string is not valid as input; use \"\" to represent the empty string")]
    EmptyString,
    #[error("{0}: missing quote at end of quoted string")]
    MissingQuote(String),
    #[error("{text}: {why}")]
    BadEscape { text: String, why: String },
    #[error("\"{0}\" is not a valid UUID")]
    BadUuid(String),
    #[error(transparent)]
    Constraint(ovsdb::Error),
    #[error("{text}: syntax error at \"{at}\" expecting \"=\"")]
    MissingEquals { text: String, at: char },
    #[error("{0}: ends where \"=\" is expected")]
    EndsAtEquals(String),
    #[error("use \"{{}}\" to specify the empty map")]
    EmptyMap,
    #[error("use \"[]\" to specify the empty set")]
    EmptySet,
    #[error("{text}: unexpected \"{at}\" parsing {wanted}")]
    Unexpected {
        text: String,
        at: char,
        wanted: String,
    },
    #[error("{text}: missing \"{end}\" at end of data")]
    MissingEnd { text: String, end: char },
    #[error("{text}: trailing garbage after \"{end}\"")]
    Trailing { text: String, end: char },
    #[error("{text}: {count} {what} specified but the {bound} number is {limit}")]
    Count {
        text: String,
        count: usize,
        what: &'static str,
        bound: &'static str,
        limit: u32,
    },
    #[error("{0}: set contains duplicate value")]
    DuplicateValue(String),
    #[error("{0}: map contains duplicate key")]
    DuplicateKey(String),
}

/// The most integers that one range stands for.
const MAX_RANGE: i64 = 4096;

fn is_delimiter(c: char) -> bool {
    matches!(
        c,
        ':' | '=' | ',' | ' ' | '[' | ']' | '{' | '}' | '!' | '<' | '>'
    )
}

/// Takes a token off the front of `text`: up to the next delimiter outside quotes. A backslash
/// takes the meaning of the next character away; quotes, and backslashes inside them, stay.
pub fn token(text: &str) -> Result<(String, &str), Error> {
    let mut out = String::new();
    let mut quoted = false;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                if quoted {
                    out.push('\\');
                }
                let Some((_, next)) = chars.next() else {
                    return Err(Error::Backslash(text.to_owned()));
                };
                out.push(next);
            }
            c if !quoted && is_delimiter(c) => {
                return Ok((out, text.get(at..).unwrap_or("")));
            }
            c => {
                out.push(c);
                quoted ^= c == '"';
            }
        }
    }
    if quoted {
        return Err(Error::Unquoted(text.to_owned()));
    }
    Ok((out, ""))
}

/// Parses one atom of type `base` and checks it.
pub fn parse_atom(text: &str, base: &BaseType, symbols: &mut Symbols) -> Result<Atom, Error> {
    let atom = match base.atomic {
        AtomicType::Integer => {
            Atom::Integer(integer(text).ok_or_else(|| Error::BadIntegerOrRange(text.to_owned()))?)
        }
        AtomicType::Real => Atom::Real(Real(
            text.parse()
                .ok()
                .filter(|number: &f64| number.is_finite())
                // Negative zero reads as zero.
                .map(|number| number + 0.0)
                .ok_or_else(|| Error::BadReal(text.to_owned()))?,
        )),
        AtomicType::Boolean => Atom::Boolean(match text {
            "true" | "yes" | "on" | "1" => true,
            "false" | "no" | "off" | "0" => false,
            _ => return Err(Error::BadBoolean(text.to_owned())),
        }),
        AtomicType::String => Atom::from(string(text)?),
        AtomicType::Uuid if text.starts_with('@') => Atom::Uuid(symbols.refer(text, base)),
        AtomicType::Uuid => {
            Atom::Uuid(parse_uuid(text).ok_or_else(|| Error::BadUuid(text.to_owned()))?)
        }
    };
    base.check(&atom).map_err(Error::Constraint)?;
    Ok(atom)
}

fn integer(text: &str) -> Option<i64> {
    text.trim_start().parse().ok()
}

/// `first-last`, each with an optional sign.
fn range(text: &str) -> Option<(i64, i64)> {
    let digits = text.find(|c: char| c.is_ascii_digit())?;
    let dash = text.get(digits..)?.find('-')?.checked_add(digits)?;
    let last = text.get(dash..)?.strip_prefix('-')?;
    Some((integer(text.get(..dash)?)?, integer(last)?))
}

fn string(text: &str) -> Result<String, Error> {
    if text.is_empty() {
        return Err(Error::EmptyString);
    }
    let Some(inner) = text.strip_prefix('"') else {
        return Ok(text.to_owned());
    };
    let Some(inner) = inner.strip_suffix('"') else {
        return Err(Error::MissingQuote(text.to_owned()));
    };
    unescape(inner).map_err(|why| Error::BadEscape {
        text: text.to_owned(),
        why,
    })
}

/// The escapes of JSON strings.
fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    loop {
        let Some((plain, escape)) = rest.split_once('\\') else {
            out.push_str(rest);
            return Ok(out);
        };
        out.push_str(plain);
        let mut chars = escape.chars();
        let c = chars
            .next()
            .ok_or("quoted string may not end with backslash")?;
        rest = chars.as_str();
        out.push(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (unicode, after) = unescape_unicode(rest)?;
                rest = after;
                unicode
            }
            other => return Err(format!("bad escape \\{other}")),
        });
    }
}

fn unescape_unicode(text: &str) -> Result<(char, &str), String> {
    let (first, rest) = hex4(text)?;
    if first == 0 {
        return Err("null bytes not supported in quoted strings".to_owned());
    }
    if !(0xd800..0xdc00).contains(&first) {
        let unicode = char::from_u32(first).ok_or_else(|| {
            format!("\\u{first:04x} is a trailing surrogate without a leading one")
        })?;
        return Ok((unicode, rest));
    }
    let rest = rest
        .strip_prefix("\\u")
        .ok_or("malformed escaped surrogate pair")?;
    let (second, rest) = hex4(rest)?;
    if !(0xdc00..0xe000).contains(&second) {
        return Err("second half of escaped surrogate pair is not trailing surrogate".to_owned());
    }
    let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    let unicode = char::from_u32(code).ok_or("malformed escaped surrogate pair")?;
    Ok((unicode, rest))
}

fn hex4(text: &str) -> Result<(u32, &str), String> {
    if text.chars().count() < 4 {
        return Err("quoted string ends within \\u escape".to_owned());
    }
    text.split_at_checked(4)
        .filter(|(digits, _)| digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|(digits, rest)| Some((u32::from_str_radix(digits, 16).ok()?, rest)))
        .ok_or_else(|| "malformed \\u escape".to_owned())
}

/// Parses a value of type `column_type`: atoms or `key=value` pairs, separated by spaces or single
/// commas, optionally in `[]` or `{}`.
pub fn parse(text: &str, column_type: &ColumnType, symbols: &mut Symbols) -> Result<Datum, Error> {
    let is_map = column_type.is_map();
    let (open, close) = if is_map { ('{', '}') } else { ('[', ']') };
    let mut rest = text.trim_start();
    let mut end = None;
    if let Some(inner) = rest.strip_prefix(open) {
        end = Some(close);
        rest = inner.trim_start();
    } else if rest.is_empty() {
        return Err(if is_map {
            Error::EmptyMap
        } else {
            Error::EmptySet
        });
    }
    let mut keys = Vec::new();
    let mut values = Vec::new();
    while let Some(next) = rest.chars().next() {
        if Some(next) == end {
            break;
        }
        if is_delimiter(next) {
            return Err(Error::Unexpected {
                text: text.to_owned(),
                at: next,
                wanted: ovsdb::condition::type_text(column_type),
            });
        }
        rest = element(rest, column_type, symbols, &mut keys, &mut values)?.trim_start();
        if let Some(after) = rest.strip_prefix(',') {
            rest = after.trim_start();
        }
    }
    if let Some(end) = end {
        let Some(after) = rest.strip_prefix(end) else {
            return Err(Error::MissingEnd {
                text: text.to_owned(),
                end,
            });
        };
        if !after.trim_start().is_empty() {
            return Err(Error::Trailing {
                text: text.to_owned(),
                end,
            });
        }
    }
    check_count(text, keys.len(), column_type)?;
    let count = keys.len();
    let datum = if is_map {
        Datum::map(keys.into_iter().zip(values))
    } else {
        Datum::set(keys)
    };
    if datum.len() != count {
        return Err(if is_map {
            Error::DuplicateKey(text.to_owned())
        } else {
            Error::DuplicateValue(text.to_owned())
        });
    }
    Ok(datum)
}

fn element<'t>(
    start: &'t str,
    column_type: &ColumnType,
    symbols: &mut Symbols,
    keys: &mut Vec<Atom>,
    values: &mut Vec<Atom>,
) -> Result<&'t str, Error> {
    let (key, rest) = token(start)?;
    let Some(value_type) = &column_type.value else {
        let base = &column_type.key;
        match range(&key).filter(|_| base.atomic == AtomicType::Integer) {
            Some((first, last)) => keys.extend(parse_range(&key, first, last, base)?),
            None => keys.push(parse_atom(&key, base, symbols)?),
        }
        return Ok(rest);
    };
    let key = parse_atom(&key, &column_type.key, symbols)?;
    let rest = rest.trim_start();
    let Some(rest) = rest.strip_prefix('=') else {
        let text = start.to_owned();
        return Err(match rest.chars().next() {
            Some(at) => Error::MissingEquals { text, at },
            None => Error::EndsAtEquals(text),
        });
    };
    let (value, rest) = token(rest.trim_start())?;
    let value = parse_atom(&value, value_type, symbols)?;
    keys.push(key);
    values.push(value);
    Ok(rest)
}

fn parse_range(text: &str, first: i64, last: i64, base: &BaseType) -> Result<Vec<Atom>, Error> {
    if last < first {
        return Err(Error::BackwardRange(text.to_owned()));
    }
    for bound in [first, last] {
        base.check(&Atom::Integer(bound))
            .map_err(Error::Constraint)?;
    }
    if last
        .checked_sub(first)
        .is_none_or(|steps| steps >= MAX_RANGE)
    {
        return Err(Error::LongRange(first, last));
    }
    (first..=last)
        .map(|number| {
            let atom = Atom::Integer(number);
            base.check(&atom).map_err(Error::Constraint)?;
            Ok(atom)
        })
        .collect()
}

fn check_count(text: &str, count: usize, column_type: &ColumnType) -> Result<(), Error> {
    let what = if column_type.is_map() {
        "pair(s)"
    } else {
        "value(s)"
    };
    let (bound, limit) = if count < column_type.min as usize {
        ("minimum", column_type.min)
    } else if count > column_type.max as usize {
        ("maximum", column_type.max)
    } else {
        return Ok(());
    };
    Err(Error::Count {
        text: text.to_owned(),
        count,
        what,
        bound,
        limit,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, LazyLock};

    use super::*;
    use crate::schema::vswitch;
    use ovsdb::DatabaseSchema;
    use ovsdb::text::{to_bare, to_text};
    use proptest::prelude::*;

    static SCHEMA: LazyLock<Arc<DatabaseSchema>> = LazyLock::new(vswitch);

    fn column(table: &str, column: &str) -> ColumnType {
        SCHEMA.column(table, column).unwrap().column_type.clone()
    }

    fn error(text: &str, column_type: &ColumnType) -> String {
        parse(text, column_type, &mut Symbols::default())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn messages_of_the_stock_tool() {
        let ids = column("Bridge", "external_ids");
        let vlans = column("Bridge", "flood_vlans");
        let tag = column("Port", "tag");
        let stp = column("Bridge", "stp_enable");
        let qos = column("Port", "qos");
        let fail_mode = column("Bridge", "fail_mode");
        let mpids = column("Interface", "cfm_remote_mpids");
        for (text, column_type, message) in [
            ("{a=b", &ids, r#"{a=b: missing "}" at end of data"#),
            ("{a=1}x", &ids, r#"{a=1}x: trailing garbage after "}""#),
            (
                ",a=1",
                &ids,
                r#",a=1: unexpected "," parsing map of (string, string) pairs"#,
            ),
            ("a:b", &ids, r#"a:b: syntax error at ":" expecting "=""#),
            ("a=b,a=c", &ids, "a=b,a=c: map contains duplicate key"),
            ("", &ids, r#"use "{}" to specify the empty map"#),
            (
                "a=",
                &ids,
                r#"An empty string is not valid as input; use "" to represent the empty string"#,
            ),
            (r#"a="\x""#, &ids, r#""\x": bad escape \x"#),
            (
                r#"a="\u12""#,
                &ids,
                r#""\u12": quoted string ends within \u escape"#,
            ),
            (
                r#"a="\ud800""#,
                &ids,
                r#""\ud800": malformed escaped surrogate pair"#,
            ),
            (
                r#"a="b"#,
                &ids,
                r#""b: quoted string extends past end of argument"#,
            ),
            (r"a=b\", &ids, r"b\: backslash at end of argument"),
            ("", &vlans, r#"use "[]" to specify the empty set"#),
            (
                "{1}",
                &vlans,
                r#"{1}: unexpected "{" parsing set of up to 4096 integers"#,
            ),
            ("1,1", &vlans, "1,1: set contains duplicate value"),
            ("1-5,3", &vlans, "1-5,3: set contains duplicate value"),
            (
                "3-1",
                &vlans,
                r#""3-1" is not a valid range. Range end cannot be before start."#,
            ),
            (
                "3-5-7",
                &vlans,
                r#""3-5-7" is not a valid integer or range"#,
            ),
            ("0x10", &vlans, r#""0x10" is not a valid integer or range"#),
            (
                "4096",
                &vlans,
                "constraint violation: 4096 is not in the valid range 0 to 4095 (inclusive)",
            ),
            (
                "1-5000",
                &mpids,
                r#"constraint violation: Range "1-5000" is too big. Maximum allowed size is 4096."#,
            ),
            (
                "0-9223372036854775807",
                &mpids,
                r#"constraint violation: Range "0-9223372036854775807" is too big. Maximum allowed size is 4096."#,
            ),
            (
                "1,2",
                &tag,
                "1,2: 2 value(s) specified but the maximum number is 1",
            ),
            (
                "[]",
                &stp,
                "[]: 0 value(s) specified but the minimum number is 1",
            ),
            (
                "maybe",
                &stp,
                r#""maybe" is not a valid boolean (use "true" or "false")"#,
            ),
            ("1", &qos, r#""1" is not a valid UUID"#),
            (
                "x",
                &fail_mode,
                "constraint violation: x is not one of the allowed values ([secure, standalone])",
            ),
        ] {
            assert_eq!(error(text, column_type), message, "{text}");
        }
    }

    #[test]
    fn values() {
        let symbols = &mut Symbols::default();
        let vlans = column("Bridge", "flood_vlans");
        let ids = column("Bridge", "external_ids");
        assert_eq!(
            parse("[ 7, 3-5 9 ]", &vlans, symbols).unwrap(),
            Datum::set([3, 4, 5, 7, 9])
        );
        assert_eq!(parse("[]", &vlans, symbols).unwrap(), Datum::empty());
        let map = parse(
            r#"a=b "c d"="e\"f\u00e9\ud83d\ude00" g\ h=i"#,
            &ids,
            symbols,
        )
        .unwrap();
        assert_eq!(
            map,
            Datum::map([("a", "b"), ("c d", "e\"fé😀"), ("g h", "i")])
        );
        assert_eq!(to_text(&map, &ids), r#"{a=b, "c d"="e\"fé😀", "g h"=i}"#);
        assert_eq!(to_bare(&map), "a=b c d=e\"fé😀 g h=i");
        assert_eq!(to_text(&Datum::set([1]), &vlans), "[1]");
        assert_eq!(to_text(&Datum::integer(1), &column("Port", "tag")), "1");
        assert_eq!(to_text(&Datum::empty(), &column("Port", "tag")), "[]");
        assert_eq!(range("-3--1"), Some((-3, -1)));
        assert_eq!(range("+3-+5"), Some((3, 5)));
        assert_eq!(range("-3"), None);
    }

    proptest! {
        /// What is printed reads back as what it was.
        #[test]
        fn text_round_trip(entries in prop::collection::btree_map(".{0,6}", ".{0,6}", 0..4)) {
            let ids = column("Bridge", "external_ids");
            let without_nul = entries
                .into_iter()
                .filter(|(k, v)| !k.contains('\0') && !v.contains('\0'));
            let datum = Datum::map(without_nul);
            let text = to_text(&datum, &ids);
            prop_assert_eq!(parse(&text, &ids, &mut Symbols::default()).unwrap(), datum);
        }

        /// Nothing that can be typed makes the parser panic.
        #[test]
        fn any_text(text in r#"[-a-c0-9@=:,{}\[\]"\\ u\n]{0,16}"#) {
            for (table, name) in [("Bridge", "external_ids"), ("Bridge", "flood_vlans"),
                                  ("Port", "qos"), ("QoS", "queues"), ("Port", "tag")] {
                let _ = parse(&text, &column(table, name), &mut Symbols::default());
            }
        }
    }
}
