//! Tables of values, printed in the formats of `--format`.
//!
//! Source: ovs-vsctl(8), "Table Formatting Options"; the layout is that of the stock tools. Used by
//! `vsctl` and `dbctl`.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::error::sorted_json;
use crate::schema::ColumnType;
use crate::text;
use crate::value::{Datum, parse_uuid};

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Table,
    List,
    Html,
    Csv,
    Json,
}

/// `--data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    String,
    Bare,
    Json,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    #[error("unknown output format \"{0}\"")]
    Format(String),
    #[error("unknown data format \"{0}\"")]
    Data(String),
}

impl Format {
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "table" => Self::Table,
            "list" => Self::List,
            "html" => Self::Html,
            "csv" => Self::Csv,
            "json" => Self::Json,
            _ => return Err(Error::Format(text.to_owned())),
        })
    }
}

impl Data {
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "string" => Self::String,
            "bare" => Self::Bare,
            "json" => Self::Json,
            _ => return Err(Error::Data(text.to_owned())),
        })
    }
}

/// How tables look.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub format: Format,
    pub data: Data,
    pub headings: bool,
    pub pretty: bool,
    /// Widest column in `--format=table`; 0 for no limit.
    pub max_column_width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            format: Format::List,
            data: Data::String,
            headings: true,
            pretty: false,
            max_column_width: 0,
        }
    }
}

/// The options of command lines that say how tables look: the long name, the short one, and
/// whether there is a value. [`Style::take`] carries them out.
pub const OPTIONS: [(&str, Option<char>, bool); 6] = [
    ("format", Some('f'), true),
    ("data", Some('d'), true),
    ("no-headings", None, false),
    ("pretty", None, false),
    ("bare", None, false),
    ("max-column-width", None, true),
];

