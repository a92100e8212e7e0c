//! Datagrams to a syslog daemon: `/dev/log`, another Unix socket, or UDP (RFC 3164 lines).

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use thiserror::Error;

use super::pattern::{Record, hostname, syslog_severity};
use super::time::Utc;

/// `--syslog-method`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// `/dev/log`, as syslog(3) uses it.
    Libc,
    Null,
    Unix(PathBuf),
    Udp(SocketAddr),
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}: syslog method is none of libc, null, unix:FILE and udp:IP:PORT")]
pub struct MethodError(pub String);

impl std::str::FromStr for Method {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Method, MethodError> {
        let bad = || MethodError(text.to_owned());
        match text.split_once(':') {
            None if text == "libc" => Ok(Method::Libc),
            None if text == "null" => Ok(Method::Null),
            Some(("unix", path)) if !path.is_empty() => Ok(Method::Unix(path.into())),
            Some(("udp", address)) => address.parse().map(Method::Udp).map_err(|_| bad()),
            _ => Err(bad()),
        }
    }
}

pub(super) struct Syslog {
    method: Method,
    socket: Option<Socket>,
}

enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

impl Syslog {
    pub fn new(method: Method) -> Syslog {
        Syslog {
            method,
            socket: None,
        }
    }

    /// Sends one line, or drops it when the syslog daemon is absent or slow: logging must not
    /// stop the daemon.
    pub fn send(&mut self, facility: u8, record: &Record<'_>, line: &str) {
        if self.socket.is_none() {
            self.socket = connect(&self.method);
        }
        let Some(socket) = &self.socket else { return };
        let priority = u32::from(facility) * 8 + u32::from(syslog_severity(record.level));
        let t = Utc::from(record.now);
        let host = match socket {
            Socket::Unix(_) => String::new(),
            Socket::Udp(_) => format!("{} ", hostname()),
        };
        let datagram = format!(
            "<{priority}>{} {:2} {:02}:{:02}:{:02} {host}{}: {line}",
            t.month_name(),
            t.day,
            t.hour,
            t.minute,
            t.second,
            record.program,
        );
        let sent = match socket {
            Socket::Unix(socket) => socket.send(datagram.as_bytes()),
            Socket::Udp(socket) => socket.send(datagram.as_bytes()),
        };
        if let Err(error) = sent
            && error.kind() != std::io::ErrorKind::WouldBlock
        {
            self.socket = None;
        }
    }
}

fn connect(method: &Method) -> Option<Socket> {
    let unix = |path: &std::path::Path| {
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(path).ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Socket::Unix(socket))
    };
    match method {
        Method::Null => None,
        Method::Libc => unix("/dev/log".as_ref()),
        Method::Unix(path) => unix(path),
        Method::Udp(address) => {
            let any = if address.is_ipv4() {
                "0.0.0.0:0"
            } else {
                "[::]:0"
            };
            let socket = UdpSocket::bind(any).ok()?;
            socket.connect(address).ok()?;
            socket.set_nonblocking(true).ok()?;
            Some(Socket::Udp(socket))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        assert_eq!("libc".parse(), Ok(Method::Libc));
        assert_eq!(
            "udp:[::1]:514".parse(),
            Ok(Method::Udp("[::1]:514".parse().unwrap()))
        );
        assert!("bogus".parse::<Method>().is_err());
        assert!("unix:".parse::<Method>().is_err());
    }
}
