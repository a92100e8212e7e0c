//! Clients that issue transactions for a while, and clients that only monitor.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use daemon::stream::{Active, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinSet, LocalSet};

use crate::server::Running;

/// What a client's transactions do.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// Insert a row, mutate it, select it, delete it, and so on; changes ask to be durable.
    Mix,
    /// The same without asking.
    Relaxed,
    /// Change an ephemeral column of one row, which leaves no record.
    Ephemeral,
    /// Read one row.
    Select,
    /// Mutate one row, durably.
    Mutate,
}

/// One row of the table.
pub struct Case {
    kind: Kind,
    clients: usize,
    monitors: usize,
}

impl Case {
    pub const fn new(kind: Kind, clients: usize, monitors: usize) -> Self {
        Self {
            kind,
            clients,
            monitors,
        }
    }

    pub fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Mix => "durable mix",
            Kind::Relaxed => "mix, durable not asked",
            Kind::Ephemeral => "ephemeral",
            Kind::Select => "select",
            Kind::Mutate => "durable mutate",
        };
        let mut name = format!("{kind}, {} clients", self.clients);
        if self.monitors > 0 {
            name += &format!(", {} monitors", self.monitors);
        }
        name
    }
}

/// Rows that are there before, so that tables are not empty.
const ROWS: usize = 1000;
/// What the last change says, which every monitor has to see before the clock stops.
const END: &str = "end-of-the-run";

/// Runs the load and gives its figures.
pub fn run(case: &Case, server: &Running, seconds: f64) -> Result<Vec<(&'static str, f64)>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, run_async(case, server, seconds))
}

