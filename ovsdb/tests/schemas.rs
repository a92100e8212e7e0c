//! The table of schemas: each in `data/schemas.txt` with what ovsdb-tool 3.1 said of it, `ok` or an
//! error. Ours refuse the same ones; their errors also say where in the schema.

use ovsdb::DatabaseSchema;
use serde_json::Value;

#[test]
fn refuses_what_ovsdb_tool_refuses() {
    let mut lines = include_str!("data/schemas.txt").lines();
    let mut count = 0;
    while let Some((line, said)) = lines.next().zip(lines.next()) {
        let json: Value = serde_json::from_str(line).unwrap();
        let said = said.trim_start();
        match DatabaseSchema::from_json(&json) {
            Ok(schema) => {
                assert_eq!(said, "ok", "{line}");
                let again = DatabaseSchema::from_json(&schema.to_json());
                assert_eq!(again.as_ref(), Ok(&schema), "{line}");
            }
            Err(error) => {
                assert_ne!(said, "ok", "{line}: {error}");
                let inside = json.pointer("/tables/T").is_some();
                assert!(
                    !inside || error.to_string().contains("table T"),
                    "{line}: {error}"
                );
                let kind = said.split(": ").find(|part| part.ends_with("error"));
                assert_eq!(kind, Some(error.kind.as_str()), "{line}: {said}");
            }
        }
        count += 1;
    }
    assert!(count > 80);
}
