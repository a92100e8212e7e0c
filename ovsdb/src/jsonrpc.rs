//! JSON-RPC 1.0 messages and their framing on a byte stream.
//!
//! OVSDB and unixctl peers send JSON objects back to back, with or without whitespace between
//! them, so the end of a message is found by following strings and brackets. The [`Framer`] takes
//! bytes as they come, in pieces of any size, and gives whole messages; it does no I/O.
//!
//! Source: RFC 7047, 4; JSON-RPC 1.0.

use serde_json::{Value, json};

use crate::operation::Transact;

/// Why a stream cannot be read on. The connection has to be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("message of more than {limit} bytes")]
    TooLong { limit: usize },
    #[error("JSON nested deeper than {limit} levels")]
    TooDeep { limit: usize },
    #[error("byte {byte:#04x} where a JSON object should start")]
    NotAnObject { byte: u8 },
    #[error("invalid JSON: {0}")]
    Json(String),
    #[error("not a JSON-RPC message: {0}")]
    Message(&'static str),
}

/// One JSON-RPC 1.0 message.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    Request {
        id: Value,
        method: String,
        params: Value,
    },
    Notification {
        method: String,
        params: Value,
    },
    Response {
        id: Value,
        result: Result<Value, Value>,
    },
}

impl Message {
    /// A request; `id` must not be null.
    pub fn request(id: impl Into<Value>, method: &str, params: Value) -> Self {
        Self::Request {
            id: id.into(),
            method: method.to_owned(),
            params,
        }
    }

    /// A request that wants no answer.
    pub fn notification(method: &str, params: Value) -> Self {
        Self::Notification {
            method: method.to_owned(),
            params,
        }
    }

    /// The answer to the request `id`.
    pub fn reply(id: Value, result: Value) -> Self {
        Self::Response {
            id,
            result: Ok(result),
        }
    }

    /// The refusal of the request `id`.
    pub fn error(id: Value, error: Value) -> Self {
        Self::Response {
            id,
            result: Err(error),
        }
    }

    /// Reads a message. A missing `params`, `result` or `error` counts as null.
    pub fn from_json(json: Value) -> Result<Self, FrameError> {
        let Value::Object(mut map) = json else {
            return Err(FrameError::Message("not an object"));
        };
        let mut take = |name: &str| map.remove(name).unwrap_or(Value::Null);
        let id = take("id");
        match take("method") {
            Value::String(method) => {
                let params = take("params");
                Ok(if id.is_null() {
                    Self::Notification { method, params }
                } else {
                    Self::Request { id, method, params }
                })
            }
            Value::Null => {
                if id.is_null() {
                    return Err(FrameError::Message("neither method nor id"));
                }
                let (result, error) = (take("result"), take("error"));
                let result = if error.is_null() {
                    Ok(result)
                } else {
                    Err(error)
                };
                Ok(Self::Response { id, result })
            }
            _ => Err(FrameError::Message("method is not a string")),
        }
    }

    /// The message as one JSON object.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Request { id, method, params } => {
                json!({"id": id, "method": method, "params": params})
            }
            Self::Notification { method, params } => {
                json!({"id": null, "method": method, "params": params})
            }
            Self::Response { id, result } => match result {
                Ok(result) => json!({"error": null, "id": id, "result": result}),
                Err(error) => json!({"error": error, "id": id, "result": null}),
            },
        }
    }

    /// The bytes to send: [`Message::to_json`] as text, without making the value, which may be
    /// large.
    pub fn to_bytes(&self) -> Vec<u8> {
        const NULL: &Value = &Value::Null;
        let text;
        let members: [(&str, &Value); 3] = match self {
            Self::Request { id, method, params } => {
                text = Value::from(method.as_str());
                [("id", id), ("method", &text), ("params", params)]
            }
            Self::Notification { method, params } => {
                text = Value::from(method.as_str());
                [("id", NULL), ("method", &text), ("params", params)]
            }
            Self::Response { id, result } => match result {
                Ok(result) => [("error", NULL), ("id", id), ("result", result)],
                Err(error) => [("error", error), ("id", id), ("result", NULL)],
            },
        };
        let mut bytes = Vec::with_capacity(128);
        for (n, (name, value)) in members.into_iter().enumerate() {
            bytes.extend_from_slice(if n == 0 { b"{\"" } else { b",\"" });
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b"\":");
            // A value has string keys alone, and a vector takes all bytes.
            serde_json::to_writer(&mut bytes, value).expect("a JSON value can be written");
        }
        bytes.push(b'}');
        bytes
    }
}

