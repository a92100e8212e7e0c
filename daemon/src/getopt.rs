//! Command-line options as getopt_long(3) reads them: `--name=VALUE`, `--name VALUE`, unique
//! prefixes of long names, `-xVALUE`, bundled short flags and `--`.
//!
//! The messages are those of GNU getopt, which scripts and tests compare. Called by
//! [`crate::options`] and by the tools; it knows no option itself.

use thiserror::Error;

/// Whether an option takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    None,
    Required,
    /// Only as `--name=VALUE` or `-xVALUE`.
    Optional,
}

/// One option that a program knows. `long` may be empty for an option with a short form only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt {
    pub long: &'static str,
    pub short: Option<char>,
    pub value: Value,
}

impl Opt {
    pub const fn new(long: &'static str, short: Option<char>, value: Value) -> Self {
        Opt { long, short, value }
    }

    /// `--long`, or `-x` for an option without a long name.
    pub fn display(&self) -> String {
        match self.short {
            Some(short) if self.long.is_empty() => format!("-{short}"),
            _ => format!("--{}", self.long),
        }
    }
}

/// Options in the order given, and the other arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    pub options: Vec<(Opt, Option<String>)>,
    pub arguments: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("unrecognized option '{0}'")]
    Unrecognized(String),
    #[error("invalid option -- '{0}'")]
    Invalid(char),
    #[error("option '{0}' requires an argument")]
    MissingValue(String),
    #[error("option requires an argument -- '{0}'")]
    MissingShortValue(char),
    #[error("option '{0}' doesn't allow an argument")]
    UnexpectedValue(String),
    #[error("option '{given}' is ambiguous; possibilities:{}", list(.possibilities))]
    Ambiguous {
        given: String,
        possibilities: Vec<&'static str>,
    },
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!(" '--{name}'")).collect()
}

/// Parses all options, also those after the first argument.
pub fn parse(known: &[Opt], args: impl IntoIterator<Item = String>) -> Result<Parsed, Error> {
    let mut parser = Parser::new(known, args);
    while let Some(arg) = parser.step()? {
        parser.parsed.arguments.push(arg);
    }
    Ok(parser.finish())
}

/// Parses options up to the first argument; that one and all that follow stay arguments. For
/// tools whose commands have options of their own, such as `vsctl`.
pub fn parse_leading(
    known: &[Opt],
    args: impl IntoIterator<Item = String>,
) -> Result<Parsed, Error> {
    let mut parser = Parser::new(known, args);
    if let Some(arg) = parser.step()? {
        parser.parsed.arguments.push(arg);
    }
    Ok(parser.finish())
}

/// The program's arguments after its name, with invalid UTF-8 replaced, so that a message can
/// name what was given.
pub fn command_line() -> Vec<String> {
    std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect()
}

struct Parser<'a, I: Iterator<Item = String>> {
    known: &'a [Opt],
    rest: I,
    parsed: Parsed,
}

impl<'a, I: Iterator<Item = String>> Parser<'a, I> {
    fn new(known: &'a [Opt], args: impl IntoIterator<IntoIter = I>) -> Self {
        Parser {
            known,
            rest: args.into_iter(),
            parsed: Parsed::default(),
        }
    }

    /// Takes options up to the next argument and returns that; `None` at `--` and at the end.
    fn step(&mut self) -> Result<Option<String>, Error> {
        while let Some(arg) = self.rest.next() {
            if arg == "--" {
                return Ok(None);
            } else if let Some(long) = arg.strip_prefix("--") {
                self.long(&arg, long)?;
            } else if arg.len() > 1 && arg.starts_with('-') {
                self.short(&arg)?;
            } else {
                return Ok(Some(arg));
            }
        }
        Ok(None)
    }

    fn finish(mut self) -> Parsed {
        self.parsed.arguments.extend(self.rest);
        self.parsed
    }

    fn long(&mut self, arg: &str, long: &str) -> Result<(), Error> {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let opt = self.find_long(arg, name)?;
        let value = match (opt.value, value) {
            (Value::None, Some(_)) => return Err(Error::UnexpectedValue(opt.display())),
            (Value::Required, None) => match self.rest.next() {
                Some(value) => Some(value),
                None => return Err(Error::MissingValue(opt.display())),
            },
            (_, value) => value,
        };
        self.parsed.options.push((opt, value));
        Ok(())
    }

