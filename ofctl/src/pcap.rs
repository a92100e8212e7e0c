//! Capture files: parse-pcap and ofp-parse-pcap, and parse-packet for one frame on standard input.
//!
//! OpenFlow connections in a capture are put together from the TCP segments that come in order;
//! what is lost or comes too early is left out, as ovs-ofctl leaves it out.
//!
//! Source: pcap-savefile(5); ovs-ofctl(8), "ofp-parse-pcap".

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::net::Ipv4Addr;
use std::time::Duration;

use openflow::text::{message_bytes, packet_print};
use packet::extract::{Meta, extract};
use packet::key::IP_PROTO_TCP;
use packet::{FlowKey, OfPort};

use crate::error::{Error, reason};
use crate::options::Options;
use crate::output::print;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const LINKTYPE_ETHERNET: u32 = 1;
const EPROTO: i32 = 71;
/// Longest frame that is read; captures hold no longer ones.
const MAX_FRAME: u32 = 256 << 10;
/// The port of old, and the one that IANA gave.
const OPENFLOW_PORTS: [u16; 2] = [6633, 6653];
/// Directions of connections that are followed at a time.
const MAX_STREAMS: usize = 1 << 16;

/// A capture file, read frame by frame.
struct Capture {
    reader: BufReader<Box<dyn Read>>,
    /// Numbers are big-endian.
    big_endian: bool,
    /// Nanoseconds in the unit of the second half of a time.
    unit_ns: u32,
}

/// A frame, and when it came.
struct Frame {
    at: Duration,
    bytes: Vec<u8>,
}

impl Capture {
    /// Opens a file, or standard input for `-`, and reads its header.
    fn open(name: &str) -> io::Result<Capture> {
        let reader: Box<dyn Read> = match name {
            "-" => Box::new(io::stdin().lock()),
            _ => Box::new(std::fs::File::open(name).inspect_err(|e| {
                let why = reason(e);
                tracing::warn!(
                    target: "pcap",
                    "{name}: failed to open pcap file for reading ({why})"
                );
            })?),
        };
        let mut capture = Capture {
            reader: BufReader::new(reader),
            big_endian: false,
            unit_ns: 1000,
        };
        let mut magic = [0u8; 4];
        let mut rest = [0u8; 20];
        let whole = capture.reader.read_exact(&mut magic);
        whole
            .and_then(|()| capture.reader.read_exact(&mut rest))
            .inspect_err(|e| {
                tracing::warn!(target: "pcap", "failed to read pcap header: {}", reason(e));
            })?;
        let magic = u32::from_le_bytes(magic);
        capture.big_endian = !matches!(magic, MICROSECONDS | NANOSECONDS);
        capture.unit_ns = match magic {
            _ if capture.number(magic) == MICROSECONDS => 1000,
            _ if capture.number(magic) == NANOSECONDS => 1,
            _ => {
                tracing::warn!(
                    target: "pcap",
                    "bad magic {magic:#010x} reading pcap file (expected 0xa1b2c3d4, 0xa1b23c4d, \
                     0xd4c3b2a1, or 0x4d3cb2a1)"
                );
                return Err(io::Error::from_raw_os_error(EPROTO));
            }
        };
        let [.., a, b, c, d] = rest;
        let link = capture.number(u32::from_le_bytes([a, b, c, d]));
        if link != LINKTYPE_ETHERNET {
            tracing::warn!(target: "pcap", "unknown network type {link} reading pcap file");
            return Err(io::Error::from_raw_os_error(EPROTO));
        }
        Ok(capture)
    }

    /// A number of the file that was read as little-endian.
    fn number(&self, n: u32) -> u32 {
        if self.big_endian { n.swap_bytes() } else { n }
    }

