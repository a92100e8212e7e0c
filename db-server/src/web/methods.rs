//! The methods, their parameters and their errors.
//!
//! Parameters are those of RFC 7047 in an array, or an object that names them. What the database
//! refuses is an error of the code [`DATABASE_ERROR`] with RFC 7047's `<error>` as `data`; a
//! transaction whose operations fail has a result, as there.
//!
//! Source: JSON-RPC 2.0, 4 to 6; RFC 7047, 4.1; ovsdb-server(7), 4.1.14.

use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::core::middleware::{Batch, BatchEntry, Notification, RpcServiceT};
use jsonrpsee::server::{
    BatchResponseBuilder, Extensions, MethodResponse, Methods, SubscriptionCloseResponse,
};
use jsonrpsee::types::error::{ErrorCode, OVERSIZED_RESPONSE_CODE, SERVER_IS_BUSY_CODE};
use jsonrpsee::types::params::TwoPointZero;
use jsonrpsee::types::{ErrorObject, ErrorObjectOwned, Id, Params, Request};
use ovsdb::jsonrpc::has_null_byte;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::session::Session;

/// What RFC 7047 calls an error.
pub(super) const DATABASE_ERROR: i32 = 1;

/// The longest result.
pub(super) const MAX_RESPONSE: usize = 64 << 20;

const SUBSCRIBE: &str = "monitor";
const UNSUBSCRIBE: &str = "monitor_cancel";

type CallResult = Result<Box<RawValue>, ErrorObjectOwned>;

/// The table of methods.
pub(super) fn methods() -> Result<Methods, RegisterMethodError> {
    let mut module = RpcModule::new(());
    add(&mut module, "list_dbs", nothing)?;
    add(&mut module, "get_server_id", nothing)?;
    add(&mut module, "get_schema", get_schema)?;
    add(&mut module, "transact", transact)?;
    add(&mut module, "echo", echo)?;
    module.register_subscription(
        SUBSCRIBE,
        "update",
        UNSUBSCRIBE,
        |params, pending, _, extensions| async move {
            let asked =
                monitor(&params).and_then(|params| Ok((params, session(&extensions)?.clone())));
            let (params, session) = match asked {
                Ok(asked) => asked,
                Err(error) => {
                    pending.reject(error).await;
                    return SubscriptionCloseResponse::None;
                }
            };
            // This lasts as long as the subscription, and the session must not.
            drop(extensions);
            let end = session.subscribe(params, pending).await;
            match end.await {
                Ok(reason) => SubscriptionCloseResponse::NotifErr(reason.into()),
                Err(_) => SubscriptionCloseResponse::None,
            }
        },
    )?;
    Ok(module.into())
}

/// Adds a method that the server answers as it would on an OVSDB connection, given its parameters
/// in the form that RFC 7047 has.
fn add(
    module: &mut RpcModule<()>,
    name: &'static str,
    read: fn(Value) -> Result<Value, ErrorObjectOwned>,
) -> Result<(), RegisterMethodError> {
    module.register_async_method(name, move |params, _, extensions| async move {
        let params = read(value(&params)?)?;
        call(name, params, &extensions).await
    })?;
    Ok(())
}

async fn call(name: &'static str, params: Value, extensions: &Extensions) -> CallResult {
    let session = session(extensions)?;
    // A WebSocket may be older than the token.
    let credential = session.credential.as_ref();
    if name == "transact" && credential.is_some_and(|credential| !credential.is_valid()) {
        return Err(database_error(&json!({
            "error": "not allowed",
            "details": "the token that this connection was made with is no longer valid",
        })));
    }
    let result = session.call(name, params).await?;
    if result.get().len() > MAX_RESPONSE {
        return Err(ErrorObject::owned(
            OVERSIZED_RESPONSE_CODE,
            "Response is too big",
            Some(format!("the result is longer than {MAX_RESPONSE} bytes")),
        ));
    }
    Ok(result)
}

