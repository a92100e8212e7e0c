"""Writes os_ken.txt: messages as the encoders of os-ken build them, and what Open vSwitch sees in
them.

    target/venv/bin/python openflow/tests/data/os_ken_vectors.py \
        > openflow/tests/data/os_ken.txt

It takes os-ken with the messages that its own tests read and write (`cargo xtask setup` installs
it), and `ovs-ofctl`, whose `ofp-print` says what a message means. What os-ken cannot build is
listed on standard error. The output has blocks of: `## VERSION NAME`; the bytes; the text of
`ofp-print`, or `error` and the error that Open vSwitch finds, or nothing where it does not know the
message.
"""

import inspect
import json
import os
import re
import subprocess
import sys

import os_ken.tests
from os_ken.ofproto import nicira_ext, nx_match, ofproto_protocol
from os_ken.ofproto import (ofproto_v1_0, ofproto_v1_2, ofproto_v1_3, ofproto_v1_4, ofproto_v1_5)
from os_ken.ofproto import (ofproto_v1_0_parser, ofproto_v1_2_parser, ofproto_v1_3_parser,
                            ofproto_v1_4_parser, ofproto_v1_5_parser)

VERSIONS = {
    0: (ofproto_v1_0, ofproto_v1_0_parser),
    2: (ofproto_v1_2, ofproto_v1_2_parser),
    3: (ofproto_v1_3, ofproto_v1_3_parser),
    4: (ofproto_v1_4, ofproto_v1_4_parser),
    5: (ofproto_v1_5, ofproto_v1_5_parser),
}
XID = 0x4F53
TESTS = os.path.dirname(os_ken.tests.__file__)

# The framework marks this one as a barrier.
ofproto_v1_3_parser.ONFBundleCtrlMsg.cls_msg_type = ofproto_v1_3.OFPT_EXPERIMENTER


def say(*words):
    print(*words, file=sys.stderr)


def meaning(data):
    """How Open vSwitch prints it."""
    command = ["ovs-ofctl", "ofp-print", data.hex(), "1"]
    text = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in (text.stdout + text.stderr).splitlines()
             if line.strip() and "|INFO|" not in line]
    error = re.search(r"\*\*\*decode error: (OFP\w+)\*\*\*", text.stdout)
    # In an error message it is of what the message quotes.
    if error and data[1] != 1:
        return [f"error {error[1]}"]
    if any("***" in line or "unknown" in line or "|WARN|" in line for line in lines):
        return []
    return lines


class Writer:
    def __init__(self):
        self.seen = set()

    def put(self, minor, name, msg):
        """Writes what `msg`, a function, builds."""
        try:
            msg = msg()
            if msg.xid is None:
                msg.set_xid(XID)
            msg.serialize()
        except Exception as e:  # Whatever the framework cannot do is of interest.
            say(f"1.{minor} {name}: {type(e).__name__} {e}")
            return
        self.write(minor, name, bytes(msg.buf))

    def write(self, minor, name, data):
        if data in self.seen:
            return
        self.seen.add(data)
        print(f"## 1.{minor} {name}")
        print(data.hex())
        for line in meaning(data):
            print(line)


def described(writer, minor):
    """Messages that the framework's own tests read and write."""
    folder = f"{TESTS}/packet_data/of1{minor}"
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".packet"):
            continue
        with open(f"{TESTS}/unit/ofproto/json/of1{minor}/{name}.json", encoding="utf-8") as file:
            kind = next(iter(json.load(file)))
        with open(f"{folder}/{name}", "rb") as file:
            data = file.read()
        short = name.split(".")[0].replace("libofproto-OFP1", "libofproto-")
        writer.write(minor, f"{kind} {short}", data)


def flow_mod(minor, dp, match, instructions):
    ofp, parser = VERSIONS[minor]
    return parser.OFPFlowMod(
        dp, 0x1234, 0, 1, ofp.OFPFC_ADD, 10, 20, 30, ofp.OFP_NO_BUFFER, ofp.OFPP_ANY,
        ofp.OFPG_ANY, 0, match=match, instructions=instructions)


