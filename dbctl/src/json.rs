//! JSON that a user wrote: on the command line, in a schema file, in a database file.
//!
//! What cannot be parsed is explained in the words and with the positions of the stock programs
//! (OVS `lib/json.c`): lines and columns count from 0, and a position is the number of bytes that
//! were read without fault. Values must be objects or arrays, as everywhere in this protocol.

use serde_json::Value;

/// Parses an object or an array.
///
/// Errors: `line L, column C, byte B: WHY`.
pub fn parse(text: &[u8]) -> Result<Value, String> {
    let parsed: Result<Value, _> = serde_json::from_slice(text);
    match parsed {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => Ok(value),
        Ok(_) => Err(explain(text).unwrap_or_else(|| "not an object or an array".to_owned())),
        Err(error) => Err(explain(text).unwrap_or_else(|| error.to_string())),
    }
}

/// What the stock parser finds wrong first; `None` when it finds nothing.
fn explain(text: &[u8]) -> Option<String> {
    let mut parser = Parser::default();
    match parser.run(text) {
        Ok(()) => None,
        Err(why) => Some(format!(
            "line {}, column {}, byte {}: {why}",
            parser.line, parser.column, parser.byte
        )),
    }
}

/// What the grammar allows next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Start,
    End,
    FirstMember,
    Member,
    Colon,
    MemberValue,
    MemberEnd,
    FirstElement,
    Element,
    ElementEnd,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    String,
    Scalar,
    Punctuation(u8),
}

struct Parser {
    line: usize,
    column: usize,
    byte: usize,
    expect: Expect,
    /// The brackets that are open.
    open: Vec<u8>,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            line: 0,
            column: 0,
            byte: 0,
            expect: Expect::Start,
            open: Vec::new(),
        }
    }
}

impl Parser {
    fn advance(&mut self, c: u8) {
        self.byte = self.byte.saturating_add(1);
        if c == b'\n' {
            self.line = self.line.saturating_add(1);
            self.column = 0;
        } else {
            self.column = self.column.saturating_add(1);
        }
    }

    fn run(&mut self, text: &[u8]) -> Result<(), String> {
        while let Some(&c) = text.get(self.byte) {
            match c {
                b' ' | b'\t' | b'\n' | b'\r' => self.advance(c),
                b'[' | b']' | b'{' | b'}' | b':' | b',' => {
                    self.token(Token::Punctuation(c))?;
                    self.advance(c);
                }
                b'a'..=b'z' | b'A'..=b'Z' => {
                    let word = self.take(text, |c| c.is_ascii_alphabetic());
                    if !matches!(word, b"true" | b"false" | b"null") {
                        let word = String::from_utf8_lossy(word);
                        return Err(format!("invalid keyword '{word}'"));
                    }
                    self.token(Token::Scalar)?;
                }
                b'-' | b'0'..=b'9' => {
                    let number = self.take(text, |c| b"+-.0123456789eE".contains(&c));
                    check_number(number)?;
                    self.token(Token::Scalar)?;
                }
                b'"' => self.string(text)?,
                c if c.is_ascii_graphic() => {
                    return Err(format!("invalid character '{}'", char::from(c)));
                }
                c => return Err(format!("invalid character U+{c:04x}")),
            }
        }
        // A word or number at the very end is known to be whole by a blank that is thought after it.
        if text.last().is_some_and(|c| c.is_ascii_alphanumeric()) {
            self.advance(b' ');
        }
        match self.expect {
            Expect::End => Ok(()),
            Expect::Start => Err("empty input stream".to_owned()),
            _ => Err("unexpected end of input".to_owned()),
        }
    }