/// A message as a server gets it.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// A `transact` request in plain JSON.
    Transact(Transact),
    /// Any other message.
    Message(Message),
}

/// Finds the messages in a stream.
///
/// Memory is bounded by the length limit: what is buffered is at most one unfinished message plus
/// what the caller pushed in one call.
#[derive(Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Where the message that is being looked for starts in `buffer`.
    start: usize,
    /// How much of `buffer` has been scanned.
    scanned: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// Whether the message has any escapes in its strings.
    escapes: bool,
    max_bytes: usize,
    max_depth: usize,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new(Self::MAX_BYTES)
    }
}

impl Framer {
    /// Longest message unless told otherwise.
    pub const MAX_BYTES: usize = 256 << 20;
    /// Deepest nesting, what `serde_json` parses without growing the stack beyond bounds.
    pub const MAX_DEPTH: usize = 126;

    /// A framer for messages of at most `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            escapes: false,
            max_bytes,
            max_depth: Self::MAX_DEPTH,
        }
    }

    /// Adds bytes that came from the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        // What was taken is dropped only here, so that taking many small messages stays cheap.
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes held back for an unfinished message.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// The next whole message; `None` until more bytes come.
    ///
    /// Errors: the stream is unusable after any error.
    pub fn poll_message(&mut self) -> Result<Option<Message>, FrameError> {
        self.poll_json()?.map(Message::from_json).transpose()
    }

    /// The same; what is a transaction is left to be read when its database is known.
    pub fn poll_received(&mut self) -> Result<Option<Received>, FrameError> {
        let Some(start) = self.scan()? else {
            return Ok(None);
        };
        if !self.escapes {
            let text = self.buffer.get(start..self.scanned);
            let text = text.and_then(|frame| std::str::from_utf8(frame).ok());
            if let Some(transact) = text.and_then(Transact::read) {
                return Ok(Some(Received::Transact(transact)));
            }
        }
        let message = Message::from_json(self.parse(start)?)?;
        Ok(Some(Received::Message(message)))
    }

    /// The next whole JSON object.
    pub fn poll_json(&mut self) -> Result<Option<Value>, FrameError> {
        match self.scan()? {
            Some(start) => self.parse(start).map(Some),
            None => Ok(None),
        }
    }

    /// The object that was scanned.
    fn parse(&mut self, start: usize) -> Result<Value, FrameError> {
        let frame = self.buffer.get(start..self.scanned).unwrap_or_default();
        let json: Value =
            serde_json::from_slice(frame).map_err(|error| FrameError::Json(error.to_string()))?;
        // Open vSwitch's strings end at a null byte: none of its programs could read one back.
        let escape = b"\\u0000";
        if std::mem::take(&mut self.escapes)
            && frame.windows(escape.len()).any(|window| window == escape)
            && has_null_byte(&json)
        {
            let why = "null bytes not supported in quoted strings";
            return Err(FrameError::Json(why.to_owned()));
        }
        Ok(json)
    }

    /// Scans to the end of the next whole object and gives its start.
    fn scan(&mut self) -> Result<Option<usize>, FrameError> {
        if self.depth == 0 {
            self.skip_whitespace();
        }
        while let Some(&byte) = self.buffer.get(self.scanned) {
            self.scanned += 1;
            if self.in_string && !self.escaped {
                // Most bytes are plain ones in strings.
                let rest = self.buffer.get(self.scanned..).unwrap_or_default();
                let plain = |byte: &u8| !matches!(byte, b'"' | b'\\');
                if plain(&byte) {
                    self.scanned += rest.iter().take_while(|byte| plain(byte)).count();
                }
            }
            if self.scanned - self.start > self.max_bytes {
                return Err(FrameError::TooLong {
                    limit: self.max_bytes,
                });
            }
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => {
                        self.escaped = true;
                        self.escapes = true;
                    }
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'{' | b'[' if self.depth > 0 || byte == b'{' => {
                    self.depth += 1;
                    if self.depth > self.max_depth {
                        return Err(FrameError::TooDeep {
                            limit: self.max_depth,
                        });
                    }
                }
                byte if self.depth == 0 => return Err(FrameError::NotAnObject { byte }),
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok(Some(std::mem::replace(&mut self.start, self.scanned)));
                    }
                }
                b'"' => self.in_string = true,
                _ => {}
            }
        }
        Ok(None)
    }

    fn skip_whitespace(&mut self) {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        self.start += rest
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
            .count();
        self.scanned = self.start;
    }
}

