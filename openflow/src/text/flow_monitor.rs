//! Flow monitor requests from text: what stands behind `watch:` in `ovs-ofctl monitor`.
//!
//! Source: ovs-ofctl(8), "monitor".

use packet::OfPort;

use super::error::{Error, ErrorKind};
use super::matches::MatchBuilder;
use super::ports::Names;
use super::token::{Pair, Pairs, Piece};
use crate::field::{self, Field};
use crate::flow_match::Match;
use crate::message::{
    FlowMonitorCommand, FlowMonitorFlags, FlowMonitorRequest, GROUP_ANY, TABLE_ALL,
};

/// Parses a monitor: everything is reported unless the text says otherwise.
pub fn parse(text: &str, id: u32, names: &Names) -> Result<FlowMonitorRequest, Error> {
    let mut request = FlowMonitorRequest {
        id,
        command: FlowMonitorCommand::Add,
        flags: FlowMonitorFlags {
            initial: true,
            add: true,
            delete: true,
            modify: true,
            actions: true,
            own: true,
        },
        out_port: OfPort::ANY,
        out_group: GROUP_ANY,
        table_id: TABLE_ALL,
        fields: Match::new(),
    };
    let mut builder = MatchBuilder::default();
    for pair in Pairs::new(Piece::new(text)) {
        word(&pair, names, &mut request, &mut builder)?;
    }
    request.fields = builder.finish().fields;
    Ok(request)
}

fn word(
    pair: &Pair<'_>,
    names: &Names,
    request: &mut FlowMonitorRequest,
    builder: &mut MatchBuilder,
) -> Result<(), Error> {
    let (key, v) = (pair.key, pair.value);
    let flags = &mut request.flags;
    match key.text {
        "!initial" => flags.initial = false,
        "!add" => flags.add = false,
        "!delete" => flags.delete = false,
        "!modify" => flags.modify = false,
        "!actions" => flags.actions = false,
        "!own" => flags.own = false,
        word if builder.protocol(word) => {}
        word => return field_or_filter(word, key, v, names, request, builder),
    }
    Ok(())
}

fn field_or_filter(
    word: &str,
    key: Piece<'_>,
    v: Piece<'_>,
    names: &Names,
    request: &mut FlowMonitorRequest,
    builder: &mut MatchBuilder,
) -> Result<(), Error> {
    match Field::from_name(word) {
        Ok(field) => return builder.field(field, v, names),
        Err(field::Error::NotSupported(name)) => {
            return Err(Error::new(ErrorKind::FieldNotSupported(name), key.at));
        }
        Err(field::Error::Unknown(_)) => {}
    }
    if v.is_empty() {
        let kind = ErrorKind::MissingValue(word.to_owned());
        return Err(Error::new(kind, key.at));
    }
    match word {
        "table" => match names.table(v.text) {
            Some(table) => request.table_id = table,
            None => return Err(Error::new(ErrorKind::UnknownTable(v.text.to_owned()), v.at)),
        },
        "out_port" => match names.port(v.text) {
            Some(port) => request.out_port = port,
            None => return Err(Error::new(ErrorKind::InvalidPort(v.text.to_owned()), v.at)),
        },
        _ => {
            let kind = ErrorKind::UnknownKeyword(word.to_owned());
            return Err(Error::new(kind, key.at));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications() {
        let parse = |text| parse(text, 3, &Names::none());
        let all = parse("").unwrap();
        assert!(all.flags.own && all.flags.initial && all.fields.is_empty());
        let some = parse("!own,!initial,table=3,out_port=2,tcp,in_port=1").unwrap();
        assert!(!some.flags.own && !some.flags.initial && some.flags.actions);
        assert_eq!((some.table_id, some.out_port), (3, OfPort(2)));
        assert!(some.fields.get(Field::InPort).is_some() || !some.fields.is_empty());
        // What ovs-ofctl says of these.
        for (text, want) in [
            ("foo=1", "unknown keyword foo"),
            ("table", "field table missing value"),
            ("table=x", "unknown table \"x\""),
            ("!foo", "field !foo missing value"),
            ("in_port=q", "q: invalid or unknown port for in_port"),
        ] {
            assert_eq!(parse(text).unwrap_err().kind.to_string(), want);
        }
    }
}
