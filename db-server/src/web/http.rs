//! One connection: HTTP/1.1 requests, one of which may make it a WebSocket.
//!
//! Each request is checked by the [`super::guard`], read whole within limits, given a session of
//! its own, and then handed to `jsonrpsee`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use daemon::rate_limit::RateLimit;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jsonrpsee::core::BoxError;
use jsonrpsee::core::middleware::RpcServiceBuilder;
use jsonrpsee::server::{
    BatchRequestConfig, HttpBody, HttpRequest, HttpResponse, PingConfig, ServerBuilder,
    ServerConfig, http, ws,
};

use super::guard::{Admitted, Refusal};
use super::methods::{self, Dispatch, MAX_RESPONSE, Unanswered};
use super::session::Session;
use super::stream::{Link, Stream};
use super::{MAX_CONNECTIONS, Shared};

/// The longest request.
const MAX_REQUEST: usize = 16 << 20;
/// Requests in a batch.
const MAX_BATCH: u32 = 100;
/// Subscriptions of one WebSocket.
const MAX_SUBSCRIPTIONS: u32 = 100;
/// Headers of one request, of all lengths together at most [`MAX_HEAD`].
const MAX_HEADERS: usize = 64;
const MAX_HEAD: usize = 32 << 10;
/// How long a connection may be without a whole request head, and that without its body.
const HEAD_TIME: Duration = Duration::from_secs(10);
const BODY_TIME: Duration = Duration::from_secs(30);
/// Messages between a WebSocket's subscriptions and its socket.
const MESSAGES: u32 = 8;

static REFUSED: RateLimit = RateLimit::new(12, 3);

/// What the requests of one connection share.
struct Connection {
    remote: Arc<str>,
    peer: SocketAddr,
    link: Arc<Link>,
    shared: Arc<Shared>,
}

/// Serves a connection until it ends or has become a WebSocket.
pub(super) async fn serve(stream: Stream, peer: SocketAddr, remote: Arc<str>, shared: Arc<Shared>) {
    let config = ServerConfig::builder()
        .max_request_body_size(u32::try_from(MAX_REQUEST).unwrap_or(u32::MAX))
        // Results are measured before; this has room for what is around them.
        .max_response_body_size(u32::try_from(MAX_RESPONSE + (1 << 16)).unwrap_or(u32::MAX))
        .max_connections(u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX))
        .max_subscriptions_per_connection(MAX_SUBSCRIPTIONS)
        .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
        .set_message_buffer_capacity(MESSAGES)
        .enable_ws_ping(PingConfig::new())
        .build();
    let number = shared.next_connection.fetch_add(1, Ordering::Relaxed);
    let rpc = ServerBuilder::with_config(config)
        .set_rpc_middleware(RpcServiceBuilder::new().layer_fn(Dispatch))
        .to_service_builder()
        .connection_id(number)
        .build(shared.methods.clone(), shared.stop.clone());
    let rpc = Arc::new(TowerToHyperService::new(rpc));
    let connection = Arc::new(Connection {
        remote,
        peer,
        link: stream.link(),
        shared,
    });
    let service = service_fn(move |request| {
        let (connection, rpc) = (connection.clone(), rpc.clone());
        async move { Ok::<_, Infallible>(connection.answer(request, &*rpc).await) }
    });
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = result {
        tracing::debug!("{peer}: {error}");
    }
}

impl Connection {
    async fn answer<S>(&self, request: Request<Incoming>, rpc: &S) -> HttpResponse
    where
        S: Service<HttpRequest, Response = HttpResponse, Error = BoxError>,
    {
        let admitted = match self.shared.guard.admit(request.headers()) {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse(&refusal),
        };
        let allow = admitted.origin.as_deref().and_then(allow_origin);
        let mut response = self.serve(request, admitted, rpc).await;
        response.headers_mut().extend(allow.into_iter().flatten());
        response
    }