    fn find_long(&self, arg: &str, name: &str) -> Result<Opt, Error> {
        if let Some(opt) = self
            .known
            .iter()
            .find(|o| !o.long.is_empty() && o.long == name)
        {
            return Ok(*opt);
        }
        let prefixed: Vec<&Opt> = self
            .known
            .iter()
            .filter(|o| !name.is_empty() && o.long.starts_with(name))
            .collect();
        match prefixed.as_slice() {
            [] => Err(Error::Unrecognized(format!("--{name}"))),
            [opt] => Ok(**opt),
            several => Err(Error::Ambiguous {
                given: arg.to_owned(),
                possibilities: several.iter().map(|o| o.long).collect(),
            }),
        }
    }

    fn short(&mut self, arg: &str) -> Result<(), Error> {
        let mut letters = arg.chars();
        letters.next();
        while let Some(letter) = letters.next() {
            let Some(opt) = self.known.iter().find(|o| o.short == Some(letter)).copied() else {
                return Err(Error::Invalid(letter));
            };
            let attached = letters.as_str();
            let value = match opt.value {
                Value::None => {
                    self.parsed.options.push((opt, None));
                    continue;
                }
                Value::Optional if attached.is_empty() => None,
                Value::Required if attached.is_empty() => match self.rest.next() {
                    Some(value) => Some(value),
                    None => return Err(Error::MissingShortValue(letter)),
                },
                Value::Required | Value::Optional => Some(attached.to_owned()),
            };
            self.parsed.options.push((opt, value));
            return Ok(());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Opt] = &[
        Opt::new("target", Some('t'), Value::Required),
        Opt::new("timeout", Some('T'), Value::Required),
        Opt::new("pidfile", None, Value::Optional),
        Opt::new("pid", None, Value::None),
        Opt::new("verbose", Some('v'), Value::Optional),
        Opt::new("help", Some('h'), Value::None),
    ];

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn options(text: &str) -> Vec<(String, Option<String>)> {
        parse(KNOWN, words(text))
            .unwrap()
            .options
            .into_iter()
            .map(|(o, v)| (o.long.to_owned(), v))
            .collect()
    }

    #[test]
    fn values_and_prefixes() {
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(
            options("--ta=x --timeout 5 --pidfile --pidf=z --pid -tq -T 7 -v -vdbg -hv"),
            [
                ("target".into(), some("x")),
                ("timeout".into(), some("5")),
                ("pidfile".into(), None),
                ("pidfile".into(), some("z")),
                ("pid".into(), None),
                ("target".into(), some("q")),
                ("timeout".into(), some("7")),
                ("verbose".into(), None),
                ("verbose".into(), some("dbg")),
                ("help".into(), None),
                ("verbose".into(), None),
            ]
        );
    }

    #[test]
    fn arguments_stay_in_order() {
        let parsed = parse(KNOWN, words("a -h b -- --c -d")).unwrap();
        assert_eq!(parsed.arguments, ["a", "b", "--c", "-d"]);
        assert_eq!(parsed.options.len(), 1);
        let parsed = parse_leading(KNOWN, words("-h a -h b")).unwrap();
        assert_eq!(parsed.arguments, ["a", "-h", "b"]);
        assert_eq!(parsed.options.len(), 1);
    }

    #[test]
    fn messages_of_getopt() {
        let error = |text: &str| parse(KNOWN, words(text)).unwrap_err().to_string();
        assert_eq!(error("--bogus"), "unrecognized option '--bogus'");
        assert_eq!(error("-x"), "invalid option -- 'x'");
        assert_eq!(error("--target"), "option '--target' requires an argument");
        assert_eq!(error("-t"), "option requires an argument -- 't'");
        assert_eq!(
            error("--help=1"),
            "option '--help' doesn't allow an argument"
        );
        assert_eq!(
            error("--t=1"),
            "option '--t=1' is ambiguous; possibilities: '--target' '--timeout'"
        );
    }
}
