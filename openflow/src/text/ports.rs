//! Ports and tables in text: numbers, keywords and, where the caller knows them, names.

use std::collections::BTreeMap;
use std::fmt::Write;

use packet::OfPort;

use super::colors::{self, Colors, Tone};
use super::value;

/// The keywords for reserved ports (OpenFlow 1.3.5, 7.2.1).
const KEYWORDS: [(&str, OfPort); 9] = [
    ("IN_PORT", OfPort::IN_PORT),
    ("TABLE", OfPort::TABLE),
    ("NORMAL", OfPort::NORMAL),
    ("FLOOD", OfPort::FLOOD),
    ("ALL", OfPort::ALL),
    ("CONTROLLER", OfPort::CONTROLLER),
    ("LOCAL", OfPort::LOCAL),
    ("ANY", OfPort::ANY),
    ("UNSET", OfPort::UNSET),
];

/// Names of a bridge's ports and tables, as far as they are known and wanted, and the colours
/// that text is printed in.
///
/// A name that two ports share stands for neither.
#[derive(Clone, Default, Debug)]
pub struct Names {
    port_of: BTreeMap<String, Option<OfPort>>,
    name_of: BTreeMap<OfPort, String>,
    table_of: BTreeMap<String, Option<u8>>,
    name_of_table: BTreeMap<u8, String>,
    colors: Option<Box<Colors>>,
}

impl Names {
    /// Numbers only.
    pub fn none() -> Names {
        Names::default()
    }

    /// The same, with colours.
    pub fn with_colors(self, colors: Option<&Colors>) -> Names {
        let colors = colors.cloned().map(Box::new);
        Names { colors, ..self }
    }

    pub fn has_colors(&self) -> bool {
        self.colors.is_some()
    }

    /// Prints `text` in its colour, if there are colours.
    pub fn paint(&self, out: &mut String, tone: Tone, text: &str) {
        self.label(out, tone, text, "");
    }

    /// Prints a name and the delimiter behind it in one colour.
    pub fn label(&self, out: &mut String, tone: Tone, name: &str, delimiter: &str) {
        if let Some(colors) = &self.colors {
            out.push_str(colors.begin(tone));
        }
        out.push_str(name);
        out.push_str(delimiter);
        if self.colors.is_some() {
            out.push_str(colors::END);
        }
    }

    pub fn add_port(&mut self, port: OfPort, name: &str) {
        let unique = |old: Option<OfPort>| if old == Some(port) { old } else { None };
        self.port_of
            .entry(name.to_owned())
            .and_modify(|old| *old = unique(*old))
            .or_insert(Some(port));
        self.name_of.insert(port, name.to_owned());
    }

    pub fn add_table(&mut self, table: u8, name: &str) {
        if name.is_empty() {
            return;
        }
        let unique = |old: Option<u8>| if old == Some(table) { old } else { None };
        self.table_of
            .entry(name.to_owned())
            .and_modify(|old| *old = unique(*old))
            .or_insert(Some(table));
        self.name_of_table.insert(table, name.to_owned());
    }

    /// The port that `text` means: a decimal number, a keyword in any case, or a name.
    pub fn port(&self, text: &str) -> Option<OfPort> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let n: u32 = text.parse().ok()?;
            return match u16::try_from(n) {
                Ok(n) => Some(OfPort::from_u16(n)),
                Err(_) if n >= 0xffff_ff00 => Some(OfPort(n)),
                Err(_) => None,
            };
        }
        if text.eq_ignore_ascii_case("NONE") {
            return Some(OfPort::ANY);
        }
        if let Some(port) = keyword(text) {
            return Some(port);
        }
        self.port_of.get(&value::unquote(text)?).copied().flatten()
    }

    /// The table that `text` means: a number up to 255, or a name.
    pub fn table(&self, text: &str) -> Option<u8> {
        if text.bytes().next().is_some_and(|b| b.is_ascii_digit()) {
            return value::u8_value(text);
        }
        self.table_of.get(&value::unquote(text)?).copied().flatten()
    }

    /// Prints a port: its keyword, its name when known, else its number.
    pub fn write_port(&self, out: &mut String, port: OfPort) {
        if let Some(word) = keyword_of(port) {
            out.push_str(word);
        } else if let Some(name) = self.port_name(port) {
            value::write_name(out, name);
        } else {
            let _ = write!(out, "{}", port_number(port));
        }
    }

    /// Prints a table: its name when known, else its number.
    pub fn write_table(&self, out: &mut String, table: u8) {
        match self.name_of_table.get(&table) {
            Some(name) if self.table_of.get(name) == Some(&Some(table)) => {
                value::write_name(out, name);
            }
            _ => {
                let _ = write!(out, "{table}");
            }
        }
    }

    fn port_name(&self, port: OfPort) -> Option<&str> {
        let name = self.name_of.get(&port)?;
        (self.port_of.get(name) == Some(&Some(port))).then_some(name.as_str())
    }
}

/// The reserved port that `text` is the keyword of, in any case.
pub fn keyword(text: &str) -> Option<OfPort> {
    let is = |(word, _): &&(&str, OfPort)| word.eq_ignore_ascii_case(text);
    KEYWORDS.iter().find(is).map(|(_, port)| *port)
}

/// The keyword of a reserved port.
pub fn keyword_of(port: OfPort) -> Option<&'static str> {
    KEYWORDS
        .iter()
        .find(|(_, p)| *p == port)
        .map(|(word, _)| *word)
}

/// The number that is printed: the 16-bit one where there is one.
pub fn port_number(port: OfPort) -> u32 {
    port.to_u16().map_or(port.0, u32::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keywords_and_names() {
        let mut names = Names::none();
        names.add_port(OfPort(1), "eth0");
        names.add_port(OfPort(2), "br-int");
        names.add_port(OfPort(3), "twin");
        names.add_port(OfPort(4), "twin");
        for (text, want) in [
            ("0", Some(OfPort(0))),
            ("65534", Some(OfPort::LOCAL)),
            ("4294967294", Some(OfPort::LOCAL)),
            ("65536", None),
            ("local", Some(OfPort::LOCAL)),
            ("NONE", Some(OfPort::ANY)),
            ("0x1", None),
            ("", None),
            ("eth0", Some(OfPort(1))),
            ("\"br-int\"", Some(OfPort(2))),
            ("twin", None),
        ] {
            assert_eq!(names.port(text), want, "{text}");
        }
        for (port, want) in [
            (OfPort(1), "eth0"),
            (OfPort(2), "\"br-int\""),
            (OfPort(3), "3"),
            (OfPort::LOCAL, "LOCAL"),
            (OfPort::from_u16(0xff01), "65281"),
        ] {
            let mut s = String::new();
            names.write_port(&mut s, port);
            assert_eq!(s, want);
        }
    }
}
