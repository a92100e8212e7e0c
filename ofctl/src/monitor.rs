//! monitor and snoop: print what comes until the connection ends or someone says exit.
//!
//! Both can run in the background (`--detach`) and are then told what to do over unixctl:
//! `exit`, `ofctl/send`, `ofctl/barrier`, `ofctl/packet-out`, `ofctl/set-output-file`.
//! Source: ovs-ofctl(8), "monitor", "snoop", "RUNTIME MANAGEMENT COMMANDS".

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

use daemon::detach::Startup;
use daemon::unixctl::{Commands, Request, Server};
use openflow::Version;
use openflow::message::{Message, PacketInFormat, SwitchConfig};
use openflow::text::{self, ErrorKind, Names, flow, flow_monitor, message_bytes, value};

use crate::connection::{Connection, next_xid};
use crate::error::Error;
use crate::lookup::{names_to_show, parse_with_names, skip_xids};
use crate::options::Options;
use crate::output::print;

/// `monitor`: as a controller that only listens.
pub async fn monitor(options: &Options, args: &[String], startup: Startup) -> Result<(), Error> {
    let target = args.first().map_or("", String::as_str);
    let wishes = wishes(args.get(1..).unwrap_or(&[]))?;
    let mut connection = Connection::open(target, options.versions).await?;
    if wishes.miss_send_len.is_some() || wishes.invalid_ttl {
        let mut config = match connection.transact(&Message::GetConfigRequest).await? {
            Message::GetConfigReply(config) => config,
            _ => SwitchConfig {
                frag: Default::default(),
                invalid_ttl_to_controller: false,
                miss_send_len: 0,
            },
        };
        if let Some(len) = wishes.miss_send_len {
            config.miss_send_len = len;
        }
        config.invalid_ttl_to_controller |= wishes.invalid_ttl;
        connection
            .send(&Message::SetConfig(config), next_xid())
            .await?;
    }
    if !wishes.watch.is_empty() {
        skip_xids(options);
    }
    for (id, spec) in (0..).zip(&wishes.watch) {
        watch(options, &mut connection, id, spec).await?;
    }
    choose_packet_in_format(&mut connection, options).await?;
    let answers = Answers {
        echo: true,
        pauses: wishes.resumes,
    };
    run(options, connection, startup, answers).await
}

/// `snoop`: what a switch and its controller say to each other.
pub async fn snoop(options: &Options, args: &[String], startup: Startup) -> Result<(), Error> {
    let target = args.first().map_or("", String::as_str);
    // The switch says which version its controller speaks; any will do.
    let any = openflow::VersionBitmap::supported();
    let connection = Connection::open_socket(target, "snoop", any).await?;
    run(options, connection, startup, Answers::default()).await
}

/// What the arguments of `monitor` ask for.
#[derive(Default)]
struct Wishes {
    miss_send_len: Option<u16>,
    invalid_ttl: bool,
    /// Packets that pause go on at once.
    resumes: bool,
    /// What stands behind each `watch:`.
    watch: Vec<String>,
}

fn wishes(args: &[String]) -> Result<Wishes, Error> {
    let mut wishes = Wishes::default();
    for arg in args {
        if arg.starts_with(|c: char| c.is_ascii_digit()) {
            let len = arg.parse().map_err(|_| Error::NotANumber(arg.clone()))?;
            wishes.miss_send_len = Some(len);
        } else if arg == "invalid_ttl" {
            wishes.invalid_ttl = true;
        } else if arg == "resume" {
            wishes.resumes = true;
            // Asks for packets too.
            wishes.miss_send_len = Some(u16::MAX);
        } else if let Some(spec) = arg.strip_prefix("watch:") {
            wishes.watch.push(spec.to_owned());
        } else {
            return Err(Error::MonitorArgument(arg.clone()));
        }
    }
    Ok(wishes)
}