impl Style {
    /// Takes an option; false when it is none of [`OPTIONS`].
    pub fn take(&mut self, option: &str, value: &str) -> Result<bool, Error> {
        match option {
            "format" => self.format = Format::parse(value)?,
            "data" => self.data = Data::parse(value)?,
            "no-headings" => self.headings = false,
            "pretty" => self.pretty = true,
            "bare" => {
                self.format = Format::List;
                self.data = Data::Bare;
                self.headings = false;
            }
            // As with the stock programs, a width that is no number is no limit.
            "max-column-width" => self.max_column_width = value.parse().unwrap_or(0),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// What is in one place of a table.
#[derive(Debug, Clone)]
pub enum Cell {
    /// A value with its type.
    Datum {
        datum: Datum,
        column_type: ColumnType,
    },
    /// Text that looks the same whatever the style.
    Text(String),
    /// JSON without a type that says how to print it otherwise.
    Json(Value),
    Empty,
}

impl Cell {
    fn text(&self, data: Data) -> String {
        match (self, data) {
            (Self::Datum { datum, column_type }, Data::String) => text::to_text(datum, column_type),
            (Self::Datum { datum, .. }, Data::Bare) => text::to_bare(datum),
            (Self::Datum { datum, column_type }, Data::Json) => {
                datum.to_json(column_type).to_string()
            }
            (Self::Text(text), _) => text.clone(),
            (Self::Json(json), _) => sorted_json(json),
            (Self::Empty, _) => String::new(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Datum { datum, column_type } => datum.to_json(column_type),
            Self::Text(text) => json!(text),
            Self::Json(json) => json.clone(),
            Self::Empty => Value::Null,
        }
    }
}

/// Headings and rows of equal length.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// When its contents were true, as text.
    pub time: Option<String>,
    pub caption: Option<String>,
    pub headings: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// The text of the table; `first` tells whether it is the first one of the run, since most
    /// formats put an empty line between tables.
    pub fn print(&self, style: &Style, first: bool) -> String {
        let mut out = String::new();
        if !first && matches!(style.format, Format::Table | Format::List | Format::Csv) {
            out.push('\n');
        }
        if style.format != Format::Json
            && let Some(time) = &self.time
        {
            let _ = writeln!(out, "{time}");
        }
        if matches!(style.format, Format::Table | Format::List | Format::Csv)
            && let Some(caption) = &self.caption
        {
            let _ = writeln!(out, "{caption}");
        }
        match style.format {
            Format::Table => self.print_table(style, &mut out),
            Format::List => self.print_list(style, &mut out),
            Format::Html => self.print_html(style, &mut out),
            Format::Csv => self.print_csv(style, &mut out),
            Format::Json => self.print_json(style, &mut out),
        }
        out
    }

    fn texts(&self, style: &Style) -> Vec<Vec<String>> {
        self.rows
            .iter()
            .map(|row| row.iter().map(|cell| cell.text(style.data)).collect())
            .collect()
    }

    fn print_table(&self, style: &Style, out: &mut String) {
        let rows = self.texts(style);
        let widths: Vec<usize> = self
            .headings
            .iter()
            .enumerate()
            .map(|(i, heading)| {
                let cells = rows.iter().filter_map(|row| row.get(i));
                // Columns are measured in bytes, as in the stock tool, whose layout is parsed.
                let mut widest = cells.map(String::len).max().unwrap_or(0);
                if style.max_column_width > 0 {
                    widest = widest.min(style.max_column_width);
                }
                if style.headings {
                    widest = widest.max(heading.len());
                }
                widest
            })
            .collect();
        let mut line = |cells: &[String]| {
            let mut text = String::new();
            for (cell, width) in cells.iter().zip(&widths) {
                let cut = cell.get(..cell.floor_char_boundary(*width)).unwrap_or(cell);
                text.push_str(cut);
                text.push_str(&" ".repeat(width.saturating_sub(cut.len()).saturating_add(1)));
            }
            out.push_str(text.trim_end_matches(' '));
            out.push('\n');
        };
        if style.headings {
            line(&self.headings);
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            line(&rules);
        }
        for row in &rows {
            line(row);
        }
    }

    fn print_list(&self, style: &Style, out: &mut String) {
        for (i, row) in self.texts(style).iter().enumerate() {
            if i > 0 {
                out.push('\n');
            }
            for (heading, text) in self.headings.iter().zip(row) {
                if style.headings {
                    let _ = write!(out, "{heading:<20}: ");
                }
                out.push_str(text);
                out.push('\n');
            }
        }
    }

    fn print_html(&self, style: &Style, out: &mut String) {
        out.push_str("<table border=1>\n");
        if let Some(caption) = &self.caption {
            let _ = writeln!(out, "    <caption>{}</caption>", html_cell(caption, false));
        }
        if style.headings {
            out.push_str("  <tr>\n");
            for heading in &self.headings {
                let _ = writeln!(out, "    <th>{}</th>", html_escape(heading));
            }
            out.push_str("  </tr>\n");
        }
        for row in self.texts(style) {
            out.push_str("  <tr>\n");
            for (heading, text) in self.headings.iter().zip(&row) {
                let own = heading == "_uuid";
                let _ = writeln!(out, "    <td>{}</td>", html_cell(text, own));
            }
            out.push_str("  </tr>\n");
        }
        out.push_str("</table>\n");
    }

    fn print_csv(&self, style: &Style, out: &mut String) {
        let mut line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| csv_cell(cell)).collect();
            out.push_str(&cells.join(","));
            out.push('\n');
        };
        if style.headings {
            line(&self.headings);
        }
        for row in self.texts(style) {
            line(&row);
        }
    }

    fn print_json(&self, style: &Style, out: &mut String) {
        // Members in alphabetical order.
        let mut members = Map::new();
        if let Some(caption) = &self.caption {
            members.insert("caption".into(), json!(caption));
        }
        let rows: Vec<Vec<Value>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(Cell::json).collect())
            .collect();
        members.insert("data".into(), json!(rows));
        members.insert("headings".into(), json!(self.headings));
        if let Some(time) = &self.time {
            members.insert("time".into(), json!(time));
        }
        let json = Value::Object(members);
        if style.pretty {
            pretty(&json, 0, out);
        } else {
            out.push_str(&json.to_string());
        }
        out.push('\n');
    }
}

fn html_escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// A cell in which every UUID is a link to the row of that UUID; `own`: the cell names this row.
fn html_cell(text: &str, own: bool) -> String {
    if own {
        let short: String = text.chars().take(8).collect();
        let (text, short) = (html_escape(text), html_escape(&short));
        return format!("<a name=\"{text}\">{short}</a>");
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let uuid = rest
            .split_at_checked(36)
            .filter(|(head, _)| parse_uuid(head).is_some());
        if let Some((uuid, after)) = uuid {
            let short = uuid.get(..8).unwrap_or(uuid);
            let _ = write!(out, "<a href=\"#{uuid}\">{short}</a>");
            rest = after;
            continue;
        }
        out.push_str(&html_escape(c.encode_utf8(&mut [0; 4])));
        rest = rest.get(c.len_utf8()..).unwrap_or("");
    }
    out
}