    /// The next frame; `None` at the end. A frame that is cut short ends the file too, and is
    /// told of.
    fn next(&mut self) -> io::Result<Option<Frame>> {
        let mut words = [0u32; 4];
        for word in &mut words {
            let mut bytes = [0u8; 4];
            match self.reader.read_exact(&mut bytes) {
                Ok(()) => *word = self.number(u32::from_le_bytes(bytes)),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(e) => return cut_short(e),
            }
        }
        let [seconds, fraction, len, _] = words;
        if len > MAX_FRAME {
            tracing::warn!(target: "pcap", "bad packet length {len} reading pcap file");
            return Err(io::Error::from_raw_os_error(EPROTO));
        }
        let mut bytes = vec![0; len as usize];
        if let Err(e) = self.reader.read_exact(&mut bytes) {
            return cut_short(e);
        }
        let ns = u64::from(fraction) * u64::from(self.unit_ns);
        Ok(Some(Frame {
            at: Duration::from_secs(seconds.into()) + Duration::from_nanos(ns),
            bytes,
        }))
    }
}

fn cut_short(error: io::Error) -> io::Result<Option<Frame>> {
    tracing::warn!(target: "pcap", "failed to read pcap packet: {}", reason(&error));
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Ok(None),
        _ => Err(error),
    }
}

/// `parse-pcap FILE...`: the flow of every frame. The answer is the exit status, which tells of
/// the last file that could not be read.
pub fn parse_pcap(options: &Options, args: &[String]) -> Result<u8, Error> {
    let mut status = 0;
    for name in args {
        if let Err((source, what)) = show_frames(options, name)? {
            // The number of the error; the end of a file has -1.
            status = source.raw_os_error().map_or(u8::MAX, |code| code as u8);
            let program = daemon::dirs::program_name();
            eprintln!("{program}: {name}: {what} failed ({})", reason(&source));
        }
    }
    Ok(status)
}

/// Shows the frames of a file; within, what went wrong with it and doing what.
fn show_frames(
    options: &Options,
    name: &str,
) -> Result<Result<(), (io::Error, &'static str)>, Error> {
    let mut capture = match Capture::open(name) {
        Ok(capture) => capture,
        Err(e) => return Ok(Err((e, "open"))),
    };
    loop {
        match capture.next() {
            Ok(Some(frame)) => show_frame(options, &frame.bytes, Some(OfPort::ANY))?,
            Ok(None) => return Ok(Ok(())),
            Err(e) => return Ok(Err((e, "read"))),
        }
    }
}

/// `parse-packet`: the flow of the frame on standard input.
pub fn parse_packet(options: &Options) -> Result<(), Error> {
    let mut frame = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_FRAME.into())
        .read_to_end(&mut frame)
        .map_err(|source| Error::ReadFile {
            file: "-".to_owned(),
            source,
        })?;
    let mut key = FlowKey::zero();
    if extract(&frame.as_slice(), &Meta::default(), &mut key).is_err() {
        return show_frame(options, &frame, None);
    }
    let mut out = String::new();
    packet_print::write_packet(&mut out, &frame, &options.plain_names());
    out.push('\n');
    print(&out)
}

fn show_frame(options: &Options, frame: &[u8], in_port: Option<OfPort>) -> Result<(), Error> {
    let mut key = FlowKey::zero();
    // A frame too short for Ethernet has nothing in it.
    if extract(&frame, &Meta::default(), &mut key).is_err() {
        key = FlowKey::zero();
    }
    let mut out = String::new();
    packet_print::write_flow(&mut out, &key, in_port, &options.plain_names());
    out.push('\n');
    print(&out)
}

/// One direction of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Direction {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    src_port: u16,
    dst_port: u16,
}

/// What came over a connection in one direction and is no whole message yet.
#[derive(Default)]
struct Stream {
    /// `None` before the first segment.
    next_seq: Option<u32>,
    data: Vec<u8>,
}

