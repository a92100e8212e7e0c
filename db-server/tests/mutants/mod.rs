//! Every way to get one node of a JSON value wrong.

use serde_json::{Map, Value, json};

/// Where in a value: members and positions.
pub type Path = Vec<String>;

/// Copies of `json` with one node replaced by something of each type, left out, or doubled.
pub fn mutants(json: &Value) -> Vec<(Path, Value)> {
    let mut all = Vec::new();
    visit(json, &mut Vec::new(), &mut |path, node| {
        let mut replacements = vec![
            json!(null),
            json!(true),
            json!(0),
            json!(-1),
            json!(4_294_967_296u64),
            json!(u64::MAX),
            json!(1e300),
            json!(0.5),
            json!(""),
            json!("\u{e9}~ x"),
            json!("x".repeat(2000)),
            json!([]),
            json!([[]]),
            json!({}),
            json!({"x": {}}),
            json!([node, node]),
        ];
        if let Value::Array(items) = node {
            // One item out, one twice.
            for i in 0..items.len() {
                let mut fewer = items.clone();
                let item = fewer.remove(i);
                replacements.push(Value::Array(fewer));
                let mut more = items.clone();
                more.insert(i, item);
                replacements.push(Value::Array(more));
            }
        }
        if let Value::Object(members) = node {
            for name in members.keys() {
                let mut fewer = members.clone();
                fewer.remove(name);
                replacements.push(Value::Object(fewer));
                let renamed: Map<String, Value> = members
                    .iter()
                    .map(|(other, value)| {
                        let other = if other == name {
                            format!("{other}x")
                        } else {
                            other.clone()
                        };
                        (other, value.clone())
                    })
                    .collect();
                replacements.push(Value::Object(renamed));
            }
        }
        for replacement in replacements {
            if replacement != *node {
                let mut mutant = json.clone();
                *at(&mut mutant, path) = replacement;
                all.push((path.clone(), mutant));
            }
        }
    });
    all
}

fn visit(json: &Value, path: &mut Path, see: &mut dyn FnMut(&Path, &Value)) {
    see(path, json);
    let children: Vec<(String, &Value)> = match json {
        Value::Array(items) => {
            let numbered = items.iter().enumerate();
            numbered.map(|(i, item)| (i.to_string(), item)).collect()
        }
        Value::Object(members) => members
            .iter()
            .map(|(name, item)| (name.clone(), item))
            .collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        path.push(name);
        visit(child, path, see);
        path.pop();
    }
}

fn at<'a>(json: &'a mut Value, path: &[String]) -> &'a mut Value {
    path.iter().fold(json, |json, name| match json {
        Value::Array(items) => &mut items[name.parse::<usize>().unwrap()],
        other => &mut other[name.as_str()],
    })
}
