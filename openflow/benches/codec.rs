//! The messages that come in crowds: flow-mods read, packet-ins written, the lines of flow files
//! read and flows of a table shown.
//!
//! `cargo bench -p openflow`. For figures beside the stock switch: `cargo xtask bench-flows`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use openflow::codec::{Dialect, decode, encode};
use openflow::message::{FlowModCommand, PacketInFormat};
use openflow::text::{Names, flow, message_bytes};
use openflow::{Message, Version};

const FLOW: &str = "table=2,priority=100,cookie=0x5,tcp,in_port=1,nw_src=192.168.0.0/16,\
                    nw_dst=10.1.2.3,tp_dst=80,actions=mod_dl_dst:02:00:00:00:00:01,\
                    set_field:0x5->reg0,resubmit(,3)";

/// A TCP segment without data over IPv4.
const FRAME: [u8; 54] = [
    0x50, 0x54, 0, 0, 0, 1, 0x50, 0x54, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0,
    10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0,
];

fn dialects() -> [(&'static str, Dialect); 3] {
    let of10 = Dialect {
        flow_mod_table_id: true,
        packet_in_format: PacketInFormat::Nxt2,
        ..Dialect::from(Version::Of10)
    };
    [
        ("1.0", of10),
        ("1.3", Dialect::from(Version::Of13)),
        ("1.5", Dialect::from(Version::Of15)),
    ]
}

fn flow_mod() -> Message {
    let parsed = flow::parse_flow_mod(FLOW, FlowModCommand::Add, &Names::none()).unwrap();
    Message::FlowMod(parsed.value)
}

/// `OFPT_PACKET_IN` of 1.3 with the frame, from port 1 by table 2.
fn packet_in() -> Message {
    let mut bytes = vec![4, 10, 0, 0, 0, 0, 0, 0];
    // No buffer, length of the frame, reason "action", table, cookie.
    bytes.extend([0xff; 4]);
    bytes.extend([0, FRAME.len() as u8, 1, 2]);
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 5]);
    // A match on the port alone.
    bytes.extend([0, 1, 0, 12, 0x80, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0]);
    bytes.extend([0, 0]);
    bytes.extend(FRAME);
    bytes[3] = bytes.len() as u8;
    decode(&bytes, &Dialect::from(Version::Of13))
        .unwrap()
        .message
}

fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("messages");
    group.throughput(Throughput::Elements(1));
    for (name, dialect) in dialects() {
        let bytes = encode(&flow_mod(), dialect, 1).unwrap();
        group.bench_function(format!("decode flow-mod {name}"), |b| {
            b.iter(|| decode(black_box(&bytes), &dialect).unwrap());
        });
        let message = flow_mod();
        group.bench_function(format!("encode flow-mod {name}"), |b| {
            b.iter(|| encode(black_box(&message), dialect, 1).unwrap());
        });
        let message = packet_in();
        group.bench_function(format!("encode packet-in {name}"), |b| {
            b.iter(|| encode(black_box(&message), dialect, 1).unwrap());
        });
        let bytes = encode(&message, dialect, 1).unwrap();
        group.bench_function(format!("decode packet-in {name}"), |b| {
            b.iter(|| decode(black_box(&bytes), &dialect).unwrap());
        });
    }
    group.finish();
}

fn text(c: &mut Criterion) {
    let mut group = c.benchmark_group("text");
    group.throughput(Throughput::Elements(1));
    let names = Names::none();
    group.bench_function("read a flow", |b| {
        b.iter(|| flow::parse_flow_mod_line(black_box(FLOW), &names).unwrap());
    });
    let bytes = encode(&flow_mod(), Dialect::from(Version::Of13), 1).unwrap();
    group.bench_function("print a flow-mod", |b| {
        b.iter(|| message_bytes::print(black_box(&bytes), &names, 1));
    });
    group.finish();
}

criterion_group!(benches, messages, text);
criterion_main!(benches);
