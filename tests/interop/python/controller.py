"""An application of os-ken that does what its standard input says, one command a line.

OpenFlow's minor version is in the environment: MINOR. Every command is answered by one line, in
JSON; what the switch refuses, or what os-ken cannot make sense of, as {"error": TEXT}. Used by
tests/interop/os_ken.rs.

    connect                   until a switch is there; its version, id and number of tables
    forward IN OUT            a flow from one port to another
    drop-all                  deletes all flows, groups and meters
    stats                     everything that the version can ask for, as os-ken understands it
    group-stats               how many packets each bucket of the only group had
    meter-stats               how many packets the only meter dropped
    bundle                    a bundle that is committed, one that is refused, one that is discarded
    monitor                   watches flows that come, change and go; the events
    select ID PORT...         a group that spreads over ports
    failover ID PORT...       a group that takes the first of the ports that is up
    to-group IN ID            a flow from a port to a group
    meter ID PORT OUT RATE    a flow through a meter that drops what is over RATE packets a second
    role NAME [GENERATION]    asks for a role
    async REASON...           of packet-ins asks only for these reasons; what the switch says of it
    async-roles               asks to be told of the roles of others
    packet-out PORT           sends a frame out of a port
    punt IN                   a flow that sends what comes from a port to the controller
    expire IN                 a flow that ends by itself and says so
    await CLASS               the next message of this class that comes, or came unasked
    features                  of each table its number, its size and how many properties it has
    forget                    forgets the messages that came unasked
"""

import inspect
import json
import os
import struct
import time
import traceback

import eventlet
from eventlet.hubs import trampoline
from os_ken.base import app_manager
from os_ken.controller import handler, ofp_event
from os_ken.lib import hub
from os_ken.ofproto import ofproto_common, ofproto_v1_4_parser, ofproto_v1_5_parser
from os_ken.ofproto import ofproto_v1_0, ofproto_v1_2, ofproto_v1_3, ofproto_v1_4, ofproto_v1_5

MINOR = int(os.environ["MINOR"])
VERSIONS = {
    0: ofproto_v1_0,
    2: ofproto_v1_2,
    3: ofproto_v1_3,
    4: ofproto_v1_4,
    5: ofproto_v1_5,
}
EVENTS = [
    event
    for _, event in inspect.getmembers(ofp_event, inspect.isclass)
    if issubclass(event, ofp_event.EventOFPMsgBase) and event is not ofp_event.EventOFPMsgBase
]
LIMIT = 10.0
FRAME = bytes.fromhex("ffffffffffff" "020000000001" "88b5") + b"sluice".ljust(46, b"\0")


def teach_events():
    """The framework has one class for four events, and it wants the event to be the last of them."""
    if MINOR < 4:
        return
    parser = {4: ofproto_v1_4_parser, 5: ofproto_v1_5_parser}[MINOR]
    full = parser.OFPFlowUpdateFull
    for event in range(4):
        attributes = {"cls_flow_update_event": event}
        named = type("OFPFlowUpdateFull", (full,), attributes)
        parser.OFPFlowUpdateHeader._EVENT[event] = named


class Refused(Exception):
    """The switch answered with an error."""


def error_text(error):
    if error.type == 0xffff:
        return f"{error.experimenter:#x} {error.exp_type}"
    return f"{error.type} {error.code}"


def plain(value):
    """A value of os-ken as JSON can say it."""
    if hasattr(value, "to_jsondict"):
        return plain(value.to_jsondict())
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        if hasattr(value, "_asdict"):
            return plain(value._asdict())
        return [plain(v) for v in value]
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    return {k: plain(v) for k, v in vars(value).items() if k != "datapath"}


