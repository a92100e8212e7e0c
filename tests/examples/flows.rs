//! Measures how fast flows are added, shown and deleted: this project's switch and the stock one,
//! each by this project's tool and by the stock one, taking turns. `cargo xtask bench-flows` runs
//! it.
//!
//! The stock switch has its dummy datapath, ours the kernel's without ports; no packets pass, so
//! that tables, OpenFlow and the tools are what is measured. Time is the tool's, from its start
//! to its end; the processor time of both is there too, because it depends less on what else the
//! machine does, and the most memory that the tool had.

use std::any::Any;
use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tests::process::our_program;
use tests::{StockSwitch, Switch};

const USAGE: &str = "\
usage: flows [--runs N] [--flows N[,N...]] [--nice N]
  --runs N         turns of each pair of switch and tool; the median counts (3)
  --flows N,N...   sizes of the table (10000,100000)
  --nice N         run switches and tools at this nice value";

/// A switch and the tool that talks to it; the stock pair is what others are compared with.
const PAIRS: [(Daemon, Tool); 4] = [
    (Daemon::Stock, Tool::Stock),
    (Daemon::Stock, Tool::Ours),
    (Daemon::Ours, Tool::Stock),
    (Daemon::Ours, Tool::Ours),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Daemon {
    Stock,
    Ours,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tool {
    Stock,
    Ours,
}

/// What is done to a switch.
#[derive(Clone, Copy, Debug)]
struct Step {
    name: &'static str,
    options: &'static [&'static str],
    command: &'static str,
    with_file: bool,
    /// Flows that are there afterwards.
    fills: bool,
}

const STEPS: [Step; 5] = [
    Step::new("add-flows", &[], "add-flows", true, true),
    Step::new("dump-flows", &[], "dump-flows", false, true),
    Step::new("del-flows", &[], "del-flows", false, false),
    Step::new("add-flows --bundle", BUNDLE, "add-flows", true, true),
    Step::new("del-flows (again)", &[], "del-flows", false, false),
];
const BUNDLE: &[&str] = &["--bundle", "-O", "OpenFlow14"];

impl Step {
    const fn new(
        name: &'static str,
        options: &'static [&'static str],
        command: &'static str,
        with_file: bool,
        fills: bool,
    ) -> Step {
        Step {
            name,
            options,
            command,
            with_file,
            fills,
        }
    }
}

struct Options {
    runs: usize,
    flows: Vec<usize>,
}

fn main() -> Result<()> {
    let options = parse()?;
    let scratch = tempfile::tempdir().context("scratch directory")?;
    let ours_tool = our_program("ofctl")?;
    println!(
        "| flows | step | switch | tool | ms | ratio | switch's CPU ms | tool's CPU ms | both's \
         ratio | tool's KiB | min-max ms |\n\
         | ---: | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    );
    for n in options.flows {
        let file = scratch.path().join(format!("flows-{n}"));
        std::fs::write(&file, flows(n))?;
        let mut results: Vec<Vec<Run>> = vec![Vec::new(); PAIRS.len()];
        for _ in 0..options.runs {
            for (runs, (daemon, tool)) in results.iter_mut().zip(PAIRS) {
                let tool = match tool {
                    Tool::Stock => PathBuf::from("ovs-ofctl"),
                    Tool::Ours => ours_tool.clone(),
                };
                let run = measure(daemon, &tool, &file, n);
                runs.push(run.with_context(|| format!("{daemon:?} by {}", tool.display()))?);
            }
        }
        report(n, &results);
    }
    Ok(())
}

fn parse() -> Result<Options> {
    let mut options = Options {
        runs: 3,
        flows: vec![10_000, 100_000],
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} wants a value"));
        match arg.as_str() {
            "--runs" => options.runs = value()?.parse()?,
            "--flows" => {
                let sizes = value()?;
                let sizes = sizes.split(',').map(str::parse);
                options.flows = sizes.collect::<Result<_, _>>()?;
            }
            "--nice" => {
                let nice: i32 = value()?.parse()?;
                // SAFETY: a plain system call about this process.
                let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
                ensure!(
                    done == 0,
                    "nice {nice}: {}",
                    std::io::Error::last_os_error()
                );
            }
            "--help" => {
                println!("{USAGE}");
                std::process::exit(0);
            }
            _ => bail!("{arg}?\n{USAGE}"),
        }
    }
    ensure!(options.runs > 0, "--runs must be at least 1");
    Ok(options)
}