# What a field needs, by what its name begins with.
NEEDS = [
    (("ipv4_", "ip_ttl"), [("eth_type", 0x0800)]),
    (("ip_", "nw_"), [("eth_type", 0x0800)]),
    (("ipv6_nd_tll", "nd_tll"), [("eth_type", 0x86DD), ("ip_proto", 58), ("icmpv6_type", 136)]),
    (("ipv6_nd_", "nd_"), [("eth_type", 0x86DD), ("ip_proto", 58), ("icmpv6_type", 135)]),
    (("ipv6_",), [("eth_type", 0x86DD)]),
    (("arp_",), [("eth_type", 0x0806)]),
    (("mpls_",), [("eth_type", 0x8847)]),
    (("pbb_",), [("eth_type", 0x88E7)]),
    (("tcp_",), [("eth_type", 0x0800), ("ip_proto", 6)]),
    (("udp_",), [("eth_type", 0x0800), ("ip_proto", 17)]),
    (("sctp_",), [("eth_type", 0x0800), ("ip_proto", 132)]),
    (("icmpv4_",), [("eth_type", 0x0800), ("ip_proto", 1)]),
    (("icmpv6_",), [("eth_type", 0x86DD), ("ip_proto", 58)]),
    (("vlan_pcp",), [("vlan_vid", 0x1001)]),
    (("in_phy_port",), [("in_port", 1)]),
    (("ct_nw_", "ct_tp_"), [("eth_type", 0x0800)]),
    (("ct_ipv6_",), [("eth_type", 0x86DD)]),
    (("nsh_",), [("eth_type", 0x894F)]),
]
# How the fields are called in Nicira's form, which is before OpenFlow's in a match.
NICIRAS = {"eth_type": "eth_type_nxm", "ip_proto": "ip_proto_nxm", "vlan_vid": "vlan_tci",
           "icmpv6_type": "icmpv6_type_nxm", "in_port": "in_port_nxm"}


def needs(kind):
    plain = kind.name.removesuffix("_nxm")
    of_nicira = (kind.oxm_type >> 7) in (0, 1)
    for starts, fields in NEEDS:
        if plain.startswith(starts):
            names = NICIRAS if of_nicira else {}
            return [(names.get(f[0], f[0]), f[1]) for f in fields if f[0] != plain]
    return []


def value(size, last):
    """A value of so many bytes, and one that is a mask of it."""
    return bytes(size - 1) + bytes([last])


def fields(writer, minor, dp):
    """Every field that matches can have, with and without a mask, and in set_field."""
    ofp, parser = VERSIONS[minor]
    for kind in ofp.oxm_types:
        size = kind.type.size
        wire = value(size, 1)
        if kind.name == "vlan_vid":
            wire = b"\x10\x01"
        if kind.name == "nw_tos":
            wire = b"\x20"
        if kind.name in ("eth_type", "eth_type_nxm"):
            wire = b"\x08\x00"

        def user(mask=None, kind=kind, wire=wire):
            return ofp.oxm_to_user(ofp.oxm_from_user(kind.name, kind.type.to_user(wire))[0],
                                   wire, mask)

        def match(mask, kind=kind, user=user):
            wanted = dict(needs(kind))
            name, shown = user(mask)
            wanted[name] = shown
            return parser.OFPMatch(**wanted)

        writer.put(minor, f"field {kind.name}",
                   lambda: flow_mod(minor, dp, match(None), []))
        full = value(size, 1) if kind.name != "vlan_vid" else b"\x1f\xff"
        writer.put(minor, f"field {kind.name}/mask",
                   lambda: flow_mod(minor, dp, match(full), []))

        def set_field(kind=kind, user=user):
            action = parser.OFPActionSetField(**{user(None)[0]: user(None)[1]})
            wanted = parser.OFPMatch(**dict(needs(kind)))
            return flow_mod(minor, dp, wanted, [parser.OFPInstructionActions(
                ofp.OFPIT_APPLY_ACTIONS, [action])])

        writer.put(minor, f"set_field {kind.name}", set_field)