class Controller(app_manager.OSKenApp):
    OFP_VERSIONS = [VERSIONS[MINOR].OFP_VERSION]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        teach_events()
        self.dp = None
        self.seen = []
        hub.spawn(self.serve)

    @handler.set_ev_cls(ofp_event.EventOFPStateChange, handler.MAIN_DISPATCHER)
    def connected(self, event):
        self.dp = event.datapath
        self.ofp = self.dp.ofproto
        self.parser = self.dp.ofproto_parser

    @handler.set_ev_cls(EVENTS, [handler.CONFIG_DISPATCHER, handler.MAIN_DISPATCHER])
    def message(self, event):
        self.seen.append(event.msg)

    def serve(self):
        waiting = b""
        while True:
            trampoline(0, read=True)
            more = os.read(0, 65536)
            if not more:
                os._exit(0)
            waiting += more
            while b"\n" in waiting:
                line, waiting = waiting.split(b"\n", 1)
                words = line.decode().split()
                try:
                    answer = getattr(self, "do_" + words[0].replace("-", "_"))(*words[1:])
                except Refused as e:
                    answer = {"error": str(e)}
                except Exception:
                    traceback.print_exc()
                    answer = {"error": traceback.format_exc()}
                print(json.dumps(plain(answer)), flush=True)

    # Conversation.

    def until(self, what, condition, limit=LIMIT):
        end = time.monotonic() + limit
        while True:
            found = condition()
            if found:
                return found
            if time.monotonic() > end:
                raise Refused(f"nothing came: {what}")
            eventlet.sleep(0.01)

    def send(self, msg):
        self.dp.set_xid(msg)
        self.dp.send_msg(msg)
        return msg.xid

    def take(self, test):
        """The first message that passes the test, taken from those that came."""
        for n, msg in enumerate(self.seen):
            if test(msg):
                return self.seen.pop(n)
        return None

    def refusal(self, xids):
        error = self.take(lambda m: isinstance(m, self.parser.OFPErrorMsg) and m.xid in xids)
        if error:
            raise Refused(error_text(error))

    def ask(self, msg):
        """All parts of the answer to one message."""
        xid = self.send(msg)
        parts = []
        multipart = getattr(self.parser, "OFPMultipartReply", None) or self.parser.OFPStatsReply
        while True:
            part = self.until(f"answer to {type(msg).__name__}",
                              lambda: self.take(lambda m: m.xid == xid))
            if isinstance(part, self.parser.OFPErrorMsg):
                raise Refused(error_text(part))
            parts.append(part)
            if not (isinstance(part, multipart) and part.flags & 1):
                return parts

    def order(self, *msgs):
        """Commands, and a barrier behind them."""
        xids = [self.send(msg) for msg in msgs]
        self.ask(self.parser.OFPBarrierRequest(self.dp))
        self.refusal(xids)
        return "ok"

    # Parts of messages.

    def output(self, port, max_len=0xffff):
        return self.parser.OFPActionOutput(port, max_len)

    def flow_mod(self, actions, command=None, priority=100, flags=0, idle=0, hard=0, cookie=0,
                 meter=None, table=0, **fields):
        ofp, parser = self.ofp, self.parser
        command = ofp.OFPFC_ADD if command is None else command
        match = parser.OFPMatch(**fields)
        if MINOR == 0:
            return parser.OFPFlowMod(
                self.dp, match, cookie=cookie, command=command, idle_timeout=idle,
                hard_timeout=hard, priority=priority, out_port=ofp.OFPP_NONE, flags=flags,
                actions=actions)
        instructions = []
        if meter is not None and MINOR < 5:
            instructions.append(parser.OFPInstructionMeter(meter, ofp.OFPIT_METER))
        if meter is not None and MINOR == 5:
            actions = [parser.OFPActionMeter(meter)] + actions
        if actions:
            instructions.append(
                parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions))
        return parser.OFPFlowMod(
            self.dp, cookie=cookie, table_id=table, command=command, idle_timeout=idle,
            hard_timeout=hard, priority=priority, out_port=ofp.OFPP_ANY, out_group=ofp.OFPG_ANY,
            flags=flags, match=match, instructions=instructions)

    def group_mod(self, kind, group, buckets, command=None):
        ofp, parser = self.ofp, self.parser
        command = ofp.OFPGC_ADD if command is None else command
        if MINOR == 5:
            return parser.OFPGroupMod(
                self.dp, command=command, type_=kind, group_id=group,
                command_bucket_id=ofp.OFPG_BUCKET_ALL, buckets=buckets)
        return parser.OFPGroupMod(self.dp, command, kind, group, buckets)

    def bucket(self, number, port, weight, watch):
        ofp, parser = self.ofp, self.parser
        actions = [self.output(port)]
        if MINOR == 5:
            properties = [
                parser.OFPGroupBucketPropWeight(
                    type_=ofp.OFPGBPT_WEIGHT, weight=weight, length=8),
                parser.OFPGroupBucketPropWatch(
                    type_=ofp.OFPGBPT_WATCH_PORT, watch=watch, length=8),
            ]
            return parser.OFPBucket(bucket_id=number, actions=actions, properties=properties)
        return parser.OFPBucket(
            weight=weight, watch_port=watch, watch_group=ofp.OFPG_ANY, actions=actions)

    # Commands.

    def do_connect(self):
        dp = self.until("a switch", lambda: self.dp, 20.0)
        features = self.ask(self.parser.OFPFeaturesRequest(dp))[0]
        return {"version": dp.ofproto.OFP_VERSION, "id": dp.id, "tables": features.n_tables}

    def do_forward(self, source, out):
        return self.order(self.flow_mod([self.output(int(out))], in_port=int(source)))

    def do_drop_all(self):
        ofp = self.ofp
        msgs = [self.flow_mod([], command=ofp.OFPFC_DELETE, table=0xff)]
        if MINOR > 0:
            msgs.append(self.group_mod(
                ofp.OFPGT_ALL, ofp.OFPG_ALL, [], command=ofp.OFPGC_DELETE))
        if MINOR > 2:
            msgs.append(self.parser.OFPMeterMod(
                self.dp, ofp.OFPMC_DELETE, 0, ofp.OFPM_ALL, []))
        return self.order(*msgs)

    def do_stats(self):
        ofp, parser, dp = self.ofp, self.parser, self.dp
        match = parser.OFPMatch()
        if MINOR == 0:
            every = [ofp.OFPP_NONE]
            requests = {
                "desc": parser.OFPDescStatsRequest(dp, 0),
                "flow": parser.OFPFlowStatsRequest(dp, 0, match, 0xff, ofp.OFPP_NONE),
                "aggregate": parser.OFPAggregateStatsRequest(
                    dp, 0, match, 0xff, ofp.OFPP_NONE),
                "table": parser.OFPTableStatsRequest(dp, 0),
                "port": parser.OFPPortStatsRequest(dp, 0, ofp.OFPP_NONE),
                "queue": parser.OFPQueueStatsRequest(dp, 0, ofp.OFPP_ALL, ofp.OFPQ_ALL),
            }
        elif MINOR == 2:
            some = (ofp.OFPTT_ALL, ofp.OFPP_ANY, ofp.OFPG_ANY, 0, 0, match)
            requests = {
                "desc": parser.OFPDescStatsRequest(dp),
                "flow": parser.OFPFlowStatsRequest(dp, *some),
                "aggregate": parser.OFPAggregateStatsRequest(dp, *some),
                "table": parser.OFPTableStatsRequest(dp),
                "port": parser.OFPPortStatsRequest(dp, ofp.OFPP_ANY),
                "queue": parser.OFPQueueStatsRequest(dp, ofp.OFPP_ANY, ofp.OFPQ_ALL),
                "group": parser.OFPGroupStatsRequest(dp, ofp.OFPG_ALL),
                "group-desc": parser.OFPGroupDescStatsRequest(dp),
                "group-features": parser.OFPGroupFeaturesStatsRequest(dp),
            }
        else:
            some = (ofp.OFPTT_ALL, ofp.OFPP_ANY, ofp.OFPG_ANY, 0, 0, match)
            requests = {
                "desc": parser.OFPDescStatsRequest(dp, 0),
                "flow": parser.OFPFlowStatsRequest(dp, 0, *some),
                "aggregate": parser.OFPAggregateStatsRequest(dp, 0, *some),
                "table": parser.OFPTableStatsRequest(dp, 0),
                "port": parser.OFPPortStatsRequest(dp, 0, ofp.OFPP_ANY),
                "queue": parser.OFPQueueStatsRequest(dp, 0, ofp.OFPP_ANY, ofp.OFPQ_ALL),
                "group": parser.OFPGroupStatsRequest(dp, 0, ofp.OFPG_ALL),
                "group-features": parser.OFPGroupFeaturesStatsRequest(dp, 0),
                "meter": parser.OFPMeterStatsRequest(dp, 0, ofp.OFPM_ALL),
            }
            if MINOR == 5:
                requests["flow-desc"] = parser.OFPFlowDescStatsRequest(dp, 0, *some)
                requests["meter-desc"] = parser.OFPMeterDescStatsRequest(dp, 0, ofp.OFPM_ALL)
                # No buckets: the framework cannot read those of 1.5, not even Open vSwitch's.
                requests["group-desc"] = parser.OFPGroupDescStatsRequest(dp, 0, 8)
                requests["port-desc"] = parser.OFPPortDescStatsRequest(dp, 0, ofp.OFPP_ANY)
            else:
                requests["meter-config"] = parser.OFPMeterConfigStatsRequest(dp, 0, ofp.OFPM_ALL)
                requests["group-desc"] = parser.OFPGroupDescStatsRequest(dp, 0)
                requests["port-desc"] = parser.OFPPortDescStatsRequest(dp, 0)
            # The answer of Open vSwitch lacks what 1.5 added to it.
            if MINOR < 5:
                requests["meter-features"] = parser.OFPMeterFeaturesStatsRequest(dp, 0)
            if MINOR > 3:
                requests["table-desc"] = parser.OFPTableDescStatsRequest(dp, 0)
                requests["queue-desc"] = parser.OFPQueueDescStatsRequest(
                    dp, 0, ofp.OFPP_ANY, ofp.OFPQ_ALL)
        answers = {}
        for name, request in requests.items():
            try:
                bodies = [part.body for part in self.ask(request)]
            except Refused as e:
                answers[name] = f"refused: {e}"
                continue
            answers[name] = [
                one for body in bodies for one in (body if isinstance(body, list) else [body])
            ]
        ask = parser.OFPGetConfigRequest(dp)
        answers["config"] = plain(self.ask(ask)[0])
        if MINOR > 2:
            answers["async"] = plain(self.ask(parser.OFPGetAsyncRequest(dp))[0])
        if MINOR < 4:
            port = 1
            answers["queue-config"] = plain(
                self.ask(parser.OFPQueueGetConfigRequest(dp, port))[0])
        return answers

    def do_group_stats(self):
        """The packets of each bucket of the first group."""
        request = self.parser.OFPGroupStatsRequest(self.dp, 0, self.ofp.OFPG_ALL)
        return [b.packet_count for b in self.ask(request)[0].body[0].bucket_stats]

    def do_meter_stats(self):
        """The packets that the first band of the first meter dropped."""
        request = self.parser.OFPMeterStatsRequest(self.dp, 0, self.ofp.OFPM_ALL)
        return self.ask(request)[0].body[0].band_stats[0].packet_band_count

    def do_bundle(self):
        ofp, parser, dp = self.ofp, self.parser, self.dp
        if MINOR == 3:
            control, add, say = parser.ONFBundleCtrlMsg, parser.ONFBundleAddMsg, "ONF_BCT_"
            # The framework marks it as a barrier.
            control.cls_msg_type = ofp.OFPT_EXPERIMENTER
            flags = ofp.ONF_BF_ATOMIC | ofp.ONF_BF_ORDERED
        else:
            control, add, say = parser.OFPBundleCtrlMsg, parser.OFPBundleAddMsg, "OFPBCT_"
            flags = ofp.OFPBF_ATOMIC | ofp.OFPBF_ORDERED
        kind = lambda name: getattr(ofp, say + name)

        def step(bundle, name):
            reply = self.ask(control(dp, bundle, kind(name + "_REQUEST"), flags, []))[0]
            assert isinstance(reply, (control, parser.OFPExperimenter)), reply
            if isinstance(reply, control):
                assert reply.bundle_id == bundle and reply.type == kind(name + "_REPLY"), reply
            return name.lower()

        def fill(bundle, *msgs):
            xids = []
            for msg in msgs:
                self.dp.set_xid(msg)
                outer = add(dp, bundle, flags, msg, [])
                self.dp.set_xid(outer)
                msg.xid = outer.xid
                self.dp.send_msg(outer)
                xids.append(outer.xid)
            self.ask(parser.OFPBarrierRequest(dp))
            return xids

        steps = []
        steps.append(step(1, "OPEN"))
        fill(1, *(self.flow_mod([self.output(2)], priority=n, in_port=1) for n in (11, 12, 13)))
        steps += [step(1, "CLOSE"), step(1, "COMMIT")]
        # Its second message cannot be carried out: none is.
        steps.append(step(2, "OPEN"))
        xids = fill(2, self.flow_mod([self.output(2)], priority=21, in_port=1),
                    self.flow_mod([parser.OFPActionGroup(77)], priority=22, in_port=1))
        for attempt in (lambda: step(2, "COMMIT"), lambda: self.refusal(xids)):
            try:
                steps.append(attempt() or "taken")
            except Refused as e:
                steps.append(str(e))
        steps.append(step(3, "OPEN"))
        fill(3, self.flow_mod([self.output(2)], priority=31, in_port=1))
        steps.append(step(3, "DISCARD"))
        return steps

    def do_monitor(self):
        ofp, parser, dp = self.ofp, self.parser, self.dp
        if MINOR == 3:
            flags = (ofp.ONFFMF_INITIAL | ofp.ONFFMF_ADD | ofp.ONFFMF_DELETE
                     | ofp.ONFFMF_MODIFY | ofp.ONFFMF_ACTIONS | ofp.ONFFMF_OWN)
            # The framework leaves out the match's head, which Open vSwitch expects.
            match = bytearray()
            parser.OFPMatch().serialize(match, 0)
            monitor = struct.pack("!IHHIB3x", 5, flags, 4, ofp.OFPP_ANY, ofp.OFPTT_ALL)
            first = self.ask(parser.OFPExperimenterStatsRequest(
                dp, 0, ofproto_common.ONF_EXPERIMENTER_ID, ofp.ONFMP_FLOW_MONITOR,
                monitor + bytes(match)))
        else:
            # Open vSwitch shows what a flow did that is gone, which the framework does not take.
            gone = ofp.OFPFMF_REMOVED | ofp.OFPFMF_ONLY_OWN
            there = (ofp.OFPFMF_INITIAL | ofp.OFPFMF_ADD | ofp.OFPFMF_MODIFY
                     | ofp.OFPFMF_INSTRUCTIONS | ofp.OFPFMF_ONLY_OWN)
            for number, flags in [(5, gone), (6, there)]:
                first = self.ask(parser.OFPFlowMonitorRequest(
                    dp, 0, number, ofp.OFPP_ANY, ofp.OFPG_ANY, flags, ofp.OFPTT_ALL,
                    ofp.OFPFMC_ADD, parser.OFPMatch()))
        # What comes unasked has no number.
        kind = type(first[0])
        events = [part.body for part in first]
        fields = dict(priority=41, in_port=1)
        for command, port in [(ofp.OFPFC_ADD, 2), (ofp.OFPFC_MODIFY_STRICT, 1),
                              (ofp.OFPFC_DELETE_STRICT, 2)]:
            actions = [] if command == ofp.OFPFC_DELETE_STRICT else [self.output(port)]
            self.order(self.flow_mod(actions, command=command, cookie=0x41, **fields))
            update = self.until("an update", lambda: self.take(lambda m: type(m) is kind))
            events.append(update.body)
        if MINOR == 3:
            # length(2), event(2), which the framework leaves as bytes.
            events = [struct.unpack_from("!HH", body.data)[1] for body in events]
        return events

    def do_select(self, group, *ports):
        any_port = self.ofp.OFPP_ANY
        buckets = [self.bucket(n, int(p), 1, any_port) for n, p in enumerate(ports)]
        return self.order(self.group_mod(self.ofp.OFPGT_SELECT, int(group), buckets))

    def do_failover(self, group, *ports):
        buckets = [self.bucket(n, int(p), 0, int(p)) for n, p in enumerate(ports)]
        return self.order(self.group_mod(self.ofp.OFPGT_FF, int(group), buckets))

    def do_to_group(self, source, group):
        action = self.parser.OFPActionGroup(int(group))
        return self.order(self.flow_mod([action], in_port=int(source)))

    def do_meter(self, meter, source, out, rate):
        ofp, parser = self.ofp, self.parser
        band = parser.OFPMeterBandDrop(rate=int(rate), burst_size=int(rate))
        flags = ofp.OFPMF_PKTPS | ofp.OFPMF_BURST | ofp.OFPMF_STATS
        return self.order(
            parser.OFPMeterMod(self.dp, ofp.OFPMC_ADD, flags, int(meter), [band]),
            self.flow_mod([self.output(int(out))], meter=int(meter), in_port=int(source)))

    def do_role(self, name, generation="0"):
        ofp, parser = self.ofp, self.parser
        if MINOR == 0:
            role = getattr(ofp, "NX_ROLE_" + {"equal": "other"}.get(name, name).upper())
            reply = self.ask(parser.NXTRoleRequest(self.dp, role))[0].data
        elif MINOR < 5:
            role = getattr(ofp, "OFPCR_ROLE_" + name.upper())
            reply = self.ask(parser.OFPRoleRequest(self.dp, role, int(generation)))[0]
        else:
            role = getattr(ofp, "OFPCR_ROLE_" + name.upper())
            request = parser.OFPRoleRequest(
                self.dp, role=role, short_id=ofp.OFPCID_UNDEFINED, generation_id=int(generation))
            reply = self.ask(request)[0]
        return {"role": reply.role, "generation": getattr(reply, "generation_id", 0)}

    def do_async(self, *reasons):
        ofp, parser = self.ofp, self.parser
        names = {"no_match": "TABLE_MISS" if MINOR > 3 else "NO_MATCH"}
        mask = sum(1 << getattr(ofp, "OFPR_" + names.get(name, name.upper())) for name in reasons)
        if MINOR == 3:
            now = self.ask(parser.OFPGetAsyncRequest(self.dp))[0]
            self.order(parser.OFPSetAsync(
                self.dp, [mask, mask], now.port_status_mask, now.flow_removed_mask))
            return self.ask(parser.OFPGetAsyncRequest(self.dp))[0].packet_in_mask
        properties = [
            parser.OFPAsyncConfigPropReasons(kind, 8, mask)
            for kind in (ofp.OFPACPT_PACKET_IN_SLAVE, ofp.OFPACPT_PACKET_IN_MASTER)
        ]
        self.order(parser.OFPSetAsync(self.dp, properties))
        now = self.ask(parser.OFPGetAsyncRequest(self.dp))[0]
        wanted = (ofp.OFPACPT_PACKET_IN_SLAVE, ofp.OFPACPT_PACKET_IN_MASTER)
        return [p.mask for kind in wanted for p in now.properties if p.type == kind]

    def do_async_roles(self):
        ofp, parser = self.ofp, self.parser
        properties = [
            parser.OFPAsyncConfigPropReasons(kind, 8, 1 << ofp.OFPCRR_MASTER_REQUEST)
            for kind in (ofp.OFPACPT_ROLE_STATUS_SLAVE, ofp.OFPACPT_ROLE_STATUS_MASTER)
        ]
        return self.order(parser.OFPSetAsync(self.dp, properties))

    def do_packet_out(self, port):
        ofp, parser = self.ofp, self.parser
        actions = [self.output(int(port))]
        source = ofp.OFPP_NONE if MINOR == 0 else ofp.OFPP_CONTROLLER
        if MINOR == 5:
            out = parser.OFPPacketOut(self.dp, ofp.OFP_NO_BUFFER,
                                      parser.OFPMatch(in_port=source), actions, FRAME)
        else:
            out = parser.OFPPacketOut(datapath=self.dp, buffer_id=0xffffffff, in_port=source,
                                      actions=actions, data=FRAME)
        return self.order(out)

    def do_punt(self, source):
        return self.order(self.flow_mod(
            [self.output(self.ofp.OFPP_CONTROLLER)], priority=200, in_port=int(source)))

    def do_expire(self, source):
        return self.order(self.flow_mod(
            [], priority=51, hard=1, flags=self.ofp.OFPFF_SEND_FLOW_REM, cookie=0x51,
            in_port=int(source)))

    def do_await(self, name):
        cls = getattr(self.parser, name)
        return {name: vars_of(self.until(name, lambda: self.take(lambda m: type(m) is cls)))}

    def do_features(self):
        parser = self.parser
        said = [one for part in self.ask(parser.OFPTableFeaturesStatsRequest(self.dp, 0, []))
                for one in part.body]
        return [[t.table_id, t.max_entries, len(t.properties)] for t in said]

    def do_forget(self):
        self.seen.clear()
        return "ok"


def vars_of(msg):
    hidden = ("datapath", "buf")
    return {k: v for k, v in vars(msg).items() if k not in hidden}
