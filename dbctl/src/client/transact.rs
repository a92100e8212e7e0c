//! `transact` and `query`.

use serde_json::{Value, json};

use super::connect::{self, Wanted};
use super::{Call, Error, Result, parse_json};

pub async fn transact(call: &mut Call, args: &[String]) -> Result<()> {
    let transaction = parse_json(args.last().map_or("", String::as_str))?;
    let result = carry_out(call, args, transaction).await?;
    call.print_json(&result)
}

/// A transaction that ends in an `abort`, so that nothing of it stays.
pub async fn query(call: &mut Call, args: &[String]) -> Result<()> {
    let mut transaction = parse_json(args.last().map_or("", String::as_str))?;
    let Some(operations) = transaction.as_array_mut() else {
        return Err(not_valid());
    };
    operations.push(json!({"op": "abort"}));
    let count = operations.len().saturating_sub(1);
    let mut result = carry_out(call, args, transaction).await?;
    // When the `abort` was what ended it, its result is nobody's business.
    if let Value::Array(results) = &mut result
        && results.len() == count
        && results.last().and_then(|last| last.get("error")) == Some(&json!("aborted"))
    {
        results.pop();
    }
    call.print_json(&result)
}

fn not_valid() -> Error {
    Error::Fatal("not a valid OVSDB query".to_owned())
}

async fn carry_out(call: &mut Call, args: &[String], transaction: Value) -> Result<Value> {
    let database = transaction
        .get(0)
        .and_then(Value::as_str)
        .map(str::to_owned);
    let database = database.ok_or_else(not_valid)?;
    let (mut server, _, _) = connect::open(call, 1, Some(Wanted::Named(database)), args).await?;
    if call.options.db_change_aware == Some(true) {
        call.become_change_aware(&mut server).await?;
    }
    // A transaction may wait for long.
    let _running = call.started()?;
    call.ask(&mut server, "transact", transaction).await
}