def actions(minor):
    """Every action, by its class: what builds it, and what the match needs."""
    ofp, parser = VERSIONS[minor]
    p = parser
    ip = [("eth_type", 0x0800)]
    mpls = [("eth_type", 0x8847)]
    nsh = [("eth_type", 0x894F)]
    tcp = ip + [("ip_proto", 6)]
    vlan = [("vlan_vid", 0x1001)]
    pbb = [("eth_type", 0x88E7)]
    table = {
        "OFPActionOutput": (lambda: p.OFPActionOutput(2, 0), []),
        "OFPActionOutput controller": (
            lambda: p.OFPActionOutput(ofp.OFPP_CONTROLLER, 128), []),
        "OFPActionOutput max_len": (lambda: p.OFPActionOutput(2, 64), []),
        "NXActionBundle": (lambda: p.NXActionBundle(
            algorithm=nicira_ext.NX_BD_ALG_HRW, fields=nicira_ext.NX_HASH_FIELDS_ETH_SRC,
            basis=0, slave_type=nicira_ext.NXM_OF_IN_PORT, n_slaves=2, ofs_nbits=0, dst=0,
            slaves=[2, 3]), []),
        "NXActionBundleLoad": (lambda: p.NXActionBundleLoad(
            algorithm=nicira_ext.NX_BD_ALG_HRW, fields=nicira_ext.NX_HASH_FIELDS_ETH_SRC,
            basis=0, slave_type=nicira_ext.NXM_OF_IN_PORT, n_slaves=2,
            ofs_nbits=nicira_ext.ofs_nbits(4, 31), dst="reg0", slaves=[2, 3]), []),
        "NXActionCT": (lambda: p.NXActionCT(
            flags=1, zone_src="reg0", zone_ofs_nbits=nicira_ext.ofs_nbits(4, 19),
            recirc_table=4, alg=0, actions=[]), ip),
        "NXActionCT actions": (lambda: p.NXActionCT(
            flags=1, zone_src="", zone_ofs_nbits=5, recirc_table=255, alg=21,
            actions=[p.NXActionNAT(flags=1, range_ipv4_min="10.1.12.0",
                                   range_ipv4_max="10.1.13.255", range_proto_min=1,
                                   range_proto_max=1023)]), tcp),
        "NXActionNAT": (lambda: p.NXActionCT(
            flags=1, zone_src="", zone_ofs_nbits=0, recirc_table=255, alg=0,
            actions=[p.NXActionNAT(flags=2, range_ipv4_min="10.1.12.1")]), ip),
        "NXActionCTClear": (p.NXActionCTClear, []) if minor != 2 else None,
        "NXActionConjunction": (lambda: p.NXActionConjunction(0, 2, 7), []),
        "NXActionController": (lambda: p.NXActionController(1024, 3, 1), []),
        "NXActionController2": (lambda: p.NXActionController2(
            max_len=1024, controller_id=1, reason=5, userdata=[1, 2, 3, 4], pause=True), []),
        "NXActionDecMplsTtl": (lambda: p.NXActionDecMplsTtl(), mpls),
        "NXActionDecNshTtl": (lambda: p.NXActionDecNshTtl(), nsh),
        "NXActionDecTtl": (lambda: p.NXActionDecTtl(), ip),
        "NXActionDecTtlCntIds": (lambda: p.NXActionDecTtlCntIds([1, 2, 3]), ip),
        "NXActionEncapEther": (lambda: p.NXActionEncapEther(), []),
        "NXActionEncapNsh": (lambda: p.NXActionEncapNsh(), []),
        "NXActionExit": (lambda: p.NXActionExit(), []),
        "NXActionFinTimeout": (lambda: p.NXActionFinTimeout(30, 60), tcp),
        "NXActionLearn": (lambda: p.NXActionLearn(
            table_id=10,
            specs=[
                p.NXFlowSpecMatch(src=0x800, dst=("eth_type_nxm", 0), n_bits=16),
                p.NXFlowSpecMatch(src=("reg1", 1), dst=("reg2", 3), n_bits=5),
                p.NXFlowSpecLoad(src=0, dst=("reg4", 3), n_bits=5),
                p.NXFlowSpecLoad(src=("reg5", 1), dst=("reg6", 3), n_bits=5),
                p.NXFlowSpecOutput(src=("reg7", 1), dst="", n_bits=5),
            ],
            idle_timeout=180, hard_timeout=300, priority=1, cookie=0x64,
            flags=ofp.OFPFF_SEND_FLOW_REM, fin_idle_timeout=180, fin_hard_timeout=300), []),
        "NXActionMultipath": (lambda: p.NXActionMultipath(
            fields=nicira_ext.NX_HASH_FIELDS_SYMMETRIC_L4, basis=1024,
            algorithm=nicira_ext.NX_MP_ALG_HRW, max_link=5, arg=0,
            ofs_nbits=nicira_ext.ofs_nbits(4, 31), dst="reg2"), []),
        "NXActionNote": (lambda: p.NXActionNote([0xA, 0xB, 0xC, 0xD, 0xE, 0xF]), []),
        "NXActionOutputReg": (lambda: p.NXActionOutputReg(
            nicira_ext.ofs_nbits(4, 19), "reg0", 1024), []),
        "NXActionOutputReg2": (lambda: p.NXActionOutputReg2(
            nicira_ext.ofs_nbits(4, 19), "reg0", 1024), []),
        "NXActionOutputTrunc": (lambda: p.NXActionOutputTrunc(2, 1024), []),
        "NXActionPopMpls": (lambda: p.NXActionPopMpls(0x0800), mpls),
        "NXActionPopQueue": (lambda: p.NXActionPopQueue(), []),
        "NXActionPushMpls": (lambda: p.NXActionPushMpls(0x8847), []),
        "NXActionRegLoad": (lambda: p.NXActionRegLoad(
            nicira_ext.ofs_nbits(4, 31), "reg0", 0x112233), []),
        "NXActionRegLoad2": (lambda: p.NXActionRegLoad2("tun_ipv4_src", "192.168.10.0",
                                                        "255.255.255.0"), []),
        "NXActionRegMove": (lambda: p.NXActionRegMove("reg0", "reg1", 6, 20, 10), []),
        "NXActionResubmit": (lambda: p.NXActionResubmit(8080), []),
        "NXActionResubmitTable": (lambda: p.NXActionResubmitTable(8080, 10), []),
        "NXActionSample": (lambda: p.NXActionSample(3, 1, 2, 3), []),
        "NXActionSample2": (lambda: p.NXActionSample2(3, 1, 2, 3, 8080), []),
        "NXActionSetMplsLabel": (lambda: p.NXActionSetMplsLabel(0x10), mpls),
        "NXActionSetMplsTc": (lambda: p.NXActionSetMplsTc(3), mpls),
        "NXActionSetMplsTtl": (lambda: p.NXActionSetMplsTtl(64), mpls),
        "NXActionSetQueue": (lambda: p.NXActionSetQueue(10), []),
        "NXActionSetTunnel": (lambda: p.NXActionSetTunnel(0xA), []),
        "NXActionSetTunnel64": (lambda: p.NXActionSetTunnel64(0xA), []),
        "NXActionStackPop": (lambda: p.NXActionStackPop("reg2", 0, 5), []),
        "NXActionStackPush": (lambda: p.NXActionStackPush("reg2", 0, 5), []),
        "NXActionUnknown": (lambda: p.NXActionUnknown(999, b"\x01\x02\x03\x04\x05\x06"), []),
        "OFPActionCopyField": (lambda: p.OFPActionCopyField(
            n_bits=16, src_offset=0, dst_offset=0,
            oxm_ids=[p.OFPOxmId("metadata", hasmask=False), p.OFPOxmId("reg0", hasmask=False)]),
            []),
        "OFPActionCopyTtlIn": (lambda: p.OFPActionCopyTtlIn(), mpls),
        "OFPActionCopyTtlOut": (lambda: p.OFPActionCopyTtlOut(), mpls),
        "OFPActionDecMplsTtl": (lambda: p.OFPActionDecMplsTtl(), mpls),
        "OFPActionDecNwTtl": (lambda: p.OFPActionDecNwTtl(), ip),
        "OFPActionEnqueue": (lambda: p.OFPActionEnqueue(2, 7), []),
        "OFPActionExperimenterUnknown": (lambda: p.OFPActionExperimenterUnknown(
            0x00123456, data=b"\x01\x02\x03\x04"), []),
        "OFPActionVendorUnknown": (lambda: p.OFPActionVendorUnknown(
            0x00123456, data=b"\x01\x02\x03\x04"), []),
        "OFPActionGroup": (lambda: p.OFPActionGroup(7), []),
        "OFPActionMeter": (lambda: p.OFPActionMeter(7), []),
        "OFPActionPopMpls": (lambda: p.OFPActionPopMpls(0x0800), mpls),
        "OFPActionPopPbb": (lambda: p.OFPActionPopPbb(), pbb),
        "OFPActionPopVlan": (lambda: p.OFPActionPopVlan(), vlan),
        "OFPActionPushMpls": (lambda: p.OFPActionPushMpls(0x8847), []),
        "OFPActionPushPbb": (lambda: p.OFPActionPushPbb(0x88E7), []),
        "OFPActionPushVlan": (lambda: p.OFPActionPushVlan(0x8100), []),
        "OFPActionSetDlDst": (lambda: p.OFPActionSetDlDst(b"\x02\0\0\0\0\x01"), []),
        "OFPActionSetDlSrc": (lambda: p.OFPActionSetDlSrc(b"\x02\0\0\0\0\x01"), []),
        "OFPActionSetMplsTtl": (lambda: p.OFPActionSetMplsTtl(64), mpls),
        "OFPActionSetNwDst": (lambda: p.OFPActionSetNwDst("10.0.0.1"), ip),
        "OFPActionSetNwSrc": (lambda: p.OFPActionSetNwSrc("10.0.0.1"), ip),
        "OFPActionSetNwTos": (lambda: p.OFPActionSetNwTos(0x20), ip),
        "OFPActionSetNwTtl": (lambda: p.OFPActionSetNwTtl(64), ip),
        "OFPActionSetQueue": (lambda: p.OFPActionSetQueue(7), []),
        "OFPActionSetTpDst": (lambda: p.OFPActionSetTpDst(80), tcp),
        "OFPActionSetTpSrc": (lambda: p.OFPActionSetTpSrc(80), tcp),
        "OFPActionStripVlan": (lambda: p.OFPActionStripVlan(), []),
        "OFPActionVlanPcp": (lambda: p.OFPActionVlanPcp(3), []),
        "OFPActionVlanVid": (lambda: p.OFPActionVlanVid(5), []),
    }
    # Bases, and what is written elsewhere.
    bases = {"NXAction", "NXActionHeader", "OFPAction", "OFPActionHeader", "OFPActionExperimenter",
             "OFPActionVendor", "OFPActionDlAddr", "OFPActionNwAddr", "OFPActionTpPort",
             "OFPActionId", "OFPActionSetField"}
    for name, _ in inspect.getmembers(p, inspect.isclass):
        is_action = name.startswith(("OFPAction", "NXAction")) and "Prop" not in name
        if is_action and name not in bases and name not in table:
            say(f"1.{minor} {name}: not built")
    for name, row in table.items():
        if row is not None and hasattr(p, name.split(" ")[0]):
            yield name, *row


