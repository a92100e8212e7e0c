//! Joins two network devices by two flows: the least use of the kernel datapath, for measuring it.
//!
//! `crossover RUNDIR DEVICE DEVICE` joins them and ends; `crossover RUNDIR` prints the flows and
//! counters; `crossover RUNDIR destroy` takes the datapath away.

use std::path::Path;

use dpif::ebpf::{EbpfConfig, EbpfDpif};
use dpif::{DpOp, Dpif, PortKind, PortSpec};
use packet::{Action, DpPort, FlowKey, FlowMask};

fn main() -> Result<(), dpif::Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (rundir, devices) = match args.as_slice() {
        [rundir, devices @ ..] => (rundir, devices),
        [] => {
            return Err(dpif::Error::Datapath(
                "crossover RUNDIR [DEVICE DEVICE]".to_string(),
            ));
        }
    };
    let dp = EbpfDpif::open(&EbpfConfig::new(Path::new(rundir)))?;
    match devices {
        [first, second] => {
            let add = |name: &String| {
                let spec = PortSpec {
                    name: name.clone(),
                    kind: PortKind::System,
                };
                dp.port_add(&spec, None).map(|info| info.port)
            };
            let (first, second) = (add(first)?, add(second)?);
            for result in dp.operate(&[flow(first, second), flow(second, first)]) {
                result?;
            }
        }
        [word] if word == "destroy" => dp.destroy()?,
        _ => {
            for flow in dp.flow_dump()? {
                println!("{} {:?} {:?}", flow.key.in_port, flow.actions, flow.stats);
            }
            for port in dp.port_list()? {
                println!("{port:?} {:?}", dp.port_stats(port.port)?);
            }
            println!("{:?} {:?}", dp.stats()?, dp.drops()?);
        }
    }
    Ok(())
}

/// Everything from one port to the other.
fn flow(from: DpPort, to: DpPort) -> DpOp {
    let mut key = FlowKey::zero();
    key.in_port = from.0;
    let mut mask = FlowMask::empty();
    mask.0.in_port = u32::MAX;
    mask.0.recirc_id = u32::MAX;
    DpOp::FlowPut {
        key,
        mask,
        actions: vec![Action::Output(to)],
        replace: true,
    }
}