/// RFC 4180.
fn csv_cell(text: &str) -> String {
    if text.contains(['\n', '\r', '"', ',']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// JSON with one member or element a line; closing brackets stay on the line of the last.
pub fn pretty_json(json: &Value) -> String {
    let mut out = String::new();
    pretty(json, 0, &mut out);
    out
}

fn pretty(json: &Value, depth: usize, out: &mut String) {
    let indent = |depth: usize, out: &mut String| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    match json {
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                indent(depth.saturating_add(1), out);
                pretty(item, depth.saturating_add(1), out);
            }
            out.push(']');
        }
        Value::Object(members) if !members.is_empty() => {
            out.push('{');
            for (i, (name, value)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                indent(depth.saturating_add(1), out);
                let _ = write!(out, "{}: ", Value::from(name.as_str()));
                pretty(value, depth.saturating_add(1), out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let map = json!({"key": "string", "value": "string", "min": 0, "max": "unlimited"});
        let cell = |column_type: &Value, datum: Datum| Cell::Datum {
            datum,
            column_type: ColumnType::from_json(column_type).unwrap(),
        };
        let string = json!("string");
        Table {
            headings: vec!["external_ids".into(), "name".into()],
            rows: vec![
                vec![
                    cell(&map, Datum::map([("a", "b,\"c\"")])),
                    cell(&string, Datum::string("br0")),
                ],
                vec![
                    cell(&map, Datum::empty()),
                    cell(&string, Datum::string("x<y")),
                ],
            ],
            ..Table::default()
        }
    }

    fn print(format: Format, change: impl Fn(&mut Style)) -> String {
        let mut style = Style {
            format,
            ..Style::default()
        };
        change(&mut style);
        table().print(&style, true)
    }

    #[test]
    fn formats_as_the_stock_tool_prints_them() {
        assert_eq!(
            print(Format::Table, |_| ()),
            "external_ids  name\n\
             ------------- -----\n\
             {a=\"b,\\\"c\\\"\"} br0\n\
             {}            \"x<y\"\n"
        );
        assert_eq!(
            print(Format::List, |_| ()),
            "external_ids        : {a=\"b,\\\"c\\\"\"}\nname                : br0\n\n\
             external_ids        : {}\nname                : \"x<y\"\n"
        );
        assert_eq!(
            print(Format::List, |style| {
                style.headings = false;
                style.data = Data::Bare;
            }),
            "a=b,\"c\"\nbr0\n\n\nx<y\n"
        );
        assert_eq!(
            print(Format::Csv, |_| ()),
            "external_ids,name\n\"{a=\"\"b,\\\"\"c\\\"\"\"\"}\",br0\n{},\"\"\"x<y\"\"\"\n"
        );
        assert_eq!(
            print(Format::Json, |_| ()),
            "{\"data\":[[[\"map\",[[\"a\",\"b,\\\"c\\\"\"]]],\"br0\"],[[\"map\",[]],\"x<y\"]],\
             \"headings\":[\"external_ids\",\"name\"]}\n"
        );
        assert!(print(Format::Html, |_| ()).contains("    <td>&quot;x&lt;y&quot;</td>\n"));
        assert!(
            print(Format::Json, |style| style.pretty = true)
                .ends_with("  \"headings\": [\n    \"external_ids\",\n    \"name\"]}\n")
        );
    }

    #[test]
    fn captions_times_and_other_cells() {
        let table = Table {
            time: Some("2026-01-02 03:04:05.678".into()),
            caption: Some("a&b".into()),
            headings: vec!["x".into(), "y".into()],
            rows: vec![vec![
                Cell::Text("t".into()),
                Cell::Json(json!({"b": 1, "a": "2"})),
            ]],
        };
        let print = |format| {
            let style = Style {
                format,
                ..Style::default()
            };
            table.print(&style, true)
        };
        assert_eq!(
            print(Format::Table),
            "2026-01-02 03:04:05.678\na&b\nx y\n- ---------------\nt {\"a\":\"2\",\"b\":1}\n"
        );
        assert_eq!(
            print(Format::Json),
            "{\"caption\":\"a&b\",\"data\":[[\"t\",{\"b\":1,\"a\":\"2\"}]],\
             \"headings\":[\"x\",\"y\"],\"time\":\"2026-01-02 03:04:05.678\"}\n"
        );
        assert!(print(Format::Html).starts_with(
            "2026-01-02 03:04:05.678\n<table border=1>\n    <caption>a&amp;b</caption>\n"
        ));
        assert_eq!(Cell::Empty.text(Data::String), "");
        assert_eq!(Cell::Empty.json(), Value::Null);
    }

    #[test]
    fn uuids_are_links() {
        let uuid = "1ba14ffb-08e8-42c3-a9d6-f05bed2dbf48";
        assert_eq!(
            html_cell(&format!("[{uuid}]"), false),
            format!("[<a href=\"#{uuid}\">1ba14ffb</a>]")
        );
        assert_eq!(
            html_cell(uuid, true),
            format!("<a name=\"{uuid}\">1ba14ffb</a>")
        );
    }
}