/// `ofp-parse-pcap FILE [PORT...]`: the OpenFlow messages of the connections from or to the ports.
pub fn ofp_parse_pcap(options: &Options, args: &[String]) -> Result<(), Error> {
    let [name, ports @ ..] = args else {
        return Ok(());
    };
    let mut wanted = OPENFLOW_PORTS.to_vec();
    if !ports.is_empty() {
        let number = |p: &String| p.parse().map_err(|_| Error::NotANumber(p.clone()));
        wanted = ports.iter().map(number).collect::<Result<_, _>>()?;
    }
    let mut capture = Capture::open(name).map_err(|source| Error::OpenFile {
        file: name.clone(),
        source,
    })?;
    let mut streams: HashMap<Direction, Stream> = HashMap::new();
    let mut is_first = true;
    loop {
        let frame = capture.next().map_err(|source| Error::ReadFile {
            file: name.clone(),
            source,
        })?;
        let Some(frame) = frame else { return Ok(()) };
        let Some(segment) = segment(&frame.bytes) else {
            continue;
        };
        let direction = segment.direction;
        if !wanted.contains(&direction.src_port) && !wanted.contains(&direction.dst_port) {
            continue;
        }
        if streams.len() >= MAX_STREAMS && !streams.contains_key(&direction) {
            return Err(Error::TooManyStreams(name.clone(), MAX_STREAMS));
        }
        let stream = streams.entry(direction).or_default();
        stream.take(&segment);
        while let Some(message) = stream.message() {
            let mut out = String::new();
            if !std::mem::replace(&mut is_first, false) {
                out.push('\n');
            }
            if options.timestamp {
                out.push_str(&time_of_day(frame.at));
            }
            let Direction {
                src,
                dst,
                src_port,
                dst_port,
            } = direction;
            out.push_str(&format!("{src}.{src_port} > {dst}.{dst_port}:\n"));
            out.push_str(&message_bytes::print(
                &message,
                &options.plain_names(),
                options.verbosity(1),
            ));
            print(&out)?;
        }
        if segment.is_last {
            streams.remove(&direction);
        }
    }
}

/// `12:34:56.789 `, in UTC.
fn time_of_day(at: Duration) -> String {
    let s = at.as_secs() % 86400;
    let (hours, minutes, seconds) = (s / 3600, s / 60 % 60, s % 60);
    format!(
        "{hours:02}:{minutes:02}:{seconds:02}.{:03} ",
        at.subsec_millis()
    )
}

struct Segment<'a> {
    direction: Direction,
    seq: u32,
    is_first: bool,
    is_last: bool,
    payload: &'a [u8],
}

/// The TCP segment in a frame, over IPv4.
fn segment(frame: &[u8]) -> Option<Segment<'_>> {
    const FIN_OR_RST: u8 = 0b101;
    const SYN: u8 = 0b10;
    let mut key = FlowKey::zero();
    let layers = extract(&frame, &Meta::default(), &mut key).ok()?;
    if !key.is_ipv4() || key.ip_proto != IP_PROTO_TCP || layers.l4 == 0 {
        return None;
    }
    // The frame may be padded behind the packet.
    let ip = frame.get(usize::from(layers.l3)..)?;
    let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    let ip = ip.get(..total).unwrap_or(ip);
    let tcp = ip.get(usize::from(layers.l4.checked_sub(layers.l3)?)..)?;
    let (head, _) = tcp.split_first_chunk::<20>()?;
    let [
        sp0,
        sp1,
        dp0,
        dp1,
        s0,
        s1,
        s2,
        s3,
        _,
        _,
        _,
        _,
        offset,
        flags,
        ..,
    ] = *head;
    Some(Segment {
        direction: Direction {
            src: key.ipv4_src.into(),
            dst: key.ipv4_dst.into(),
            src_port: u16::from_be_bytes([sp0, sp1]),
            dst_port: u16::from_be_bytes([dp0, dp1]),
        },
        seq: u32::from_be_bytes([s0, s1, s2, s3]),
        is_first: flags & SYN != 0,
        is_last: flags & FIN_OR_RST != 0,
        payload: tcp.get(usize::from(offset >> 4) * 4..)?,
    })
}

impl Stream {
    fn take(&mut self, segment: &Segment) {
        if segment.is_first {
            self.data.clear();
            self.next_seq = Some(segment.seq.wrapping_add(1));
            return;
        }
        if *self.next_seq.get_or_insert(segment.seq) == segment.seq {
            self.data.extend_from_slice(segment.payload);
            self.next_seq = Some(segment.seq.wrapping_add(segment.payload.len() as u32));
        }
    }

    /// Takes a whole message off, if there is one.
    fn message(&mut self) -> Option<Vec<u8>> {
        const HEADER_LEN: usize = 8;
        let head = self.data.first_chunk::<HEADER_LEN>()?;
        let len = usize::from(u16::from_be_bytes([head[2], head[3]])).max(HEADER_LEN);
        if self.data.len() < len {
            return None;
        }
        let rest = self.data.split_off(len);
        Some(std::mem::replace(&mut self.data, rest))
    }
}
