//! Actions with several arguments.

use packet::OfPort;

use super::{fail, integer8, integer16, number, writable, wrong};
use crate::action::kinds::{
    MAX_MEMBERS, PACKET_TYPE_ETHERNET, PACKET_TYPE_MPLS, PACKET_TYPE_MPLS_MULTICAST,
    PACKET_TYPE_NEXT, PACKET_TYPE_NSH,
};
use crate::action::{
    Action, Bundle, BundleAlgorithm, Encap, EncapProp, Form, HashFields, Multipath,
    MultipathAlgorithm, Sample, SampleDirection, Subfield,
};
use crate::text::argument::ArgumentError;
use crate::text::error::{Error, ErrorKind};
use crate::text::fields;
use crate::text::ports::Names;
use crate::text::token::{Pairs, Piece};
use crate::text::{subfield, value};

/// `port=PORT,max_len=N`.
pub(super) fn output_trunc(arg: Piece<'_>, names: &Names) -> Result<Action, Error> {
    let mut port = OfPort(0);
    let mut max_len = 0;
    for pair in Pairs::new(arg) {
        let v = pair.value;
        match pair.key.text {
            "port" => match names.port(v.text) {
                Some(p) if p <= OfPort::MAX || p == OfPort::LOCAL || p == OfPort::IN_PORT => {
                    port = p;
                }
                Some(_) => return wrong(ArgumentError::TruncPort(v.text.to_owned()), v),
                None => return fail(ErrorKind::OutputPort(v.text.to_owned()), v),
            },
            "max_len" => match number(v)? {
                n if n < 14 => return wrong(ArgumentError::TruncLen(n), v),
                n => max_len = n,
            },
            key => return wrong(ArgumentError::TruncKey(key.to_owned()), pair.key),
        }
    }
    Ok(Action::OutputTrunc { port, max_len })
}

/// The three actions that set a part of an MPLS label.
pub(super) fn mpls(form: Form, arg: Piece<'_>) -> Result<Action, Error> {
    let whole = || arg.text.to_owned();
    let (name, what) = match form {
        Form::SetMplsLabel => ("set_mpls_label", "label"),
        Form::SetMplsTc => ("set_mpls_tc", "tc"),
        _ => ("set_mpls_ttl", "ttl"),
    };
    if arg.is_empty() {
        return wrong(ArgumentError::Expected(name, what), arg);
    }
    match form {
        Form::SetMplsLabel => match number(arg)? {
            label if label <= 0xf_ffff => Ok(Action::SetMplsLabel(label)),
            _ => wrong(ArgumentError::MplsLabel(whole()), arg),
        },
        Form::SetMplsTc => match integer8(arg, "MPLS TC")? {
            tc if tc <= 7 => Ok(Action::SetMplsTc(tc)),
            _ => wrong(ArgumentError::MplsTc(whole()), arg),
        },
        _ => Ok(Action::SetMplsTtl(integer8(arg, "MPLS TTL")?)),
    }
}

pub(super) fn delete_field(arg: Piece<'_>) -> Result<Action, Error> {
    match fields::field_named(arg) {
        Ok(field) if field.info().is_variable_len() => Ok(Action::DeleteField(field)),
        Ok(_) => fail(
            ErrorKind::ActionsInvalid("OFPBAC_BAD_ARGUMENT".to_owned()),
            arg,
        ),
        Err(e) => match e.kind {
            ErrorKind::UnknownField(name) => fail(ErrorKind::NoField(name), arg),
            _ => Err(e),
        },
    }
}

/// `LEN)->BIT`, the parentheses around the length.
pub(super) fn check_pkt_larger(arg: Piece<'_>) -> Result<Action, Error> {
    let (len, dst) = super::arrow(arg)?;
    let len = Piece {
        text: len.text.strip_suffix(')').unwrap_or(len.text),
        ..len
    };
    let bit = subfield::parse(dst)?;
    if bit.bits != 1 {
        return wrong(ArgumentError::OneBit, dst);
    }
    Ok(Action::CheckPktLarger {
        len: integer16(len, "packet length")?,
        dst: writable(bit, dst)?,
    })
}