def match_10(wanted):
    wanted = dict(wanted)
    names = {"eth_type": "dl_type", "ip_proto": "nw_proto", "vlan_vid": "dl_vlan"}
    return ofproto_v1_0_parser.OFPMatch(
        **{names[name]: v & 0xFFFF if name != "vlan_vid" else 1 for name, v in wanted.items()})


def with_actions(writer, minor, dp):
    ofp, parser = VERSIONS[minor]
    for name, build, wanted in actions(minor):
        def message(build=build, wanted=wanted):
            if minor == 0:
                return parser.OFPFlowMod(
                    dp, match_10(wanted), 0x1234, ofp.OFPFC_ADD, 10, 20, 30, actions=[build()])
            apply = parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, [build()])
            return flow_mod(minor, dp, parser.OFPMatch(**dict(wanted)), [apply])

        writer.put(minor, f"action {name}", message)


def instructions(writer, minor, dp):
    ofp, p = VERSIONS[minor]
    out = lambda: [p.OFPActionOutput(2, 0)]
    rows = {
        "goto_table": lambda: p.OFPInstructionGotoTable(3),
        "write_metadata": lambda: p.OFPInstructionWriteMetadata(0x12, 0xFF),
        "write_actions": lambda: p.OFPInstructionActions(ofp.OFPIT_WRITE_ACTIONS, out()),
        "apply_actions": lambda: p.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, out()),
        "clear_actions": lambda: p.OFPInstructionActions(ofp.OFPIT_CLEAR_ACTIONS, []),
    }
    if minor in (3, 4):
        rows["meter"] = lambda: p.OFPInstructionMeter(7)
    if minor == 5:
        rows["stat_trigger"] = lambda: p.OFPInstructionStatTrigger(
            ofp.OFPSTF_ONLY_FIRST, p.OFPStats(packet_count=100))
    for name, build in rows.items():
        writer.put(minor, f"instruction {name}",
                   lambda: flow_mod(minor, dp, p.OFPMatch(), [build()]))