    fn take<'t>(&mut self, text: &'t [u8], mut wanted: impl FnMut(u8) -> bool) -> &'t [u8] {
        let start = self.byte;
        while let Some(&c) = text.get(self.byte).filter(|c| wanted(**c)) {
            self.advance(c);
        }
        text.get(start..self.byte).unwrap_or_default()
    }

    fn string(&mut self, text: &[u8]) -> Result<(), String> {
        self.advance(b'"');
        let start = self.byte;
        loop {
            match text.get(self.byte) {
                None => return Err("unexpected end of input in quoted string".to_owned()),
                Some(b'"') => break,
                Some(c) if *c < 0x20 => {
                    return Err(format!("U+{c:04X} must be escaped in quoted string"));
                }
                Some(b'\\') => {
                    self.advance(b'\\');
                    if let Some(&c) = text.get(self.byte) {
                        self.advance(c);
                    }
                }
                Some(&c) => self.advance(c),
            }
        }
        let inner = text.get(start..self.byte).unwrap_or_default();
        check_escapes(inner)?;
        // The closing quote is not passed before the token is found good.
        self.token(Token::String)?;
        self.advance(b'"');
        Ok(())
    }

    fn token(&mut self, token: Token) -> Result<(), String> {
        use Expect::*;
        use Token::*;
        self.expect = match (self.expect, token) {
            (Start, Punctuation(b'{')) => self.enter(b'{'),
            (Start, Punctuation(b'[')) => self.enter(b'['),
            (Start, _) => return Err("syntax error at beginning of input".to_owned()),
            (End, _) => return Err("trailing garbage at end of input".to_owned()),
            (FirstMember, Punctuation(b'}')) => self.leave(),
            (FirstMember | Member, String) => Colon,
            (FirstMember | Member, _) => {
                return Err("syntax error parsing object expecting string".to_owned());
            }
            (Colon, Punctuation(b':')) => MemberValue,
            (Colon, _) => return Err("syntax error parsing object expecting ':'".to_owned()),
            (FirstElement, Punctuation(b']')) => self.leave(),
            (MemberValue | FirstElement | Element, Punctuation(c @ (b'{' | b'['))) => self.enter(c),
            (MemberValue, String | Scalar) => MemberEnd,
            (FirstElement | Element, String | Scalar) => ElementEnd,
            (MemberValue | FirstElement | Element, _) => {
                return Err("syntax error expecting value".to_owned());
            }
            (MemberEnd, Punctuation(b',')) => Member,
            (MemberEnd, Punctuation(b'}')) => self.leave(),
            (MemberEnd, _) => return Err("syntax error expecting '}' or ','".to_owned()),
            (ElementEnd, Punctuation(b',')) => Element,
            (ElementEnd, Punctuation(b']')) => self.leave(),
            (ElementEnd, _) => return Err("syntax error expecting ']' or ','".to_owned()),
        };
        Ok(())
    }

    fn enter(&mut self, bracket: u8) -> Expect {
        self.open.push(bracket);
        if bracket == b'{' {
            Expect::FirstMember
        } else {
            Expect::FirstElement
        }
    }

    fn leave(&mut self) -> Expect {
        self.open.pop();
        match self.open.last() {
            None => Expect::End,
            Some(b'{') => Expect::MemberEnd,
            Some(_) => Expect::ElementEnd,
        }
    }
}

fn check_number(number: &[u8]) -> Result<(), String> {
    fn digits(text: &[u8]) -> (usize, &[u8]) {
        let count = text.iter().take_while(|c| c.is_ascii_digit()).count();
        (count, text.get(count..).unwrap_or_default())
    }
    let unsigned = number.strip_prefix(b"-").unwrap_or(number);
    let (whole, mut rest) = digits(unsigned);
    if whole == 0 {
        return Err("'-' must be followed by digit".to_owned());
    }
    if whole > 1 && unsigned.starts_with(b"0") {
        return Err("leading zeros not allowed".to_owned());
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let (count, after) = digits(fraction);
        if count == 0 {
            return Err("decimal point must be followed by digit".to_owned());
        }
        rest = after;
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let unsigned = exponent
            .strip_prefix(b"+")
            .or_else(|| exponent.strip_prefix(b"-"))
            .unwrap_or(exponent);
        let (count, after) = digits(unsigned);
        if count == 0 {
            return Err("exponent must contain at least one digit".to_owned());
        }
        rest = after;
    }
    if !rest.is_empty() {
        return Err("syntax error in number".to_owned());
    }
    let value: Option<f64> = std::str::from_utf8(number)
        .ok()
        .and_then(|n| n.parse().ok());
    match value {
        Some(value) if value.is_finite() => Ok(()),
        _ => Err("number outside valid range".to_owned()),
    }
}

/// Checks the inside of a quoted string, which has no quote that is not escaped.
fn check_escapes(text: &[u8]) -> Result<(), String> {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|c| *c == b'\\') {
        let escape = rest.get(at.saturating_add(1)..).unwrap_or_default();
        let Some((c, after)) = escape.split_first() else {
            return Err("quoted string may not end with backslash".to_owned());
        };
        rest = after;
        match c {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
            b'u' => {
                let first = hex4(&mut rest)?;
                if first == 0 {
                    return Err("null bytes not supported in quoted strings".to_owned());
                }
                if (0xd800..0xdc00).contains(&first) {
                    rest = rest
                        .strip_prefix(b"\\u")
                        .ok_or("malformed escaped surrogate pair")?;
                    let second = hex4(&mut rest)?;
                    if !(0xdc00..0xe000).contains(&second) {
                        return Err("second half of escaped surrogate pair is not trailing \
                                    surrogate"
                            .to_owned());
                    }
                }
            }
            c => return Err(format!("bad escape \\{}", char::from(*c))),
        }
    }
    std::str::from_utf8(text)
        .map(drop)
        .map_err(|_| "not a valid UTF-8 string".to_owned())
}