/// `ID,CLAUSE/N`.
pub(super) fn conjunction(arg: Piece<'_>) -> Result<Action, Error> {
    let syntax = || Error::new(ArgumentError::ConjunctionSyntax.into(), arg.at);
    let (id, clauses) = arg.split_once(",").ok_or_else(syntax)?;
    let (clause, n) = clauses.split_once("/").ok_or_else(syntax)?;
    let id = value::u32_value(id.text.trim()).ok_or_else(syntax)?;
    let clause: u8 = clause.text.trim().parse().map_err(|_| syntax())?;
    let n_clauses: u8 = n.text.trim().parse().map_err(|_| syntax())?;
    if n_clauses < 2 {
        return wrong(ArgumentError::FewClauses, n);
    }
    if n_clauses > 64 {
        return wrong(ArgumentError::ManyClauses, n);
    }
    if clause > n_clauses {
        return wrong(ArgumentError::ClauseBeyond, clauses);
    }
    match clause.checked_sub(1) {
        Some(clause) => Ok(Action::Conjunction {
            id,
            clause,
            n_clauses,
        }),
        None => wrong(ArgumentError::ClauseZero, clauses),
    }
}

pub(super) fn fin_timeout(arg: Piece<'_>) -> Result<Action, Error> {
    let (mut idle, mut hard) = (0, 0);
    for pair in Pairs::new(arg) {
        match pair.key.text {
            "idle_timeout" => idle = integer16(pair.value, "idle_timeout")?,
            "hard_timeout" => hard = integer16(pair.value, "hard_timeout")?,
            key => return wrong(ArgumentError::FinTimeoutKey(key.to_owned()), pair.key),
        }
    }
    Ok(Action::FinTimeout { idle, hard })
}

pub(super) fn sample(arg: Piece<'_>, names: &Names) -> Result<Sample, Error> {
    let mut s = Sample {
        probability: 0,
        collector_set_id: 0,
        obs_domain_id: 0,
        obs_point_id: 0,
        sampling_port: OfPort::ANY,
        direction: SampleDirection::Default,
    };
    for pair in Pairs::new(arg) {
        let v = pair.value;
        match pair.key.text {
            "probability" => match integer16(v, "probability")? {
                0 => return wrong(ArgumentError::Probability(v.text.to_owned()), v),
                n => s.probability = n,
            },
            "collector_set_id" => s.collector_set_id = number(v)?,
            "obs_domain_id" => s.obs_domain_id = number(v)?,
            "obs_point_id" => s.obs_point_id = number(v)?,
            "sampling_port" => match names.port(v.text) {
                Some(port) => s.sampling_port = port,
                None => return wrong(ArgumentError::Port(v.text.to_owned()), v),
            },
            "ingress" => s.direction = SampleDirection::Ingress,
            "egress" => s.direction = SampleDirection::Egress,
            key => return wrong(ArgumentError::SampleKey(key.to_owned()), pair.key),
        }
    }
    if s.probability == 0 {
        return wrong(ArgumentError::NoProbability, arg);
    }
    Ok(s)
}