    async fn serve<S>(
        &self,
        request: Request<Incoming>,
        admitted: Admitted,
        rpc: &S,
    ) -> HttpResponse
    where
        S: Service<HttpRequest, Response = HttpResponse, Error = BoxError>,
    {
        if request.uri().path() != "/" {
            return plain(StatusCode::NOT_FOUND, "the only resource is /");
        }
        if request.method() == Method::OPTIONS {
            return preflight(&admitted);
        }
        let is_websocket = ws::is_upgrade_request(&request);
        let (parts, body) = request.into_parts();
        let mut request = if is_websocket {
            Request::from_parts(parts, HttpBody::new(body))
        } else {
            if parts.method != Method::POST {
                return http::response::method_not_allowed();
            }
            if !http::is_json(parts.headers.get(header::CONTENT_TYPE)) {
                return http::response::unsupported_content_type();
            }
            let body = match read_body(body).await {
                Ok(body) => body,
                Err(refusal) => return refusal,
            };
            if let Some(answer) = methods::invalid_request(&body) {
                return http::response::ok_response(answer);
            }
            Request::from_parts(parts, HttpBody::from(body))
        };
        let session = Session::start(
            self.remote.clone(),
            admitted.credential,
            is_websocket,
            self.link.clone(),
            self.shared.events.clone(),
        );
        request.extensions_mut().insert(session);
        match rpc.call(request).await {
            Ok(response) if response.extensions().get::<Unanswered>().is_some() => {
                empty(StatusCode::NO_CONTENT)
            }
            Ok(mut response) => {
                // A handshake that fails is said to be fine.
                if is_websocket && response.status() == StatusCode::OK {
                    *response.status_mut() = StatusCode::BAD_REQUEST;
                }
                response
            }
            Err(error) => {
                tracing::debug!("{}: {error}", self.peer);
                http::response::internal_error()
            }
        }
    }

    fn refuse(&self, refusal: &Refusal) -> HttpResponse {
        if let Some(dropped) = REFUSED.allow(Instant::now()) {
            let (remote, peer) = (&self.remote, self.peer);
            tracing::warn!(
                "{remote}: {peer}: request refused: {}{dropped}",
                refusal.text
            );
        }
        let mut response = plain(refusal.status, &refusal.text);
        if refusal.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// Reads a request's body, which may be too long or too slow.
async fn read_body(mut body: Incoming) -> Result<Vec<u8>, HttpResponse> {
    let too_large = || {
        let limit = u32::try_from(MAX_REQUEST).unwrap_or(u32::MAX);
        let mut response = http::response::too_large(limit);
        // What is left of the body would be the next request.
        close(response.headers_mut());
        response
    };
    if body.size_hint().lower() > MAX_REQUEST as u64 {
        return Err(too_large());
    }
    let deadline = tokio::time::Instant::now() + BODY_TIME;
    let mut bytes = Vec::new();
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let data = match tokio::time::timeout_at(deadline, frame).await {
            Ok(None) => return Ok(bytes),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            Ok(Some(Err(error))) => {
                let text = format!("the body cannot be read: {error}");
                return Err(plain(StatusCode::BAD_REQUEST, &text));
            }
            Err(_) => {
                let text = format!("the body did not come within {} s", BODY_TIME.as_secs());
                let mut response = plain(StatusCode::REQUEST_TIMEOUT, &text);
                close(response.headers_mut());
                return Err(response);
            }
        };
        if bytes.len().saturating_add(data.len()) > MAX_REQUEST {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
}

fn close(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// A browser asks what a page of another origin may do.
fn preflight(admitted: &Admitted) -> HttpResponse {
    if admitted.origin.is_none() {
        return http::response::method_not_allowed();
    }
    let mut response = empty(StatusCode::NO_CONTENT);
    response.headers_mut().extend([
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("POST"),
        ),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type"),
        ),
        (
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static("600"),
        ),
    ]);
    response
}

/// The headers by which a browser lets a page of `origin` see the answer.
fn allow_origin(origin: &str) -> Option<[(HeaderName, HeaderValue); 2]> {
    let value = HeaderValue::from_str(origin).ok()?;
    Some([
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, value),
        (header::VARY, HeaderValue::from_static("origin")),
    ])
}

fn plain(status: StatusCode, text: &str) -> HttpResponse {
    let mut response = HttpResponse::new(HttpBody::from(format!("{text}\n")));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn empty(status: StatusCode) -> HttpResponse {
    let mut response = HttpResponse::new(HttpBody::empty());
    *response.status_mut() = status;
    response
}