fn hex4(rest: &mut &[u8]) -> Result<u32, String> {
    let Some((digits, after)) = rest.split_at_checked(4) else {
        return Err("quoted string ends within \\u escape".to_owned());
    };
    *rest = after;
    std::str::from_utf8(digits)
        .ok()
        .filter(|digits| digits.bytes().all(|c| c.is_ascii_hexdigit()))
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .ok_or_else(|| "malformed \\u escape".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts and what ovsdb-tool 3.1 says about them.
    #[test]
    fn words_of_the_stock_programs() {
        for (text, expected) in [
            ("", "line 0, column 0, byte 0: empty input stream"),
            (" ", "line 0, column 1, byte 1: empty input stream"),
            ("[", "line 0, column 1, byte 1: unexpected end of input"),
            ("[1", "line 0, column 3, byte 3: unexpected end of input"),
            (
                "[1,]",
                "line 0, column 3, byte 3: syntax error expecting value",
            ),
            (
                "{\"a\":}",
                "line 0, column 5, byte 5: syntax error expecting value",
            ),
            ("{a", "line 0, column 2, byte 2: invalid keyword 'a'"),
            (
                "{,",
                "line 0, column 1, byte 1: syntax error parsing object expecting string",
            ),
            (
                "[\"x",
                "line 0, column 3, byte 3: unexpected end of input in quoted string",
            ),
            ("[\"\\x\"]", "line 0, column 4, byte 4: bad escape \\x"),
            (
                "[01]",
                "line 0, column 3, byte 3: leading zeros not allowed",
            ),
            (
                "[-]",
                "line 0, column 2, byte 2: '-' must be followed by digit",
            ),
            (
                "[1.]",
                "line 0, column 3, byte 3: decimal point must be followed by digit",
            ),
            (
                "[1e]",
                "line 0, column 3, byte 3: exponent must contain at least one digit",
            ),
            ("[1-2]", "line 0, column 4, byte 4: syntax error in number"),
            ("[1]x", "line 0, column 4, byte 4: invalid keyword 'x'"),
            (
                "[1]]",
                "line 0, column 3, byte 3: trailing garbage at end of input",
            ),
            ("[#", "line 0, column 1, byte 1: invalid character '#'"),
            (
                "[\u{e9}]",
                "line 0, column 1, byte 1: invalid character U+00c3",
            ),
            (
                "{\"a\":1]",
                "line 0, column 6, byte 6: syntax error expecting '}' or ','",
            ),
            (
                "[1 2]",
                "line 0, column 4, byte 4: syntax error expecting ']' or ','",
            ),
            (
                "]",
                "line 0, column 0, byte 0: syntax error at beginning of input",
            ),
            (
                "\"x\"",
                "line 0, column 2, byte 2: syntax error at beginning of input",
            ),
            (
                "5",
                "line 0, column 1, byte 1: syntax error at beginning of input",
            ),
            (
                "true",
                "line 0, column 4, byte 4: syntax error at beginning of input",
            ),
            (
                "[\"\\ud800\"]",
                "line 0, column 8, byte 8: malformed escaped surrogate pair",
            ),
            (
                "[\"\t\"]",
                "line 0, column 2, byte 2: U+0009 must be escaped in quoted string",
            ),
            (
                "[\"\\u12\"]",
                "line 0, column 6, byte 6: quoted string ends within \\u escape",
            ),
            (
                "[1e999]",
                "line 0, column 6, byte 6: number outside valid range",
            ),
            (
                "[\n\n 1,\n x]",
                "line 3, column 2, byte 9: invalid keyword 'x'",
            ),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn agrees_with_the_parser_on_what_is_good() {
        for text in [
            "[]",
            "{\"a\":[1,-2.5e3,\"\\u00e9\\ud83d\\ude00\"],\"b\":{}}",
            " [null]\n",
        ] {
            assert!(parse(text.as_bytes()).is_ok(), "{text}");
            assert_eq!(explain(text.as_bytes()), None, "{text}");
        }
    }
}