/// Whether a string in it has a null byte, which no program of Open vSwitch could read back.
pub fn has_null_byte(json: &Value) -> bool {
    match json {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_null_byte),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name.contains('\0') || has_null_byte(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = concat!(
        r#"{"id":0,"method":"echo","params":["a\"}{\\"]} "#,
        "\n",
        r#"{"id":null,"method":"update","params":[null,{"T":{}}]}{"id":[1],"result":{"x":[]},"error":null}"#,
        r#"{"error":"unknown method","id":"y","result":null}"#,
    );

    fn messages() -> Vec<Message> {
        vec![
            Message::request(0, "echo", json!(["a\"}{\\"])),
            Message::notification("update", json!([null, {"T": {}}])),
            Message::reply(json!([1]), json!({"x": []})),
            Message::error(json!("y"), json!("unknown method")),
        ]
    }

    #[test]
    fn bytes_are_the_json() {
        for message in messages() {
            let text = message.to_json().to_string();
            assert_eq!(String::from_utf8(message.to_bytes()).unwrap(), text);
        }
    }

    #[test]
    fn cut_at_every_byte() {
        for cut in 0..=STREAM.len() {
            let mut framer = Framer::default();
            let mut got = Vec::new();
            for piece in [&STREAM.as_bytes()[..cut], &STREAM.as_bytes()[cut..]] {
                framer.push(piece);
                while let Some(message) = framer.poll_message().unwrap() {
                    got.push(message);
                }
            }
            assert_eq!(got, messages(), "cut at {cut}");
            assert_eq!(framer.buffered(), 0);
        }
    }

    #[test]
    fn byte_by_byte_and_back() {
        let mut framer = Framer::default();
        let mut got = Vec::new();
        for message in messages() {
            for byte in message.to_bytes() {
                framer.push(&[byte]);
                got.extend(framer.poll_message().unwrap());
            }
        }
        assert_eq!(got, messages());
    }

    #[test]
    fn hostile_streams_end() {
        let deep = format!("{{\"a\":{}", "[".repeat(200_000));
        let cases: [(&[u8], FrameError); 4] = [
            (
                deep.as_bytes(),
                FrameError::TooDeep {
                    limit: Framer::MAX_DEPTH,
                },
            ),
            (b"]", FrameError::NotAnObject { byte: b']' }),
            (b"[]", FrameError::NotAnObject { byte: b'[' }),
            (b"\x16\x03\x01", FrameError::NotAnObject { byte: 0x16 }),
        ];
        for (bytes, expected) in cases {
            let mut framer = Framer::default();
            framer.push(bytes);
            assert_eq!(framer.poll_message(), Err(expected));
        }
        let mut framer = Framer::new(100);
        framer.push(format!("{{\"a\":\"{}", "x".repeat(1000)).as_bytes());
        assert_eq!(
            framer.poll_message(),
            Err(FrameError::TooLong { limit: 100 })
        );
        for bad in [&b"{]"[..], b"{}", b"{\"method\":1}"] {
            let mut framer = Framer::default();
            framer.push(bad);
            assert!(framer.poll_message().is_err());
        }
        let mut framer = Framer::default();
        framer.push(b"{\"id\":tru}");
        assert!(matches!(framer.poll_message(), Err(FrameError::Json(_))));
    }

    #[test]
    fn null_bytes_are_refused_and_what_looks_like_them_is_not() {
        for (text, good) in [
            (r#"{"id":1,"result":"a\\u0000b"}"#, true),
            (r#"{"id":1,"result":"a\u0000b"}"#, false),
            (r#"{"id":1,"result":[{"a\u0000b":1}]}"#, false),
        ] {
            let mut framer = Framer::default();
            framer.push(text.as_bytes());
            assert_eq!(framer.poll_message().is_ok(), good, "{text}");
        }
    }

    #[test]
    fn nesting_up_to_the_limit_parses() {
        let depth = Framer::MAX_DEPTH - 1;
        let text = format!(
            "{{\"id\":1,\"method\":\"m\",\"params\":{}{}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        );
        let mut framer = Framer::default();
        framer.push(text.as_bytes());
        assert!(framer.poll_message().unwrap().is_some());
    }
}
