//! Colours of flows on a terminal.
//!
//! Each colour stands for a role in the text and can be changed: `ac=01;31:dr=34` are a bold red
//! `actions=` and a blue `drop`. What is coloured with which is what Open vSwitch colours.
//!
//! Source: ovs-ofctl(8), option `--color`.

/// What a piece of text is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// `actions=`
    Actions,
    /// `drop`
    Drop,
    /// `learn(`
    Learn,
    /// The name of something that has a value.
    Param,
    /// The name of an action with arguments, and its parentheses.
    Paren,
    /// What deserves attention: `output:`, `priority=`.
    Special,
    /// A word that stands alone.
    Value,
}

/// Name in the text that changes a colour, and the default.
const DEFAULTS: [(&str, &str); 7] = [
    ("ac", "1;31"),
    ("dr", "34"),
    ("le", "31"),
    ("pm", "36"),
    ("pr", "35"),
    ("sp", "33"),
    ("vl", "32"),
];

/// After each coloured text.
pub const END: &str = "\x1b[m\x1b[K";

/// The sequence that switches each colour on, in the order of [`Tone`].
#[derive(Clone, Debug)]
pub struct Colors([String; DEFAULTS.len()]);

impl Colors {
    /// The defaults with the changes that `wanted` names. Names that mean nothing and values
    /// other than digits and semicolons are passed over.
    pub fn new(wanted: &str) -> Colors {
        let mut colors = Colors(DEFAULTS.map(|(_, color)| sequence(color)));
        for word in wanted.split(':') {
            let Some((name, color)) = word.split_once('=') else {
                continue;
            };
            let is_color = color.bytes().all(|b| b.is_ascii_digit() || b == b';');
            let mut slots = DEFAULTS.iter().zip(&mut colors.0);
            if is_color && let Some((_, slot)) = slots.find(|((known, _), _)| *known == name) {
                *slot = sequence(color);
            }
        }
        colors
    }

    /// What switches the colour on.
    pub fn begin(&self, tone: Tone) -> &str {
        self.0.get(tone as usize).map_or("", String::as_str)
    }
}

fn sequence(color: &str) -> String {
    format!("\x1b[{color}m\x1b[K")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes() {
        let shown = |wanted: &str, tone| Colors::new(wanted).begin(tone).to_owned();
        assert_eq!(shown("", Tone::Drop), "\x1b[34m\x1b[K");
        for (wanted, color) in [
            ("dr=1;2", "1;2"),
            ("dr=1:pm=2:dr=3", "3"),
            ("dr=", ""),
            ("dr=x:ac=5", "34"),
            ("dr", "34"),
            ("foo=7", "34"),
        ] {
            let want = format!("\x1b[{color}m\x1b[K");
            assert_eq!(shown(wanted, Tone::Drop), want, "{wanted}");
        }
    }
}
