//! What can be decoded and cannot be carried out: the bytes are those that the decoder of Open
//! vSwitch 3.1 refuses (`ovs-ofctl ofp-print` names the error), while here the switch does, with
//! the same error.

use std::time::Instant;

use bytes::Bytes;
use ofproto::conn::ConnKind;
use ofproto::ofproto::{Effect, Ofproto};
use ofproto::snapshot::FailMode;
use openflow::codec::{self, Dialect};
use openflow::message::ErrorMessage;
use openflow::{Message, Version};
use packet::EthAddr;

const CASES: [(&str, &str, &str); 9] = [
    (
        "output to a port between the real and the reserved ones",
        "OFPBAC_BAD_OUT_PORT",
        "010e005000000006003820ff00000000000000000000000000000000000000000000000000000000\
         000000000000000000000000000000000000000000008000ffffffffffff000000000008ff010000",
    ),
    (
        "the same in an extended flow-mod",
        "OFPBAC_BAD_OUT_PORT",
        "0104004800000008000023200000000d00000000000000000000000000008000ffffffffffff0000\
         000b0000000000000000060208000001340101000000000000000008ff010000",
    ),
    (
        "output to no port in a packet-out",
        "OFPBAC_BAD_OUT_PORT",
        "040d004700000006fffffffffffffffd002000000000000000000010000000020000000000000000\
         00000010ffffffff0000000000000000505400000007505400000005080600",
    ),
    (
        "a packet-out from a reserved port",
        "OFPBRC_BAD_PORT",
        "010d002600001234ffffffffff00000800000008fffbffe50000000000000000000000000000",
    ),
    (
        "a packet-out from a port that there cannot be",
        "OFPBRC_BAD_PORT",
        "040d003600001234ffffffffffffff7d001000000000000000000010fffffffb0000000000000000\
         0000000000000000000000000000",
    ),
    (
        "a flow for all tables in 1.1",
        "OFPFMFC_BAD_TABLE_ID",
        "020e00880000000600000000000000000000000000000000ff00000000008000ffffffff00000002\
         ffffffff000000000000005800000000000003ff000000000000ffffffffffff000000000000ffff\
         ffffffff000000000000000000000000ffffffff00000000ffffffff000000000000000000000000\
         0000000000000000ffffffffffffffff",
    ),
    (
        "a flow for all tables in 1.5",
        "OFPFMFC_BAD_TABLE_ID",
        "060e00380000000600000000000000000000000000000000ff00000000008000ffffffffffffffff\
         ffffffff000000000001000400000000",
    ),
    (
        "goto-table that leads back",
        "OFPBIC_BAD_TABLE_ID",
        "040e004000000006000000000000000000000000000000000500000000008000ffffffffffffffff\
         ffffffff0000000000010004000000000001000802000000",
    ),
    (
        "an action of IP packets for others",
        "OFPBAC_MATCH_INCONSISTENT",
        "040e000000000006000000000000000000000000000000000000000000008000ffffffffffffffff\
         ffffffff000000000001000400000000000400180000000000190010800018040a00000100000000",
    ),
];

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal"))
        .collect()
}

#[test]
fn what_stock_refuses_to_decode_the_switch_refuses_to_do() {
    let now = Instant::now();
    let mut ofproto = Ofproto::new(1);
    let hw = EthAddr([2, 0, 0, 0, 0, 9]);
    let bridge = ofproto
        .bridge_add("br0", 1, hw, FailMode::Secure, now)
        .expect("a bridge");
    for (what, want, hex) in CASES {
        let mut bytes = from_hex(hex);
        let len = u16::try_from(bytes.len()).expect("a message");
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        let version = Version::from_wire(bytes[0]).expect("a version");
        let decoded = codec::decode(&bytes, &Dialect::from(version));
        let message = decoded.unwrap_or_else(|e| panic!("{what}: {e}")).message;
        let conn = ofproto
            .conn_open(bridge, ConnKind::Controller, version, now)
            .expect("a connection");
        while ofproto.poll_effect().is_some() {}
        ofproto.handle_message(conn, 7, message, &Bytes::from(bytes), now);
        let answers: Vec<Effect> = std::iter::from_fn(|| ofproto.poll_effect()).collect();
        let error = answers.iter().find_map(|effect| match effect {
            Effect::Send {
                message: Message::Error(ErrorMessage::Known { error, .. }),
                ..
            } => Some(error.name()),
            _ => None,
        });
        assert_eq!(error, Some(want), "{what}: {answers:?}");
        ofproto.conn_close(conn, now);
    }
}