def matches_10(writer, dp):
    """Every field of 1.0's match, and of Nicira's in it."""
    ofp, p = VERSIONS[0]
    plain = {
        "in_port": dict(in_port=1),
        "dl_src": dict(dl_src="02:00:00:00:00:01"),
        "dl_dst": dict(dl_dst="02:00:00:00:00:01"),
        "dl_vlan": dict(dl_vlan=5),
        "dl_vlan_pcp": dict(dl_vlan=5, dl_vlan_pcp=3),
        "dl_type": dict(dl_type=0x0800),
        "nw_tos": dict(dl_type=0x0800, nw_tos=0x20),
        "nw_proto": dict(dl_type=0x0800, nw_proto=6),
        "nw_src": dict(dl_type=0x0800, nw_src="10.0.0.1"),
        "nw_dst": dict(dl_type=0x0800, nw_dst="10.0.0.1"),
        "nw_src/mask": dict(dl_type=0x0800, nw_src="10.0.0.0", nw_src_mask=8),
        "nw_dst/mask": dict(dl_type=0x0800, nw_dst="10.0.0.0", nw_dst_mask=8),
        "tp_src": dict(dl_type=0x0800, nw_proto=6, tp_src=80),
        "tp_dst": dict(dl_type=0x0800, nw_proto=6, tp_dst=80),
    }
    for name, fields_ in plain.items():
        writer.put(0, f"field {name}", lambda: p.OFPFlowMod(
            dp, p.OFPMatch(**fields_), 0x1234, ofp.OFPFC_ADD, 10, 20, 30,
            actions=[p.OFPActionOutput(2, 0)]))
    mac, other = b"\x02\0\0\0\0\x01", b"\xff\xff\xff\0\0\0"
    words = [0xFD00, 0, 0, 0, 0, 0, 0, 1]
    ip, ip6, arp = 0x0800, 0x86DD, 0x0806
    rules = {
        "in_port": (0, lambda r: r.set_in_port(1)),
        "dl_dst": (0, lambda r: r.set_dl_dst(mac)),
        "dl_dst_masked": (0, lambda r: r.set_dl_dst_masked(mac, other)),
        "dl_src": (0, lambda r: r.set_dl_src(mac)),
        "dl_src_masked": (0, lambda r: r.set_dl_src_masked(mac, other)),
        "dl_type": (0, lambda r: r.set_dl_type(ip)),
        "dl_tci": (0, lambda r: r.set_dl_tci(0x1005)),
        "dl_tci_masked": (0, lambda r: r.set_dl_tci_masked(0x1005, 0x1FFF)),
        "nw_proto": (ip, lambda r: r.set_nw_proto(6)),
        "nw_src": (ip, lambda r: r.set_nw_src(0x0A000001)),
        "nw_src_masked": (ip, lambda r: r.set_nw_src_masked(0x0A000000, 0xFF000000)),
        "nw_dst": (ip, lambda r: r.set_nw_dst(0x0A000001)),
        "nw_dst_masked": (ip, lambda r: r.set_nw_dst_masked(0x0A000000, 0xFF000000)),
        "nw_dscp": (ip, lambda r: r.set_nw_dscp(0x20)),
        "nw_ecn": (ip, lambda r: r.set_nw_ecn(1)),
        "nw_ttl": (ip, lambda r: r.set_nw_ttl(64)),
        "nw_frag": (ip, lambda r: r.set_nw_frag(1)),
        "tp_src": (ip, lambda r: (r.set_nw_proto(6), r.set_tp_src(80))),
        "tp_src_masked": (ip, lambda r: (r.set_nw_proto(6), r.set_tp_src_masked(80, 0xFFF0))),
        "tp_dst": (ip, lambda r: (r.set_nw_proto(17), r.set_tp_dst(80))),
        "icmp_type": (ip, lambda r: (r.set_nw_proto(1), r.set_icmp_type(8))),
        "icmp_code": (ip, lambda r: (r.set_nw_proto(1), r.set_icmp_code(1))),
        "tun_id": (0, lambda r: r.set_tun_id(5)),
        "tun_id_masked": (0, lambda r: r.set_tun_id_masked(5, 0xFF)),
        "arp_spa": (arp, lambda r: r.set_arp_spa(0x0A000001)),
        "arp_spa_masked": (arp, lambda r: r.set_arp_spa_masked(0x0A000000, 0xFF000000)),
        "arp_tpa": (arp, lambda r: r.set_arp_tpa(0x0A000001)),
        "arp_sha": (arp, lambda r: r.set_arp_sha(mac)),
        "arp_tha": (arp, lambda r: r.set_arp_tha(mac)),
        "icmpv6_type": (ip6, lambda r: (r.set_nw_proto(58), r.set_icmpv6_type(135))),
        "icmpv6_code": (ip6, lambda r: (r.set_nw_proto(58), r.set_icmpv6_code(1))),
        "ipv6_src": (ip6, lambda r: r.set_ipv6_src(words)),
        "ipv6_dst": (ip6, lambda r: r.set_ipv6_dst(words)),
        "ipv6_label": (ip6, lambda r: r.set_ipv6_label(5)),
        "nd_target": (ip6, lambda r: (
            r.set_nw_proto(58), r.set_icmpv6_type(135), r.set_nd_target([0xFD000000, 0, 0, 1]))),
        "reg0": (0, lambda r: r.set_reg(0, 5)),
        "reg1_masked": (0, lambda r: r.set_reg_masked(1, 5, 0xFF)),
        "pkt_mark_masked": (0, lambda r: r.set_pkt_mark_masked(5, 0xFF)),
        "tcp_flags": (ip, lambda r: (r.set_nw_proto(6), r.set_tcp_flags(2, 0xFFF))),
    }
    for n in range(2, 8):
        rules[f"reg{n}"] = (0, lambda r, n=n: r.set_reg(n, 5))
    for name, (ethertype, fill) in rules.items():
        def message(ethertype=ethertype, fill=fill):
            rule = nx_match.ClsRule()
            if ethertype:
                rule.set_dl_type(ethertype)
            fill(rule)
            return p.NXTFlowMod(dp, 0x1234, ofp.OFPFC_ADD, 10, 20, 30, rule=rule,
                                actions=[p.OFPActionOutput(2, 0)])

        writer.put(0, f"nxm {name}", message)