/// `n` flows in four tables with four masks.
fn flows(n: usize) -> String {
    let mut text = String::new();
    for i in 0..n {
        let [_, a, b, c] = (i as u32).to_be_bytes();
        let _ = match i % 4 {
            0 => writeln!(
                text,
                "table=0,priority=100,tcp,nw_dst=10.{a}.{b}.{c},tp_dst=80,actions=output:1"
            ),
            1 => writeln!(
                text,
                "table=1,priority=50,in_port=1,dl_dst=02:00:00:{a:02x}:{b:02x}:{c:02x},\
                 actions=mod_vlan_vid:5,output:2"
            ),
            2 => writeln!(
                text,
                "table=2,priority={},ip,nw_src=192.168.0.0/16,nw_dst=10.{a}.{b}.{c},\
                 actions=load:{i:#x}->NXM_NX_REG0[],resubmit(,3)",
                i % 1000
            ),
            _ => writeln!(
                text,
                "table=3,priority=10,ipv6,reg0={i:#x},actions=load:{i:#x}->NXM_NX_REG1[],normal"
            ),
        };
    }
    text
}

/// Figures of one turn; a step that the switch or the tool refuses has none.
#[derive(Clone, Debug)]
struct Run {
    steps: Vec<Option<Figures>>,
    /// KiB that the switch grew by while it was filled.
    growth: f64,
}

/// What a step took.
#[derive(Clone, Copy, Debug)]
struct Figures {
    wall_ms: f64,
    /// Processor time of the switch and of the tool.
    switch_ms: f64,
    tool_ms: f64,
    /// The most memory that the tool had.
    tool_kib: f64,
}

fn measure(daemon: Daemon, tool: &Path, file: &Path, n: usize) -> Result<Run> {
    let add = [
        "add-br",
        "br0",
        "--",
        "set",
        "bridge",
        "br0",
        "fail_mode=secure",
        "protocols=OpenFlow10,OpenFlow13,OpenFlow14",
    ];
    // Ends the switch when it is dropped.
    let (guard, mgmt, pid): (Box<dyn Any>, _, _) = match daemon {
        Daemon::Stock => {
            let switch = StockSwitch::start("bench-flows")?;
            let switch = switch.context("the stock switch is not installed")?;
            switch.vsctl(&format!("{} datapath_type=dummy", add.join(" ")))?;
            let mgmt = format!("unix:{}", switch.path("br0.mgmt").display());
            let pidfile = std::fs::read_to_string(switch.path("ovs-vswitchd.pid"))?;
            let pid = pidfile.trim().parse().ok();
            (Box::new(switch), mgmt, pid)
        }
        Daemon::Ours => {
            let switch = Switch::start("bench-flows")?;
            switch.vsctl(&add)?;
            let (mgmt, pid) = (switch.mgmt("br0"), switch.vswitchd_pid());
            (Box::new(switch), mgmt, pid)
        }
    };
    let pid = pid.context("the switch runs")?;
    let before = resident(pid)?;
    let mut growth = 0.0;
    let mut steps = Vec::new();
    for (i, step) in STEPS.iter().enumerate() {
        let mut command = Command::new(tool);
        command.args(step.options).arg(step.command).arg(&mgmt);
        if step.with_file {
            command.arg(file);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null());
        let cpu = cpu_ms(pid)?;
        let started = Instant::now();
        let (status, usage) = run(&mut command).with_context(|| format!("{command:?}"))?;
        let wall_ms = started.elapsed().as_secs_f64() * 1000.0;
        let switch_ms = cpu_ms(pid)? - cpu;
        if !status.success() {
            ensure!(!step.options.is_empty(), "{command:?} failed");
            steps.push(None);
            continue;
        }
        let expected = if step.fills { n } else { 0 };
        check_count(&mgmt, expected)?;
        if i == 0 {
            growth = resident(pid)? - before;
        }
        steps.push(Some(Figures {
            wall_ms,
            switch_ms,
            tool_ms: millis(usage.ru_utime) + millis(usage.ru_stime),
            tool_kib: usage.ru_maxrss as f64,
        }));
    }
    drop(guard);
    Ok(Run { steps, growth })
}

