//! Who may come in, from a request's headers: no web page that was not allowed, nobody under a
//! name that is not ours, nobody with a wrong token.
//!
//! A page in a browser can make requests to a loopback address, and by a name whose address it
//! changes (DNS rebinding) it can make them look like its own. The first has the page's `Origin`,
//! the second the page's name as `Host`.
//!
//! Source: RFC 6454 (`Origin`), RFC 6750 (bearer tokens), the Fetch standard (CORS).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hyper::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use hyper::{HeaderMap, StatusCode};

use super::token::TokenFile;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Names besides `localhost` and IP addresses, in lower case.
    pub hosts: Vec<String>,
    pub origins: Vec<String>,
    pub token: Option<Arc<TokenFile>>,
}

/// Why a request is not served.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub text: String,
}

/// What came in with a request that may.
#[derive(Debug, Clone, Default)]
pub(super) struct Admitted {
    /// What lets the client write; without it, it may read.
    pub credential: Option<Credential>,
    /// The allowed page that asks; it is told so.
    pub origin: Option<String>,
}

/// A token that was right when it came.
#[derive(Debug, Clone)]
pub(super) struct Credential {
    token: Arc<str>,
    file: Arc<TokenFile>,
}

impl Credential {
    /// Whether the token has not been replaced since.
    pub fn is_valid(&self) -> bool {
        self.file.accepts(&self.token)
    }
}

impl Guard {
    pub fn admit(&self, headers: &HeaderMap) -> Result<Admitted, Refusal> {
        let host = self.check_host(headers)?;
        Ok(Admitted {
            origin: self.check_origin(headers, host)?,
            credential: self.check_token(headers)?,
        })
    }

    fn check_host<'h>(&self, headers: &'h HeaderMap) -> Result<&'h str, Refusal> {
        let host = one(headers, HOST)?.ok_or_else(|| Refusal {
            status: StatusCode::BAD_REQUEST,
            text: "the request has no Host header".to_owned(),
        })?;
        let name = without_port(host);
        // An address cannot be made to point elsewhere.
        if name.parse::<Ipv4Addr>().is_ok() || is_ipv6(name) {
            return Ok(host);
        }
        let name = name.to_ascii_lowercase();
        if name == "localhost" || self.hosts.contains(&name) {
            return Ok(host);
        }
        Err(Refusal {
            status: StatusCode::FORBIDDEN,
            text: format!(
                "the server is not known as {name:?} (--http-allow-host=NAME makes it known)"
            ),
        })
    }

    /// No `Origin`: not a browser's page. Our own: a page that came from here.
    fn check_origin(&self, headers: &HeaderMap, host: &str) -> Result<Option<String>, Refusal> {
        let Some(origin) = one(headers, ORIGIN)? else {
            return Ok(None);
        };
        let own = origin.strip_prefix("http://");
        if own.is_some_and(|own| own.eq_ignore_ascii_case(host)) {
            return Ok(None);
        }
        if self.origins.iter().any(|allowed| allowed == origin) {
            return Ok(Some(origin.to_owned()));
        }
        Err(Refusal {
            status: StatusCode::FORBIDDEN,
            text: format!(
                "pages of {origin:?} may not call this server (--http-allow-origin=ORIGIN lets them)"
            ),
        })
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<Option<Credential>, Refusal> {
        let refuse = |text: &str| Refusal {
            status: StatusCode::UNAUTHORIZED,
            text: text.to_owned(),
        };
        let Some(value) = one(headers, AUTHORIZATION)? else {
            return Ok(None);
        };
        let token = match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => token.trim(),
            _ => return Err(refuse("only bearer tokens are accepted")),
        };
        let Some(file) = &self.token else {
            return Err(refuse(
                "no token is configured (--http-token-file=FILE names its file)",
            ));
        };
        if !file.accepts(token) {
            return Err(refuse("the token is wrong"));
        }
        Ok(Some(Credential {
            token: token.into(),
            file: file.clone(),
        }))
    }
}

