//! What can be wrong with the arguments of actions that have many.
//!
//! The wording is Open vSwitch's.

use thiserror::Error;

/// Why the arguments of an action were not understood.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ArgumentError {
    #[error("output to unsupported truncate port: {0}")]
    TruncPort(String),
    #[error("max_len {0} is less than the minimum value 14")]
    TruncLen(u32),
    #[error("invalid key '{0}' in output_trunc argument")]
    TruncKey(String),
    #[error("bad hex digit in `controller' action `userdata'")]
    Userdata,
    #[error("{0}: expected {1}.")]
    Expected(&'static str, &'static str),
    #[error("{0}: not a valid MPLS label")]
    MplsLabel(String),
    #[error("{0}: not a valid MPLS TC")]
    MplsTc(String),
    #[error("Only 1-bit destination field is allowed")]
    OneBit,
    #[error("\"conjunction\" syntax is \"conjunction(id,i/n)\"")]
    ConjunctionSyntax,
    #[error("conjunction must have at least 2 clauses")]
    FewClauses,
    #[error("conjunction must have at most 64 clauses")]
    ManyClauses,
    #[error("clause index must be positive")]
    ClauseZero,
    #[error("clause index must be less than or equal to number of clauses")]
    ClauseBeyond,
    #[error("invalid key '{0}' in 'fin_timeout' argument")]
    FinTimeoutKey(String),
    #[error("invalid key \"{0}\" in \"sample\" argument")]
    SampleKey(String),
    #[error("invalid probability value \"{0}\"")]
    Probability(String),
    #[error("non-zero \"probability\" must be specified on sample")]
    NoProbability,
    #[error("{0}: unknown port")]
    Port(String),
    #[error("{all}: not enough arguments to {action} action")]
    TooFew { all: String, action: &'static str },
    #[error("{all}: unknown {what} `{word}'")]
    Choice {
        all: String,
        what: &'static str,
        word: String,
    },
    #[error("{all}: missing member delimiter, expected `members', got `{word}'")]
    MemberDelimiter { all: String, word: String },
    #[error("{0}: bad port number")]
    MemberPort(String),
    #[error("more than 2048 members")]
    ManyMembers,
    #[error("{all}: experimenter OXM field '{field}' not supported")]
    LongField { all: String, field: String },
    #[error("{all}: n_links {n} is not in valid range 1 to 65536")]
    NLinks { all: String, n: u64 },
    #[error(
        "{all}: {bits}-bit destination field has {values} possible values, less than specified \
         n_links {n}"
    )]
    NarrowLinks {
        all: String,
        bits: u16,
        values: u64,
        n: u64,
    },
    #[error("Missing encap hdr: {0}")]
    NoHeader(String),
    #[error("Encap hdr not supported: {0}")]
    Header(String),
    #[error("Invalid property: {0}")]
    Property(String),
    #[error("Value missing for encap property")]
    NoPropertyValue,
    #[error("invalid md_type")]
    MdType,
    #[error("Invalid NSH TLV header: {0}")]
    NshTlv(String),
    #[error("Invalid decap argument: {0}")]
    Decap(String),
    #[error("Missing packet_type attribute {0}")]
    DecapAttribute(&'static str),
    #[error("Unsupported ns value: {0}")]
    NameSpace(u16),
    #[error("invalid table 0xff")]
    CtTable,
    #[error("unknown table {0}")]
    CtUnknownTable(String),
    #[error("invalid conntrack helper \"{0}\"")]
    CtHelper(String),
    #[error("invalid argument to \"ct\" action: `{0}'")]
    CtKey(String),
    #[error("\"force\" flag requires \"commit\" flag.")]
    CtForce,
    #[error("invalid key \"{0}\" in \"nat\" argument")]
    NatKey(String),
    #[error("May only specify one of \"src\" or \"dst\".")]
    NatBoth,
    #[error("Flags allowed only with \"src\" or \"dst\".")]
    NatFlags,
    #[error("Both \"hash\" and \"random\" are not allowed.")]
    NatHashRandom,
    #[error("invalid nat range \"{0}\"")]
    NatRange(String),
    #[error("garbage ({rest}) after nat range \"{all}\" (pos: {at})")]
    NatGarbage {
        rest: String,
        all: String,
        at: usize,
    },
    #[error("{0}: table id 255 not valid for `learn' action")]
    LearnTable(String),
    #[error("result_dst in 'learn' action must be a single bit")]
    LearnResult,
    #[error("{all}: unknown keyword {word}")]
    LearnKey { all: String, word: String },
    #[error("load: missing `->' in `{0}'")]
    LearnLoad(String),
    #[error("{0}: too many bits in immediate value")]
    LearnWide(String),
    #[error("{all}: value does not fit into {bits} bits")]
    LearnFit { all: String, bits: u16 },
    #[error("{all}: bit widths of {dst} ({src_bits}) and {src} ({dst_bits}) differ")]
    LearnWidths {
        all: String,
        dst: String,
        src_bits: u16,
        src: String,
        dst_bits: u16,
    },
    #[error(
        "{all}: {dst} value {value} cannot be parsed as a subfield ({as_field}) or an immediate \
         value ({as_value})"
    )]
    LearnValue {
        all: String,
        dst: String,
        value: String,
        as_field: String,
        as_value: String,
    },
    #[error("UNROLL is an internal action that shouldn't be used via OpenFlow")]
    Unroll,
    #[error("Action nested too deeply")]
    Depth,
    #[error("invalid key '{0}' in 'stat_trigger' argument")]
    StatTriggerKey(String),
    #[error("bad hex digit in `stat_trigger' argument")]
    StatTriggerHex,
}