/// Asks for a flow monitor and shows the flows that are there.
async fn watch(
    options: &Options,
    connection: &mut Connection,
    id: u32,
    spec: &str,
) -> Result<(), Error> {
    let mut names = None;
    let parsed = parse_with_names(connection, options, &mut names, |names| {
        flow_monitor::parse(spec, id, names)
    })
    .await;
    let request = parsed.map_err(|e| match e {
        Error::Text(source) if names_spec(&source) => Error::Watch {
            spec: spec.to_owned(),
            source,
        },
        other => other,
    })?;
    let shown = match options.shows_names() {
        true => names.unwrap_or_default(),
        false => options.plain_names(),
    };
    let xid = next_xid();
    let request = Message::FlowMonitorRequest(vec![request]);
    connection.send(&request, xid).await?;
    loop {
        let received = connection.recv_xid(xid).await?;
        print(&received.print(&shown, options.verbosity(1)))?;
        if !received.has_more() {
            return Ok(());
        }
    }
}

/// Is the whole specification named in the error?
fn names_spec(error: &text::Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::UnknownKeyword(_) | ErrorKind::MissingValue(_)
    )
}

/// Asks for the format that the user insists on, or else for the richest one that is granted.
async fn choose_packet_in_format(
    connection: &mut Connection,
    options: &Options,
) -> Result<(), Error> {
    let formats: &[PacketInFormat] = match options.packet_in_format {
        Some(PacketInFormat::Standard) => &[PacketInFormat::Standard],
        Some(PacketInFormat::Nxt) => &[PacketInFormat::Nxt],
        Some(PacketInFormat::Nxt2) => &[PacketInFormat::Nxt2],
        None if connection.version() == Version::Of10 => {
            &[PacketInFormat::Nxt2, PacketInFormat::Nxt]
        }
        None => &[PacketInFormat::Nxt2],
    };
    for format in formats {
        let request = Message::SetPacketInFormat(*format);
        match connection.transact_noreply(&request).await? {
            None => return Ok(()),
            Some(error) if options.packet_in_format.is_some() => {
                return Err(Error::Refused(error.print(&Names::none(), 2)));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Where the text goes: standard error until told otherwise.
struct Output(File);

impl Output {
    /// Standard error as it is now: going into the background replaces it.
    fn stderr() -> Result<Output, Error> {
        let copied = std::io::stderr().as_fd().try_clone_to_owned();
        let fd = copied.map_err(|source| Error::Stream {
            what: "copying standard error",
            source,
        })?;
        Ok(Output(File::from(fd)))
    }

    fn write(&mut self, text: &str) {
        // Nobody is left to tell when this fails.
        let _ = self.0.write_all(text.as_bytes());
    }
}

/// What is answered without being told to.
#[derive(Clone, Copy, Default)]
struct Answers {
    echo: bool,
    /// Packets that wait for their controller.
    pauses: bool,
}

/// What the loop waits for.
enum Event {
    Message(Result<crate::connection::Received, Error>),
    Command(Request),
}

async fn run(
    options: &Options,
    mut connection: Connection,
    startup: Startup,
    answers: Answers,
) -> Result<(), Error> {
    let names = names_to_show(&mut connection, options).await?;
    let mut commands = Commands::new(&options.daemon.program);
    commands.event("exit", "", 0, 0);
    commands.event("ofctl/send", "OFMSG...", 1, 64);
    commands.event(
        "ofctl/packet-out",
        "\"in_port=PORT packet=HEX actions=...\"",
        1,
        1,
    );
    commands.event("ofctl/barrier", "", 0, 0);
    commands.event("ofctl/set-output-file", "FILE", 1, 1);
    let mut unixctl = match options.daemon.unixctl_path() {
        Some(path) => Some(Server::listen(&path, commands)?),
        None => None,
    };
    let mut output = Output::stderr()?;
    let _running = startup.complete()?;
    // Barriers that unixctl clients wait for.
    let mut barriers: Vec<(u32, Request)> = Vec::new();
    loop {
        let event = match &mut unixctl {
            Some((_, requests)) => tokio::select! {
                received = connection.recv() => Event::Message(received),
                Some(request) = requests.recv() => Event::Command(request),
            },
            None => Event::Message(connection.recv().await),
        };
        match event {
            Event::Message(received) => {
                let received = received?;
                let xid = received.header.xid;
                if let Some(at) = barriers.iter().position(|(b, _)| *b == xid) {
                    let (_, request) = barriers.swap_remove(at);
                    request.reply(Ok(String::new()));
                }
                let mut text = String::new();
                if options.timestamp {
                    text.push_str(&timestamp());
                }
                text.push_str(&received.print(&names, options.verbosity(2)));
                output.write(&text);
                if answers.echo {
                    connection.answered_echo(&received).await?;
                }
                if answers.pauses
                    && let Some(sent) = resume(&mut connection, &received).await?
                {
                    let text = message_bytes::print(&sent, &names, options.verbosity(2));
                    output.write(&format!("send: {text}"));
                }
            }
            Event::Command(request) => match request.command.as_str() {
                "exit" => {
                    request.reply_written(Ok(String::new())).await;
                    return Ok(());
                }
                "ofctl/barrier" => {
                    let xid = next_xid();
                    connection.send(&Message::BarrierRequest, xid).await?;
                    barriers.push((xid, request));
                }
                "ofctl/set-output-file" => {
                    let path = request.args.first().cloned().unwrap_or_default();
                    match File::create(&path) {
                        Ok(file) => {
                            output = Output(file);
                            request.reply(Ok(String::new()));
                        }
                        Err(e) => {
                            let why = crate::error::reason(&e);
                            request.reply(Err(format!("{path}: open failed ({why})")));
                        }
                    }
                }
                _ => {
                    let answer = send(&mut connection, &mut output, &names, options, &request);
                    let answer = answer.await;
                    request.reply(answer);
                }
            },
        }
    }
}

/// Sends a packet that waits back as it came; returns what was sent.
async fn resume(
    connection: &mut Connection,
    received: &crate::connection::Received,
) -> Result<Option<Vec<u8>>, Error> {
    match received.decode(connection).map(|decoded| decoded.message) {
        Ok(Message::PacketIn(packet)) if packet.continuation.is_some() => {
            let message = Message::Resume(packet);
            let bytes = openflow::codec::encode(&message, connection.dialect, 0)?;
            connection.send_bytes(&bytes).await?;
            Ok(Some(bytes))
        }
        _ => Ok(None),
    }
}

/// `ofctl/send` and `ofctl/packet-out`.
async fn send(
    connection: &mut Connection,
    output: &mut Output,
    names: &Names,
    options: &Options,
    request: &Request,
) -> Result<String, String> {
    let mut answer = String::new();
    for arg in &request.args {
        let bytes = if request.command == "ofctl/send" {
            value::hex_bytes(arg).ok_or("Trailing garbage in message")?
        } else {
            let packet = flow::parse_packet_out(arg, names).map_err(|e| e.to_string())?;
            openflow::codec::encode(&Message::PacketOut(packet), connection.dialect, next_xid())
                .map_err(|e| e.to_string())?
        };
        let text = message_bytes::print(&bytes, names, options.verbosity(2));
        output.write(&format!("send: {text}"));
        connection
            .send_bytes(&bytes)
            .await
            .map_err(|e| e.to_string())?;
        answer.push_str("sent\n");
    }
    Ok(answer)
}

/// `2026-01-31 12:34:56.789: `, in UTC.
fn timestamp() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (days, of_day) = (now.as_secs() / 86400, now.as_secs() % 86400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:03}: ",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
        now.subsec_millis()
    )
}

/// Year, month and day of a number of days since 1970-01-01 (Gregorian calendar).
fn civil(days: u64) -> (u64, u64, u64) {
    // Count from 0000-03-01, so that a leap day is the last of its year.
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_776), (2026, 11, 19));
    }
}