fn session(extensions: &Extensions) -> Result<&Session, ErrorObjectOwned> {
    let session = extensions.get::<Session>();
    session.ok_or_else(|| ErrorCode::InternalError.into())
}

/// The parameters; null when there are none.
fn value(params: &Params<'_>) -> Result<Value, ErrorObjectOwned> {
    let value: Value = params.parse()?;
    // No program of Open vSwitch could read one back.
    if has_null_byte(&value) {
        return Err(invalid("null bytes are not supported in strings"));
    }
    Ok(value)
}

fn nothing(params: Value) -> Result<Value, ErrorObjectOwned> {
    match params {
        Value::Null => Ok(json!([])),
        Value::Array(items) if items.is_empty() => Ok(json!([])),
        Value::Object(members) if members.is_empty() => Ok(json!([])),
        _ => Err(invalid("there are no parameters")),
    }
}

fn echo(params: Value) -> Result<Value, ErrorObjectOwned> {
    match params {
        Value::Array(_) => Ok(params),
        Value::Null => Ok(json!([])),
        _ => Err(invalid("the parameters must be an array")),
    }
}

fn get_schema(params: Value) -> Result<Value, ErrorObjectOwned> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct GetSchema {
        database: String,
    }
    let GetSchema { database } = read(params, "[database]")?;
    Ok(json!([database]))
}

fn transact(params: Value) -> Result<Value, ErrorObjectOwned> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Transact {
        database: String,
        operations: Vec<Value>,
    }
    const FORM: &str = "[database, operation, ...]";
    if let Value::Array(items) = &params {
        return match items.first() {
            Some(Value::String(_)) => Ok(params),
            _ => Err(invalid(&format!("the parameters must be {FORM}"))),
        };
    }
    let Transact {
        database,
        mut operations,
    } = read(params, FORM)?;
    operations.insert(0, Value::String(database));
    Ok(Value::Array(operations))
}

/// Database, requests, last transaction.
fn monitor(params: &Params<'_>) -> Result<[Value; 3], ErrorObjectOwned> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Monitor {
        database: String,
        requests: Value,
        #[serde(default)]
        last_txn_id: Option<String>,
    }
    let Monitor {
        database,
        requests,
        last_txn_id,
    } = read(
        value(params)?,
        "[database, requests] or [database, requests, last_txn_id]",
    )?;
    // The zero UUID is never a transaction's.
    let last = last_txn_id.unwrap_or_else(|| uuid::Uuid::nil().to_string());
    Ok([json!(database), requests, json!(last)])
}

/// Reads parameters that may come in an array or by name.
fn read<T: serde::de::DeserializeOwned>(params: Value, form: &str) -> Result<T, ErrorObjectOwned> {
    if params.is_null() {
        return Err(invalid(&format!("the parameters must be {form}")));
    }
    serde_json::from_value(params)
        .map_err(|error| invalid(&format!("{error}; the parameters must be {form}")))
}

fn invalid(why: &str) -> ErrorObjectOwned {
    let code = ErrorCode::InvalidParams;
    ErrorObject::owned(code.code(), code.message(), Some(why))
}

/// An error of RFC 7047: an `<error>` object, or just its name.
pub(super) fn database_error(error: &Value) -> ErrorObjectOwned {
    let name = error.as_str().or_else(|| error.get("error")?.as_str());
    let message = name.unwrap_or("database error").to_owned();
    let data = match error {
        Value::Object(_) => error.clone(),
        _ => json!({"error": error}),
    };
    ErrorObject::owned(DATABASE_ERROR, message, Some(data))
}

pub(super) fn busy(most: usize) -> ErrorObjectOwned {
    let data = format!("{most} calls of this connection are under way");
    ErrorObject::owned(
        SERVER_IS_BUSY_CODE,
        "Server is busy, try again later",
        Some(data),
    )
}