def messages(writer, minor, dp):
    """Messages that the framework's tests do not describe."""
    ofp, p = VERSIONS[minor]
    put = lambda name, build: writer.put(minor, name, build)
    for name in ("OFPHello", "OFPFeaturesRequest", "OFPGetConfigRequest", "OFPBarrierRequest",
                 "OFPBarrierReply", "OFPGetAsyncRequest"):
        if hasattr(p, name):
            put(name, lambda: getattr(p, name)(dp))
    for name in ("OFPEchoRequest", "OFPEchoReply"):
        put(name, lambda: getattr(p, name)(dp, b"sluice"))
    put("OFPErrorMsg", lambda: p.OFPErrorMsg(
        dp, type_=ofp.OFPET_BAD_REQUEST, code=ofp.OFPBRC_BAD_LEN,
        data=bytes([minor + 1, 14, 0, 8, 0, 0, 0, 1])))
    put("OFPSetConfig", lambda: p.OFPSetConfig(dp, ofp.OFPC_FRAG_NORMAL, 128))
    if minor == 0:
        port = ofp.OFPP_NONE
        put("OFPPacketOut", lambda: p.OFPPacketOut(
            dp, ofp.OFP_NO_BUFFER if hasattr(ofp, "OFP_NO_BUFFER") else 0xFFFFFFFF, port,
            [p.OFPActionOutput(2, 0)], bytes(64)))
        put("OFPPortMod", lambda: p.OFPPortMod(dp, 2, "02:00:00:00:00:01", 1, 1, 0))
        put("OFPQueueGetConfigRequest", lambda: p.OFPQueueGetConfigRequest(dp, 2))
        put("OFPDescStatsRequest", lambda: p.OFPDescStatsRequest(dp, 0))
        match = p.OFPMatch(in_port=1)
        put("OFPFlowStatsRequest", lambda: p.OFPFlowStatsRequest(dp, 0, match, 0xFF, port))
        put("OFPAggregateStatsRequest",
            lambda: p.OFPAggregateStatsRequest(dp, 0, match, 0xFF, port))
        put("OFPTableStatsRequest", lambda: p.OFPTableStatsRequest(dp, 0))
        put("OFPPortStatsRequest", lambda: p.OFPPortStatsRequest(dp, 0, port))
        put("OFPQueueStatsRequest",
            lambda: p.OFPQueueStatsRequest(dp, 0, ofp.OFPP_ALL, ofp.OFPQ_ALL))
        put("OFPVendorStatsRequest", lambda: p.OFPVendorStatsRequest(dp, 0, 0x00123456, b"abcd"))
        put("OFPVendor", lambda: p.OFPVendor(dp))
        put("NXTSetFlowFormat", lambda: p.NXTSetFlowFormat(dp, 2))
        for role in (ofp.NX_ROLE_OTHER, ofp.NX_ROLE_MASTER, ofp.NX_ROLE_SLAVE):
            put(f"NXTRoleRequest {role}", lambda: p.NXTRoleRequest(dp, role))
        put("NXTFlowModTableId", lambda: p.NXTFlowModTableId(dp, 1))
        put("NXTSetPacketInFormat", lambda: p.NXTSetPacketInFormat(dp, 1))
        put("NXTFlowAge", lambda: p.NXTFlowAge(dp))
        put("NXTSetAsyncConfig", lambda: p.NXTSetAsyncConfig(dp, [7, 0], [7, 7], [7, 0]))
        put("NXTSetControllerId", lambda: p.NXTSetControllerId(dp, 3))
        rule = nx_match.ClsRule()
        rule.set_in_port(1)
        put("NXFlowStatsRequest", lambda: p.NXFlowStatsRequest(dp, 0, port, 0xFF, rule))
        put("NXAggregateStatsRequest",
            lambda: p.NXAggregateStatsRequest(dp, 0, port, 0xFF, rule))
        return
    for command in ("ADD", "MODIFY", "MODIFY_STRICT", "DELETE", "DELETE_STRICT"):
        put(f"OFPFlowMod {command}", lambda: p.OFPFlowMod(
            dp, cookie=1, cookie_mask=3, table_id=2, command=getattr(ofp, "OFPFC_" + command),
            match=p.OFPMatch(in_port=1), instructions=[]))
    if minor >= 3:
        put("NXTSetPacketInFormatMsg", lambda: p.NXTSetPacketInFormatMsg(
            dp, packet_in_format=2))
    if minor == 3:
        put("ONFBundleCtrlMsg", lambda: p.ONFBundleCtrlMsg(
            dp, 7, ofp.ONF_BCT_OPEN_REQUEST, ofp.ONF_BF_ATOMIC, []))
        inner = lambda: flow_mod(3, dp, p.OFPMatch(in_port=1), [])
        put("ONFBundleAddMsg", lambda: p.ONFBundleAddMsg(dp, 7, ofp.ONF_BF_ATOMIC, inner(), []))
    if minor >= 4:
        # Its own tests have properties of experimenters in it, which Open vSwitch refuses.
        put("OFPSetAsync", lambda: p.OFPSetAsync(dp, [
            p.OFPAsyncConfigPropReasons(kind, mask=mask) for kind, mask in (
                (ofp.OFPACPT_PACKET_IN_SLAVE, 1), (ofp.OFPACPT_PACKET_IN_MASTER, 3),
                (ofp.OFPACPT_PORT_STATUS_MASTER, 7), (ofp.OFPACPT_FLOW_REMOVED_MASTER, 15),
                (ofp.OFPACPT_ROLE_STATUS_SLAVE, 3), (ofp.OFPACPT_TABLE_STATUS_MASTER, 24),
                (ofp.OFPACPT_REQUESTFORWARD_SLAVE, 3))]))
        for what in ("OPEN", "CLOSE", "COMMIT", "DISCARD"):
            for way in ("REQUEST", "REPLY"):
                put(f"OFPBundleCtrlMsg {what} {way}", lambda: p.OFPBundleCtrlMsg(
                    dp, 7, getattr(ofp, f"OFPBCT_{what}_{way}"), ofp.OFPBF_ORDERED, []))
    for kind in ("ALL", "SELECT", "INDIRECT", "FF"):
        def group(kind=kind):
            kind = getattr(ofp, "OFPGT_" + kind)
            if minor == 5:
                bucket = p.OFPBucket(bucket_id=1, actions=[p.OFPActionOutput(2, 0)], properties=[
                    p.OFPGroupBucketPropWatch(
                        type_=ofp.OFPGBPT_WATCH_PORT, length=8, watch=2)])
                return p.OFPGroupMod(dp, ofp.OFPGC_ADD, kind, 7,
                                     command_bucket_id=ofp.OFPG_BUCKET_ALL, buckets=[bucket])
            weight = 5 if kind == ofp.OFPGT_SELECT else 0
            watch = 2 if kind == ofp.OFPGT_FF else ofp.OFPP_ANY
            bucket = p.OFPBucket(weight, watch, ofp.OFPG_ANY, [p.OFPActionOutput(2, 0)])
            return p.OFPGroupMod(dp, ofp.OFPGC_ADD, kind, 7, [bucket])

        put(f"OFPGroupMod {kind}", group)


def main():
    writer = Writer()
    for minor, (ofp, _) in VERSIONS.items():
        dp = ofproto_protocol.ProtocolDesc(version=ofp.OFP_VERSION)
        described(writer, minor)
        messages(writer, minor, dp)
        with_actions(writer, minor, dp)
        if minor == 0:
            matches_10(writer, dp)
        else:
            instructions(writer, minor, dp)
            fields(writer, minor, dp)


main()