/// The one value of a header; two could mean different things to us and to who is in between.
fn one(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Refusal> {
    let bad = |text: &str| Refusal {
        status: StatusCode::BAD_REQUEST,
        text: format!("the request's {name} header {text}"),
    };
    let mut values = headers.get_all(&name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(bad("is there twice"));
    }
    value.to_str().map(Some).map_err(|_| bad("is not ASCII"))
}

/// `HOST` of `HOST[:PORT]`, where an IPv6 address is in brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_ipv6(name: &str) -> bool {
    let inner = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
}

/// An origin as browsers send it: scheme, host, and the port unless it is the scheme's own.
pub(super) fn parse_origin(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    if !matches!(scheme, "http" | "https") {
        return None;
    }
    let name = without_port(rest);
    let name_good = is_ipv6(name) || parse_host_name(name).is_some();
    let port = rest.strip_prefix(name)?.strip_prefix(':');
    let port_good = match port {
        None => rest == name,
        Some(port) => port.parse::<u16>().is_ok_and(|number| {
            number.to_string() == port && number != if scheme == "http" { 80 } else { 443 }
        }),
    };
    (name_good && port_good).then(|| text.to_ascii_lowercase())
}

/// A host name in lower case.
pub(super) fn parse_host_name(text: &str) -> Option<String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!text.is_empty() && text.bytes().all(good)).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn status(guard: &Guard, headers: &[(HeaderName, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        match guard.admit(&map) {
            Ok(_) => 200,
            Err(refusal) => refusal.status.as_u16(),
        }
    }

    #[test]
    fn hosts() {
        let guard = Guard {
            hosts: vec!["db.example".to_owned()],
            ..Guard::default()
        };
        for (host, expected) in [
            ("127.0.0.1", 200),
            ("127.0.0.1:8080", 200),
            ("192.0.2.1:8080", 200),
            ("[::1]", 200),
            ("[::1]:8080", 200),
            ("localhost:8080", 200),
            ("LocalHost", 200),
            ("db.example:1", 200),
            ("DB.example", 200),
            ("evil.example:8080", 403),
            ("127.0.0.1.evil.example", 403),
            ("localhost.evil.example:8080", 403),
            ("xdb.example", 403),
            ("::1", 403),
            ("", 403),
        ] {
            assert_eq!(status(&guard, &[(HOST, host)]), expected, "{host}");
        }
        assert_eq!(status(&guard, &[]), 400);
        let twice = [(HOST, "127.0.0.1"), (HOST, "evil.example")];
        assert_eq!(status(&guard, &twice), 400);
    }

    #[test]
    fn origins() {
        let guard = Guard {
            origins: vec!["https://ui.example".to_owned()],
            ..Guard::default()
        };
        for (origin, expected) in [
            ("https://ui.example", 200),
            ("http://127.0.0.1:8080", 200),
            ("http://127.0.0.1:8081", 403),
            ("https://127.0.0.1:8080", 403),
            ("http://ui.example", 403),
            ("https://ui.example.evil.example", 403),
            ("http://evil.example", 403),
            ("null", 403),
            ("", 403),
        ] {
            let headers = [(HOST, "127.0.0.1:8080"), (ORIGIN, origin)];
            assert_eq!(status(&guard, &headers), expected, "{origin}");
        }
    }

    #[test]
    fn tokens_without_a_file_are_wrong() {
        let guard = Guard::default();
        let host = (HOST, "127.0.0.1");
        for value in ["Bearer x", "Basic eDp5", "x"] {
            let headers = [host.clone(), (AUTHORIZATION, value)];
            assert_eq!(status(&guard, &headers), 401, "{value}");
        }
    }

    #[test]
    fn origins_of_the_command_line() {
        for (text, good) in [
            ("http://localhost:3000", true),
            ("https://ui.example", true),
            ("https://[::1]:8443", true),
            ("https://ui.example/", false),
            ("https://ui.example:443", false),
            ("http://ui.example:80", false),
            ("http://ui.example:080", false),
            ("http://ui.example:", false),
            ("ftp://ui.example", false),
            ("ui.example", false),
            ("*", false),
            ("null", false),
            ("http://a b", false),
            ("http://", false),
        ] {
            assert_eq!(parse_origin(text).is_some(), good, "{text}");
        }
    }
}