/// Runs a command to its end; says what it used.
fn run(command: &mut Command) -> Result<(ExitStatus, libc::rusage)> {
    let child = command.spawn()?;
    let pid = libc::pid_t::try_from(child.id())?;
    let mut status = 0;
    // SAFETY: all zeros are a value of this type.
    let mut usage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to values that live long enough; nobody else waits for the child.
    let waited = unsafe { libc::wait4(pid, &mut status, 0, &mut usage) };
    ensure!(waited == pid, "{}", std::io::Error::last_os_error());
    Ok((ExitStatus::from_raw(status), usage))
}

fn millis(time: libc::timeval) -> f64 {
    time.tv_sec as f64 * 1000.0 + time.tv_usec as f64 / 1000.0
}

/// Asks the switch whether it has as many flows as it should.
fn check_count(mgmt: &str, expected: usize) -> Result<()> {
    let mut command = Command::new("ovs-ofctl");
    let text = tests::process::output(command.args(["dump-aggregate", mgmt]))?;
    let wanted = format!("flow_count={expected}");
    ensure!(text.trim_end().ends_with(&wanted), "{wanted}, but: {text}");
    Ok(())
}

/// Resident memory of a process in KiB.
fn resident(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let number = line.and_then(|l| l.split_whitespace().next());
    Ok(number.context("VmRSS")?.parse()?)
}

/// Processor time of a process in milliseconds.
fn cpu_ms(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, which may hold anything, ends with the last parenthesis.
    let (_, rest) = stat.rsplit_once(')').context("stat")?;
    let mut words = rest.split_whitespace().skip(11);
    let mut ticks = || -> Result<f64> { Ok(words.next().context("stat")?.parse()?) };
    let sum = ticks()? + ticks()?;
    // SAFETY: a plain library call.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(sum * 1000.0 / per_second as f64)
}

fn report(n: usize, results: &[Vec<Run>]) {
    for (i, step) in STEPS.iter().enumerate() {
        let mut base = None;
        for (runs, (daemon, tool)) in results.iter().zip(PAIRS) {
            let figures: Vec<Figures> = runs.iter().filter_map(|r| r.steps[i]).collect();
            if figures.is_empty() {
                println!(
                    "| {n} | {} | {daemon:?} | {tool:?} | refused | | | | | | |",
                    step.name
                );
                continue;
            }
            let of = |figure: fn(&Figures) -> f64| figures.iter().map(figure).collect::<Vec<_>>();
            let walls = of(|f| f.wall_ms);
            let wall = median(&walls);
            let cpu = median(&of(|f| f.switch_ms + f.tool_ms));
            let (base_wall, base_cpu) = *base.get_or_insert((wall, cpu));
            println!(
                "| {n} | {} | {daemon:?} | {tool:?} | {wall:.0} | {:.2} | {:.0} | {:.0} | {:.2} | {:.0} | {:.0}-{:.0} |",
                step.name,
                wall / base_wall,
                median(&of(|f| f.switch_ms)),
                median(&of(|f| f.tool_ms)),
                cpu / base_cpu,
                median(&of(|f| f.tool_kib)),
                walls.iter().copied().fold(f64::MAX, f64::min),
                walls.iter().copied().fold(0.0, f64::max),
            );
        }
    }
    for (runs, (daemon, tool)) in results.iter().zip(PAIRS) {
        let growth = median(&runs.iter().map(|r| r.growth).collect::<Vec<_>>());
        let each = growth * 1024.0 / n as f64;
        println!(
            "| {n} | memory | {daemon:?} | {tool:?} | {growth:.0} KiB, {each:.0} bytes each |"
        );
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