/// The session has ended; whether a call was carried out is not known.
pub(super) fn closing() -> ErrorObjectOwned {
    let code = ErrorCode::InternalError;
    ErrorObject::owned(
        code.code(),
        code.message(),
        Some("the connection is being closed"),
    )
}

/// A mark on an HTTP request's response that has no content.
#[derive(Debug, Clone)]
pub(super) struct Unanswered;

/// Carries notifications out, which `jsonrpsee` drops, and says where there are no subscriptions.
#[derive(Debug, Clone)]
pub(super) struct Dispatch<S>(pub S);

impl<S> Dispatch<S>
where
    S: RpcServiceT<MethodResponse = MethodResponse> + Sync,
{
    async fn answer(&self, request: Request<'_>) -> MethodResponse {
        let subscribes = matches!(&*request.method, SUBSCRIBE | UNSUBSCRIBE);
        let can = session(&request.extensions).is_ok_and(|session| session.is_websocket);
        if subscribes && !can {
            return refuse_subscription(request, "subscriptions need a WebSocket");
        }
        self.0.call(request).await
    }

    async fn notify(&self, notification: Notification<'_>) {
        // Nobody would learn what the subscription is called.
        if notification.method == SUBSCRIBE {
            return;
        }
        let request = Request {
            jsonrpc: TwoPointZero,
            id: Id::Null,
            method: notification.method,
            params: notification.params,
            extensions: notification.extensions,
        };
        self.answer(request).await;
    }
}

fn refuse_subscription(request: Request<'_>, why: &str) -> MethodResponse {
    let code = ErrorCode::MethodNotFound;
    let error = ErrorObject::owned(code.code(), code.message(), Some(why));
    MethodResponse::error(request.id, error)
}

impl<S> RpcServiceT for Dispatch<S>
where
    S: RpcServiceT<MethodResponse = MethodResponse> + Clone + Send + Sync + 'static,
{
    type MethodResponse = MethodResponse;
    type BatchResponse = MethodResponse;
    type NotificationResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move { this.answer(request).await }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let mut responses = BatchResponseBuilder::new_with_limit(MAX_RESPONSE);
            let mut notified = false;
            for entry in batch {
                let response = match entry {
                    Ok(BatchEntry::Notification(notification)) => {
                        this.notify(notification).await;
                        notified = true;
                        continue;
                    }
                    // Its answer would come twice: on its own and in the batch's.
                    Ok(BatchEntry::Call(request)) if request.method == SUBSCRIBE => {
                        refuse_subscription(request, "subscriptions cannot be made in a batch")
                    }
                    Ok(BatchEntry::Call(request)) => this.answer(request).await,
                    Err(error) => {
                        let (error, id) = error.into_parts();
                        MethodResponse::error(id, error)
                    }
                };
                if let Err(too_big) = responses.append(response) {
                    return too_big;
                }
            }
            if notified && responses.is_empty() {
                return nothing_to_say();
            }
            MethodResponse::from_batch(responses.finish())
        }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            this.notify(notification).await;
            nothing_to_say()
        }
    }
}

fn nothing_to_say() -> MethodResponse {
    let mut extensions = Extensions::new();
    extensions.insert(Unanswered);
    MethodResponse::notification().with_extensions(extensions)
}

/// The answer to what is JSON but neither call nor notification, as JSON-RPC 2.0 has it, where
/// `jsonrpsee` has another: without an id it says parse error, with a bad one it sees a
/// notification. `None` for what it answers rightly.
pub(super) fn invalid_request(body: &[u8]) -> Option<String> {
    if body.trim_ascii_start().starts_with(b"[")
        || serde_json::from_slice::<Request<'_>>(body).is_ok()
    {
        return None;
    }
    let json: Value = serde_json::from_slice(body).ok()?;
    let is_notification = serde_json::from_slice::<Notification<'_>>(body).is_ok();
    if is_notification != json.get("id").is_some() {
        return None;
    }
    let code = ErrorCode::InvalidRequest;
    let error = json!({"code": code.code(), "message": code.message()});
    Some(json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string())
}