/// Words between commas and spaces, and the rest behind `n` of them.
fn words<'a, const N: usize>(
    arg: Piece<'a>,
    action: &'static str,
) -> Result<([Piece<'a>; N], Piece<'a>), Error> {
    let mut rest = arg;
    let mut out = [arg; N];
    for slot in &mut out {
        let (word, tail) = rest.word();
        if word.is_empty() {
            let all = arg.text.to_owned();
            return wrong(ArgumentError::TooFew { all, action }, arg);
        }
        *slot = word;
        rest = tail;
    }
    Ok((out, rest.trim_start()))
}

fn choice<T>(
    all: Piece<'_>,
    what: &'static str,
    word: Piece<'_>,
    chosen: Option<T>,
) -> Result<T, Error> {
    chosen.ok_or_else(|| {
        let kind = ArgumentError::Choice {
            all: all.text.to_owned(),
            what,
            word: word.text.to_owned(),
        };
        Error::new(kind.into(), word.at)
    })
}

/// A destination that an identifier of four bytes can name.
pub(super) fn short_field(all: Piece<'_>, text: Piece<'_>) -> Result<Subfield, Error> {
    let dst = subfield::parse(text)?;
    if crate::codec::has_short_id(dst.field) {
        return Ok(dst);
    }
    let kind = ArgumentError::LongField {
        all: all.text.to_owned(),
        field: text.text.to_owned(),
    };
    wrong(kind, text)
}

/// `FIELDS,BASIS,ALGORITHM,ofport,[DST,]members:PORT,...`.
pub(super) fn bundle(arg: Piece<'_>, load: bool, names: &Names) -> Result<Bundle, Error> {
    let ([fields, basis, algorithm, kind], rest) = words::<4>(arg, "bundle")?;
    let (dst, rest) = if load {
        let ([dst], rest) = words::<1>(rest, "bundle")?;
        (Some(dst), rest)
    } else {
        (None, rest)
    };
    let all = || arg.text.to_owned();
    let end = rest.text.find([':', ' ']).unwrap_or(rest.text.len());
    let delimiter = rest.text.get(..end).unwrap_or_default();
    if delimiter.is_empty() {
        let action = "bundle";
        return wrong(ArgumentError::TooFew { all: all(), action }, arg);
    }
    let is_delimiter = ["members", "slaves"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(delimiter));
    if !is_delimiter {
        let word = delimiter.to_owned();
        return wrong(ArgumentError::MemberDelimiter { all: all(), word }, rest);
    }
    let mut members = Vec::new();
    let mut list = rest.skip(end + 1);
    loop {
        let skip = list.text.find(|c| ![',', ' ', '[', ']'].contains(&c));
        let Some(skip) = skip else { break };
        let word = list.skip(skip);
        let end = word.text.find([',', ' ', '[', ']']);
        let name = word.text.get(..end.unwrap_or(word.text.len()));
        let name = name.unwrap_or_default();
        match names.port(name) {
            Some(port) if port != OfPort::CONTROLLER => members.push(port),
            Some(_) => {
                let kind = ErrorKind::ActionsInvalid("OFPBAC_BAD_OUT_PORT".to_owned());
                return fail(kind, word);
            }
            None => return wrong(ArgumentError::MemberPort(name.to_owned()), word),
        }
        if members.len() > MAX_MEMBERS {
            return wrong(ArgumentError::ManyMembers, word);
        }
        list = word.skip(name.len());
    }
    let b = Bundle {
        fields: choice(arg, "fields", fields, HashFields::from_name(fields.text))?,
        basis: integer16(basis, "basis")?,
        algorithm: choice(
            arg,
            "algorithm",
            algorithm,
            BundleAlgorithm::from_name(algorithm.text),
        )?,
        members,
        dst: None,
    };
    let is_ofport = kind.text.eq_ignore_ascii_case("ofport").then_some(());
    choice(arg, "member_type", kind, is_ofport)?;
    let dst = match dst {
        Some(dst) => Some(writable(short_field(arg, dst)?, dst)?),
        None => None,
    };
    if dst.is_some_and(|dst| dst.bits < 16) {
        let kind = ErrorKind::ActionsInvalid("OFPBAC_BAD_ARGUMENT".to_owned());
        return fail(kind, arg);
    }
    Ok(Bundle { dst, ..b })
}

/// `FIELDS,BASIS,ALGORITHM,N_LINKS,ARG,DST`.
pub(super) fn multipath(arg: Piece<'_>) -> Result<Multipath, Error> {
    let (words, _) = words::<6>(arg, "multipath")?;
    let [fields, basis, algorithm, n_links, algorithm_arg, dst_text] = words;
    let all = || arg.text.to_owned();
    let fields = choice(arg, "fields", fields, HashFields::from_name(fields.text))?;
    let basis = integer16(basis, "basis")?;
    let algorithm = choice(
        arg,
        "algorithm",
        algorithm,
        MultipathAlgorithm::from_name(algorithm.text),
    )?;
    let n = u64::from(number(n_links)?);
    let max_link = n.checked_sub(1).and_then(|n| u16::try_from(n).ok());
    let Some(max_link) = max_link else {
        return wrong(ArgumentError::NLinks { all: all(), n }, n_links);
    };
    let argument = number(algorithm_arg)?;
    let dst = short_field(arg, dst_text)?;
    let values = 1u64.checked_shl(dst.bits.into()).unwrap_or(u64::MAX);
    if dst.bits < 16 && n > values {
        let kind = ArgumentError::NarrowLinks {
            all: all(),
            bits: dst.bits,
            values,
            n,
        };
        return wrong(kind, dst_text);
    }
    Ok(Multipath {
        fields,
        basis,
        algorithm,
        max_link,
        arg: argument,
        dst: writable(dst, dst_text)?,
    })
}

/// `HEADER` or `HEADER(PROPERTY=...,...)`.
pub(super) fn encap(arg: Piece<'_>) -> Result<Encap, Error> {
    let Some(header) = Pairs::new(arg).next() else {
        return wrong(ArgumentError::NoHeader(arg.text.to_owned()), arg);
    };
    let packet_type = match header.key.text {
        "ethernet" => PACKET_TYPE_ETHERNET,
        "nsh" => PACKET_TYPE_NSH,
        "mpls" => PACKET_TYPE_MPLS,
        "mpls_mc" => PACKET_TYPE_MPLS_MULTICAST,
        _ => {
            let value = header.value.text.to_owned();
            return wrong(ArgumentError::Header(value), header.key);
        }
    };
    let mut props = Vec::new();
    for prop in Pairs::new(header.value) {
        let (key, v) = (prop.key.text, prop.value);
        let is_known = packet_type == PACKET_TYPE_NSH && matches!(key, "md_type" | "tlv");
        if !is_known {
            return wrong(ArgumentError::Property(key.to_owned()), prop.key);
        }
        if v.is_empty() {
            return wrong(ArgumentError::NoPropertyValue, prop.key);
        }
        props.push(match key {
            "md_type" => match integer8(v, "md_type")? {
                kind @ (1 | 2) => EncapProp::NshMdType(kind),
                _ => return wrong(ArgumentError::MdType, v),
            },
            _ => match nsh_tlv(v.text) {
                Some(tlv) => tlv,
                None => return wrong(ArgumentError::NshTlv(v.text.to_owned()), v),
            },
        });
    }
    Ok(Encap {
        packet_type,
        header_len: 0,
        props,
    })
}

/// `0xCLASS,TYPE,0xVALUE`.
fn nsh_tlv(text: &str) -> Option<EncapProp> {
    /// Longer ones have no length on the wire.
    const MAX_LEN: usize = 240;
    let mut words = text.split(',').map(str::trim);
    let class = value::u16_value(words.next().filter(|w| w.starts_with("0x"))?)?;
    let kind = value::u8_value(words.next()?)?;
    let data = value::hex_bytes(words.next()?.strip_prefix("0x")?)?;
    if words.next().is_some() || data.len() > MAX_LEN {
        return None;
    }
    Some(EncapProp::NshTlv { class, kind, data })
}

/// Nothing, or `packet_type(ns=NS,type=TYPE)`.
pub(super) fn decap(arg: Piece<'_>) -> Result<u32, Error> {
    let Some(pair) = Pairs::new(arg).next() else {
        return Ok(PACKET_TYPE_NEXT);
    };
    if pair.key.text != "packet_type" {
        return wrong(ArgumentError::Decap(pair.key.text.to_owned()), pair.key);
    }
    let mut parts = Pairs::new(pair.value);
    let mut attribute = |name: &'static str| match parts.next() {
        Some(part) if part.key.text == name => integer16(part.value, name),
        _ => wrong(ArgumentError::DecapAttribute(name), pair.value),
    };
    let ns = attribute("ns")?;
    // The name spaces of OpenFlow 1.5.1, 7.2.3.11.
    if ns > 4 {
        return wrong(ArgumentError::NameSpace(ns), pair.value);
    }
    Ok(u32::from(ns) << 16 | u32::from(attribute("type")?))
}

/// `flags=N,thresholds=HEX`.
pub(super) fn stat_trigger(arg: Piece<'_>) -> Result<Action, Error> {
    let (mut flags, mut thresholds) = (0, Vec::new());
    for pair in Pairs::new(arg) {
        match pair.key.text {
            "flags" => flags = number(pair.value)?,
            "thresholds" => match value::hex_bytes(pair.value.text) {
                Some(bytes) => thresholds = bytes,
                None => return wrong(ArgumentError::StatTriggerHex, pair.value),
            },
            key => return wrong(ArgumentError::StatTriggerKey(key.to_owned()), pair.key),
        }
    }
    Ok(Action::StatTrigger { flags, thresholds })
}
