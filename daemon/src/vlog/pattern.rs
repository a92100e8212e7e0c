//! Conversion patterns of log lines, such as `%D{%H:%M:%S}|%05N|%c%T|%p|%m`.
//!
//! Source: ovs-appctl(8), "vlog/set PATTERN".

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use super::Level;
use super::time::Utc;

pub(super) const CONSOLE: &str = "%D{%Y-%m-%dT%H:%M:%SZ}|%05N|%c%T|%p|%m";
pub(super) const SYSLOG: &str = "ovs|%05N|%c%T|%p|%m";
pub(super) const FILE: &str = "%D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c%T|%p|%m";

/// A pattern longer than this is cut, and so are widths.
const MAX_PATTERN: usize = 1024;
const MAX_WIDTH: usize = 256;

/// What a line is made from.
pub(super) struct Record<'a> {
    pub program: &'a str,
    pub module: &'a str,
    pub level: Level,
    pub text: &'a str,
    pub sequence: u64,
    /// Empty for the main thread.
    pub thread: &'a str,
    pub now: SystemTime,
    pub since_start: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(String);

impl Pattern {
    pub fn new(text: &str) -> Pattern {
        Pattern(text.chars().take(MAX_PATTERN).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The line for `record`, without a newline at its end. Unknown conversions stay as they are.
    pub fn format(&self, record: &Record<'_>) -> String {
        let mut line = String::with_capacity(record.text.len().saturating_add(64));
        let mut rest = self.0.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                line.push(c);
                continue;
            }
            let spec = rest.as_str();
            let after_flags = spec.trim_start_matches(['-', '0']);
            let flags = before(spec, after_flags);
            let after_width = after_flags.trim_start_matches(|c: char| c.is_ascii_digit());
            let width: usize = before(after_flags, after_width)
                .parse()
                .unwrap_or(0)
                .min(MAX_WIDTH);
            rest = after_width.chars();
            let Some(conversion) = rest.next() else {
                line.push('%');
                break;
            };
            let argument = braces(&mut rest);
            let text = convert(conversion, argument, record);
            pad(&mut line, &text, flags, width);
        }
        line
    }
}

/// What of `text` comes before its own tail `tail`.
fn before<'a>(text: &'a str, tail: &str) -> &'a str {
    text.strip_suffix(tail).unwrap_or("")
}

/// Takes `{...}` if it comes next.
fn braces<'a>(rest: &mut std::str::Chars<'a>) -> Option<&'a str> {
    let (argument, after) = rest.as_str().strip_prefix('{')?.split_once('}')?;
    *rest = after.chars();
    Some(argument)
}

fn convert(conversion: char, argument: Option<&str>, record: &Record<'_>) -> String {
    match conversion {
        'A' => record.program.to_owned(),
        'B' => syslog_severity_name(record.level).to_owned(),
        'c' => record.module.to_owned(),
        'd' | 'D' => date(argument.unwrap_or("%Y-%m-%d %H:%M:%S.###"), record.now),
        'E' => hostname(),
        'm' => record.text.to_owned(),
        'N' => record.sequence.to_string(),
        'n' => "\n".to_owned(),
        'p' => record.level.name().to_owned(),
        'P' => std::process::id().to_string(),
        'r' => record.since_start.as_millis().to_string(),
        't' => match record.thread {
            "" => argument.unwrap_or("main").to_owned(),
            name => name.to_owned(),
        },
        'T' => match record.thread {
            "" => argument.unwrap_or("").to_owned(),
            name => format!("({name})"),
        },
        '%' => "%".to_owned(),
        other => format!("%{other}"),
    }
}

fn pad(line: &mut String, text: &str, flags: &str, width: usize) {
    let missing = width.saturating_sub(text.chars().count());
    if flags.contains('-') {
        line.push_str(text);
        line.extend(std::iter::repeat_n(' ', missing));
    } else {
        let fill = if flags.contains('0') { '0' } else { ' ' };
        line.extend(std::iter::repeat_n(fill, missing));
        line.push_str(text);
    }
}

/// strftime(3) as far as log patterns use it; `###` are milliseconds.
fn date(format: &str, now: SystemTime) -> String {
    let t = Utc::from(now);
    let mut out = String::with_capacity(32);
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        // Writing to a String cannot fail.
        let _ = match chars.next() {
            Some('Y') => write!(out, "{:04}", t.year),
            Some('y') => write!(out, "{:02}", t.year.rem_euclid(100)),
            Some('m') => write!(out, "{:02}", t.month),
            Some('d') => write!(out, "{:02}", t.day),
            Some('e') => write!(out, "{:2}", t.day),
            Some('h' | 'b') => write!(out, "{}", t.month_name()),
            Some('H') => write!(out, "{:02}", t.hour),
            Some('M') => write!(out, "{:02}", t.minute),
            Some('S') => write!(out, "{:02}", t.second),
            Some('T') => write!(out, "{:02}:{:02}:{:02}", t.hour, t.minute, t.second),
            Some('F') => write!(out, "{:04}-{:02}-{:02}", t.year, t.month, t.day),
            Some('%') => write!(out, "%"),
            Some(other) => write!(out, "%{other}"),
            None => write!(out, "%"),
        };
    }
    out.replace("###", &format!("{:03}", t.millisecond))
}

pub(super) fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}

/// RFC 5424, 6.2.1.
pub(super) fn syslog_severity(level: Level) -> u8 {
    match level {
        Level::Off | Level::Emer => 1,
        Level::Err => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Dbg => 7,
    }
}

fn syslog_severity_name(level: Level) -> &'static str {
    match level {
        Level::Off | Level::Emer => "alert",
        Level::Err => "err",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Dbg => "debug",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn record() -> Record<'static> {
        Record {
            program: "vswitchd",
            module: "bridge",
            level: Level::Warn,
            text: "port p1: gone",
            sequence: 7,
            thread: "",
            now: UNIX_EPOCH + Duration::from_millis(1_795_173_904_042),
            since_start: Duration::from_millis(12),
        }
    }

    #[test]
    fn default_patterns() {
        let line = |p: &str| Pattern::new(p).format(&record());
        assert_eq!(
            line(CONSOLE),
            "2026-11-20T11:25:04Z|00007|bridge|WARN|port p1: gone"
        );
        assert_eq!(
            line(FILE),
            "2026-11-20T11:25:04.042Z|00007|bridge|WARN|port p1: gone"
        );
        let mut threaded = record();
        threaded.thread = "handler1";
        assert_eq!(
            Pattern::new(SYSLOG).format(&threaded),
            "ovs|00007|bridge(handler1)|WARN|port p1: gone"
        );
    }

    #[test]
    fn widths_and_oddities() {
        let line = |p: &str| Pattern::new(p).format(&record());
        assert_eq!(line("[%-8p|%8p]"), "[WARN    |    WARN]");
        assert_eq!(line("%t %T{x} %%%q%"), "main x %%q%");
        assert_eq!(line("%D{%h %e %T}"), "Nov 20 11:25:04");
        assert!(line("%99999999999999999999p").len() < 300);
    }
}