async fn run_async(
    case: &Case,
    server: &Running,
    seconds: f64,
) -> Result<Vec<(&'static str, f64)>> {
    let mut control = Client::connect(server).await?;
    for _ in 0..ROWS / 100 {
        let insert = format!(",{}", insert("filler")).repeat(100);
        control.transact(&insert[1..]).await?;
    }
    control
        .transact(r#"{"op":"insert","table":"Open_vSwitch","row":{}}"#)
        .await?;
    let mut monitors = JoinSet::new();
    for _ in 0..case.monitors {
        let mut client = Client::connect(server).await?;
        let request = r#"{"id":1,"method":"monitor_cond","params":["Open_vSwitch",["monid","Open_vSwitch"],{"QoS":[{"columns":["type","external_ids"]}]}]}"#;
        client.call(request).await?;
        monitors.spawn_local(async move { client.until_seen(END).await });
    }
    let totals = Rc::new(Totals::default());
    let mut clients = Vec::new();
    for n in 0..case.clients {
        let mut client = Client::connect(server).await?;
        let row = client.transact(&first(case.kind, n)).await?;
        clients.push((client, uuid_in(&row)?));
    }
    let mut workers = JoinSet::new();
    let cpu = server.cpu_ns()?;
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    for (client, uuid) in clients {
        workers.spawn_local(work(client, uuid, case.kind, end, totals.clone()));
    }
    while let Some(result) = workers.join_next().await {
        result??;
    }
    if case.monitors > 0 {
        control.transact(&insert(END)).await?;
    }
    while let Some(result) = monitors.join_next().await {
        result??;
    }
    let elapsed = begin.elapsed().as_secs_f64();
    let cpu = (server.cpu_ns()? - cpu) as f64 / 1e3;
    let mut latencies = totals.latencies.take();
    latencies.sort_unstable();
    let count = latencies.len();
    if count == 0 {
        bail!("no transaction ended in {seconds} s");
    }
    let quantile =
        |q: f64| f64::from(latencies[((count as f64 * q) as usize).min(count - 1)]) / 1e3;
    Ok(vec![
        ("per second", count as f64 / elapsed),
        ("p50 us", quantile(0.5)),
        ("p99 us", quantile(0.99)),
        ("server cpu us", cpu / count as f64),
    ])
}

#[derive(Default)]
struct Totals {
    /// In nanoseconds.
    latencies: RefCell<Vec<u32>>,
    serial: Cell<u64>,
}

/// One client: transactions one after the other until `end`.
async fn work(
    mut client: Client,
    mut uuid: String,
    kind: Kind,
    end: Instant,
    totals: Rc<Totals>,
) -> Result<()> {
    let mut step = 0usize;
    loop {
        let serial = totals.serial.get() + 1;
        totals.serial.set(serial);
        let by_uuid = format!(r#""where":[["_uuid","==",["uuid","{uuid}"]]]"#);
        let mutate = format!(
            r#"{{"op":"mutate","table":"QoS",{by_uuid},"mutations":[["external_ids","delete",["set",["serial"]]],["external_ids","insert",["map",[["serial","{serial}"]]]]]}}"#
        );
        let select = format!(
            r#"{{"op":"select","table":"QoS",{by_uuid},"columns":["type","external_ids"]}}"#
        );
        let delete = format!(r#"{{"op":"delete","table":"QoS",{by_uuid}}}"#);
        let durable = r#",{"op":"commit","durable":true}"#;
        let operations = match (kind, step % 4) {
            (Kind::Mix, 0) => mutate + durable,
            (Kind::Mix | Kind::Relaxed, 1) | (Kind::Select, _) => select,
            (Kind::Mix, 2) => delete + durable,
            (Kind::Mix, _) => insert("mix") + durable,
            (Kind::Relaxed, 0) => mutate,
            (Kind::Relaxed, 2) => delete,
            (Kind::Relaxed, _) => insert("mix"),
            (Kind::Mutate, _) => mutate + durable,
            (Kind::Ephemeral, _) => format!(
                r#"{{"op":"update","table":"Bridge",{by_uuid},"row":{{"status":["map",[["serial","{serial}"]]]}}}}"#
            ),
        };
        let inserts = operations.starts_with(r#"{"op":"insert""#);
        let sent = Instant::now();
        if sent >= end {
            return Ok(());
        }
        let answer = client.transact(&operations).await?;
        let took = u32::try_from(sent.elapsed().as_nanos()).unwrap_or(u32::MAX);
        totals.latencies.borrow_mut().push(took);
        if inserts {
            uuid = uuid_in(&answer)?;
        } else if !answer.contains(r#""count":1"#) && !answer.contains("linux-noop") {
            bail!("nothing was done: {answer}");
        }
        step += 1;
    }
}

/// The transaction that makes a client's own row.
fn first(kind: Kind, n: usize) -> String {
    match kind {
        Kind::Ephemeral => format!(
            r#"{{"op":"insert","table":"Bridge","uuid-name":"b","row":{{"name":"br{n}"}}}},{{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["bridges","insert",["named-uuid","b"]]]}}"#
        ),
        _ => insert("own"),
    }
}

fn insert(text: &str) -> String {
    format!(
        r#"{{"op":"insert","table":"QoS","row":{{"type":"linux-noop","external_ids":["map",[["owner","{text}"],["serial","0"]]],"other_config":["map",[["max-rate","1000000"]]]}}}}"#
    )
}

fn uuid_in(answer: &str) -> Result<String> {
    let at = answer.find(r#"["uuid",""#).context("no UUID in answer")?;
    let text = answer.get(at + 9..at + 45).context("short UUID")?;
    Ok(text.to_owned())
}

struct Client {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Client {
    async fn connect(server: &Running) -> Result<Self> {
        Ok(Self {
            stream: Active::Unix(server.socket.clone()).connect().await?.stream,
            // Large enough that one read takes what there is.
            buffer: Vec::with_capacity(64 << 10),
        })
    }

    /// Runs a transaction; gives the text of the answer when it is no error.
    async fn transact(&mut self, operations: &str) -> Result<String> {
        let request =
            format!(r#"{{"id":7,"method":"transact","params":["Open_vSwitch",{operations}]}}"#);
        let answer = self.call(&request).await?;
        if !answer.contains(r#""error":null"#) || answer.contains(r#""error":""#) {
            bail!("{request} was answered {answer}");
        }
        Ok(answer)
    }

    async fn call(&mut self, request: &str) -> Result<String> {
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("connection closed");
            }
            // Nothing else comes to this client, so a whole object is the whole answer.
            if is_whole(&self.buffer) {
                return Ok(std::str::from_utf8(&self.buffer)?.to_owned());
            }
        }
    }

    /// Reads until `text` comes.
    async fn until_seen(&mut self, text: &str) -> Result<()> {
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("connection closed");
            }
            if std::str::from_utf8(&self.buffer)?.contains(text) {
                return Ok(());
            }
            let keep = self.buffer.len().saturating_sub(text.len());
            self.buffer.drain(..keep);
        }
    }
}

/// Whether brackets are balanced; the texts of this load have none within strings.
fn is_whole(bytes: &[u8]) -> bool {
    let mut depth = 0i32;
    for byte in bytes {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    depth == 0 && !bytes.is_empty()
}
