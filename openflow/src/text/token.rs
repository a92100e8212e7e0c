//! Splits flow text into `key=value`, `key:value` and `key(value)` pairs.
//!
//! Pairs are separated by commas or white space. A value ends at the next separator, or after `(`
//! at the matching `)`; parentheses nest, and a double-quoted string hides its content. Two forms
//! are special: `key(x)->y` is one pair whose value is `x)->y`, and a key may stand alone.
//! Source: OVS `lib/ofp-parse.c`, `ofputil_parse_key_value`; ovs-actions(7), "Syntax".

/// A part of the text being parsed that knows where in it it starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece<'a> {
    pub text: &'a str,
    /// Byte offset in the whole text.
    pub at: usize,
}

/// Characters that separate pairs.
const SEPARATORS: [char; 5] = [',', ' ', '\t', '\r', '\n'];

impl<'a> Piece<'a> {
    pub fn new(text: &'a str) -> Piece<'a> {
        Piece { text, at: 0 }
    }

    /// Splits at byte `i`, which is a character boundary; otherwise the second half is empty.
    fn split_at(self, i: usize) -> (Piece<'a>, Piece<'a>) {
        let (a, b) = self.text.split_at_checked(i).unwrap_or((self.text, ""));
        let rest = Piece {
            text: b,
            at: self.at + a.len(),
        };
        (
            Piece {
                text: a,
                at: self.at,
            },
            rest,
        )
    }

    /// Without the first `n` bytes.
    pub fn skip(self, n: usize) -> Piece<'a> {
        self.split_at(n).1
    }

    pub fn split_once(self, separator: &str) -> Option<(Piece<'a>, Piece<'a>)> {
        let i = self.text.find(separator)?;
        let (a, b) = self.split_at(i);
        Some((a, b.skip(separator.len())))
    }

    /// Without separators at the front.
    pub fn trim_start(self) -> Piece<'a> {
        let text = self.text.trim_start_matches(SEPARATORS);
        self.skip(self.text.len() - text.len())
    }

    pub fn trim_end(self) -> Piece<'a> {
        Piece {
            text: self.text.trim_end_matches(SEPARATORS),
            at: self.at,
        }
    }

    pub fn is_empty(self) -> bool {
        self.text.is_empty()
    }

    /// The next whitespace- or comma-delimited word, and the rest.
    pub fn word(self) -> (Piece<'a>, Piece<'a>) {
        let s = self.trim_start();
        let end = s.text.find(SEPARATORS).unwrap_or(s.text.len());
        s.split_at(end)
    }
}

/// What stood between a key and its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delimiter {
    None,
    Colon,
    Equals,
    Paren,
}

/// One pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pair<'a> {
    pub key: Piece<'a>,
    pub delimiter: Delimiter,
    /// Empty when there is none.
    pub value: Piece<'a>,
    /// Key, delimiter and value together.
    pub whole: Piece<'a>,
}

/// Iterates over the pairs of a text.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    rest: Piece<'a>,
}

impl<'a> Pairs<'a> {
    pub fn new(text: Piece<'a>) -> Pairs<'a> {
        Pairs { rest: text }
    }

    /// The text after the pairs already taken.
    pub fn rest(&self) -> Piece<'a> {
        self.rest
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        let start = self.rest.trim_start();
        if start.is_empty() {
            self.rest = start;
            return None;
        }
        // A quoted key is a port name.
        let key_end = if start.text.starts_with('"') {
            value_end(start.text, |c| {
                c == ':' || c == '=' || c == '(' || is_separator(c)
            })
        } else {
            let ends = |c: char| c == ':' || c == '=' || c == '(' || is_separator(c);
            start.text.find(ends).unwrap_or(start.text.len())
        };
        let (key, after) = start.split_at(key_end);
        let delimiter = match after.text.as_bytes().first() {
            Some(b':') => Delimiter::Colon,
            Some(b'=') => Delimiter::Equals,
            Some(b'(') => Delimiter::Paren,
            _ => Delimiter::None,
        };
        let (value, rest) = match delimiter {
            Delimiter::None => after.split_at(0),
            Delimiter::Colon | Delimiter::Equals => {
                let value = after.skip(1);
                value.split_at(value_end(value.text, is_separator))
            }
            Delimiter::Paren => {
                let value = after.skip(1);
                let mut end = value_end(value.text, |c| c == ')');
                let tail = value.text.get(end..).unwrap_or("");
                if let Some(target) = tail.strip_prefix(")->") {
                    end += 3 + value_end(target, is_separator);
                    value.split_at(end)
                } else {
                    let (value, rest) = value.split_at(end);
                    (value, rest.skip(usize::from(!rest.is_empty())))
                }
            }
        };
        self.rest = rest;
        let (whole, _) = start.split_at(rest.at - start.at);
        Some(Pair {
            key,
            delimiter,
            value,
            whole,
        })
    }
}

fn is_separator(c: char) -> bool {
    SEPARATORS.contains(&c)
}

/// Offset of the first character outside parentheses and quotes for which `ends` is true.
fn value_end(s: &str, ends: impl Fn(char) -> bool) -> usize {
    let mut depth = 0usize;
    let mut quoted = false;
    let mut escaped = false;
    for (i, c) in s.char_indices() {
        if quoted {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = false,
                _ => {}
            }
            continue;
        }
        if depth == 0 && ends(c) {
            return i;
        }
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '"' => quoted = true,
            _ => {}
        }
    }
    s.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(s: &str) -> Vec<(&str, &str)> {
        Pairs::new(Piece::new(s))
            .map(|p| (p.key.text, p.value.text))
            .collect()
    }

    #[test]
    fn pairs_of_each_form() {
        assert_eq!(
            pairs("a=1, b:2\tc(3,4) d,,e=(0,0x800) f(x(y,z),w)"),
            [
                ("a", "1"),
                ("b", "2"),
                ("c", "3,4"),
                ("d", ""),
                ("e", "(0,0x800)"),
                ("f", "x(y,z),w")
            ]
        );
        assert_eq!(
            pairs("check(5)->r[0],x"),
            [("check", "5)->r[0]"), ("x", "")]
        );
        assert_eq!(
            pairs("output:\"a,b\",\"c d\""),
            [("output", "\"a,b\""), ("\"c d\"", "")]
        );
        assert_eq!(pairs("resubmit(1"), [("resubmit", "1")]);
        assert_eq!(pairs("resubmit(,1)"), [("resubmit", ",1")]);
    }

    #[test]
    fn pieces_know_their_place() {
        let text = "ip, bad=1";
        let last = Pairs::new(Piece::new(text)).last().unwrap();
        assert_eq!((last.key.at, last.value.at), (4, 8));
        assert_eq!(last.whole.text, "bad=1");
    }
}
