//! HTTP and WebSocket by hand, so that nothing of the server's libraries is on both ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::Process;

pub const TOKEN: &str = "the-token-of-the-tests";

/// A server with the face on a port that was free, and a token.
pub struct Server {
    pub process: Process,
    pub port: u16,
}

impl Server {
    pub fn start(directory: &Path, args: &[&str]) -> Self {
        let port = free_port();
        Self::start_at(directory, port, args)
    }

    pub fn start_at(directory: &Path, port: u16, args: &[&str]) -> Self {
        write_token(directory, TOKEN);
        let http = format!("--http=127.0.0.1:{port}");
        let token = format!("--http-token-file={}", directory.join("token").display());
        let process = Process::start(
            directory,
            &[&[http.as_str(), token.as_str()], args].concat(),
        );
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "no HTTP");
            std::thread::sleep(Duration::from_millis(2));
        }
        Self { process, port }
    }

    /// One request with the token; the answer.
    pub fn call(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let authorization = format!("Bearer {TOKEN}");
        let answer = self.post(&[("Authorization", &authorization)], &body.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        assert_eq!(answer["jsonrpc"], "2.0");
        assert_eq!(answer["id"], 1);
        answer
    }

    pub fn transact(&self, operations: Value) -> Value {
        let params = json!({"database": "Open_vSwitch", "operations": operations});
        self.call("transact", params)["result"].clone()
    }

    /// Posts JSON without a token, unless `headers` have it.
    pub fn post(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("Content-Type", "application/json")];
        all.extend_from_slice(headers);
        self.request("POST", &all, body)
    }

    pub fn request(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!("{method} / HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            text += &format!("Host: 127.0.0.1:{}\r\n", self.port);
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        self.raw(text.as_bytes())
    }

    /// Sends bytes and reads all that comes.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // The server may answer, and close, before it has read everything.
        let _ = stream.write_all(bytes);
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        Answer::parse(&String::from_utf8_lossy(&text))
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream
    }

    /// A WebSocket with the token.
    pub fn websocket(&self) -> WebSocket {
        let authorization = format!("Bearer {TOKEN}");
        WebSocket::open(self, &[("Authorization", &authorization)]).unwrap()
    }

    /// A number of `memory/show`.
    pub fn memory(&self, name: &str) -> usize {
        let path = self.process.directory.join("db.ctl");
        let mut client = crate::common::Client::connect(&path).unwrap();
        let text = client.call("memory/show", json!([])).unwrap().unwrap();
        let text = text.as_str().unwrap().to_owned();
        let prefix = format!("{name}:");
        let number = text
            .split_whitespace()
            .find_map(|word| word.strip_prefix(&prefix));
        number.unwrap().parse().unwrap()
    }

    /// Waits until [`Server::memory`] is `expected`.
    pub fn wait_memory(&self, name: &str, expected: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.memory(name) != expected {
            let now = self.memory(name);
            assert!(Instant::now() < deadline, "{name}: {now}, not {expected}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Replaces the token's file.
pub fn write_token(directory: &Path, token: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let beside = directory.join("token.new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&beside).unwrap();
    writeln!(file, "{token}").unwrap();
    std::fs::rename(&beside, directory.join("token")).unwrap();
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Self {
            status: status.unwrap_or(0),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A WebSocket (RFC 6455) that waits for each answer.
pub struct WebSocket {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    next_id: u64,
}

impl WebSocket {
    /// The handshake of RFC 6455, 1.3, whose key and answer are written there.
    pub fn open(server: &Server, headers: &[(&str, &str)]) -> Result<Self, Answer> {
        let mut stream = server.connect();
        let mut text = format!(
            "GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
            server.port
        );
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        stream.write_all(text.as_bytes()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0u8; 1];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
            head.extend_from_slice(&byte);
        }
        let answer = Answer::parse(&String::from_utf8_lossy(&head));
        if answer.status != 101 {
            return Err(answer);
        }
        assert!(
            answer
                .head
                .contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
            "{answer:?}"
        );
        Ok(Self {
            stream,
            buffer: Vec::new(),
            next_id: 0,
        })
    }

    /// Sends a text message in one frame.
    pub fn send(&mut self, text: &str) {
        self.frame(1, text.as_bytes());
    }

    fn frame(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            length @ 0..=125 => frame.push(0x80 | length as u8),
            length @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let mask = [0x11, 0x22, 0x33, 0x44];
        frame.extend_from_slice(&mask);
        let masked = payload.iter().zip(mask.iter().cycle());
        frame.extend(masked.map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&frame).unwrap();
    }

    /// The next message; an error when the connection ends or nothing comes in time.
    pub fn receive(&mut self) -> std::io::Result<Value> {
        let mut message = Vec::new();
        loop {
            let (first, payload) = self.read_frame()?;
            match first & 0x0f {
                9 => self.frame(10, &payload),
                10 => {}
                8 => return Err(ErrorKind::UnexpectedEof.into()),
                _ => {
                    message.extend_from_slice(&payload);
                    if first & 0x80 != 0 {
                        return Ok(serde_json::from_slice(&message).unwrap());
                    }
                }
            }
        }
    }

    fn read_frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        self.fill(2)?;
        let (mut at, length) = (2, self.buffer[1] & 0x7f);
        assert_eq!(self.buffer[1] & 0x80, 0, "servers do not mask");
        let length = match length {
            126 => {
                self.fill(4)?;
                at = 4;
                usize::from(u16::from_be_bytes([self.buffer[2], self.buffer[3]]))
            }
            127 => {
                self.fill(10)?;
                at = 10;
                let bytes: [u8; 8] = self.buffer[2..10].try_into().unwrap();
                u64::from_be_bytes(bytes) as usize
            }
            length => usize::from(length),
        };
        self.fill(at + length)?;
        let rest = self.buffer.split_off(at + length);
        let frame = std::mem::replace(&mut self.buffer, rest);
        Ok((frame[0], frame[at..].to_vec()))
    }

    fn fill(&mut self, length: usize) -> std::io::Result<()> {
        let mut chunk = vec![0u8; 1 << 16];
        while self.buffer.len() < length {
            match self.stream.read(&mut chunk)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.buffer.extend_from_slice(&chunk[..count]),
            }
        }
        Ok(())
    }

    /// Sends a request; its number.
    pub fn request(&mut self, method: &str, params: Value) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(&body.to_string());
        id
    }

    /// Sends a request and waits for the answer, which is to come next.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        let answer = self.receive().unwrap();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// Subscribes; the subscription and its first notification.
    pub fn subscribe(&mut self, params: Value) -> (Value, Value) {
        let answer = self.call("monitor", params);
        let subscription = answer["result"].clone();
        assert!(!subscription.is_null(), "{answer}");
        let first = self.update(&subscription);
        (subscription, first)
    }

    /// The next message, which is to be an update.
    pub fn update(&mut self, subscription: &Value) -> Value {
        let message = self.receive().unwrap();
        assert_eq!(message["method"], "update", "{message}");
        assert_eq!(&message["params"]["subscription"], subscription);
        message["params"]["result"].clone()
    }
}
