//! Who may ask: the key that guards every route but health, and the name a server without keys is
//! called by.

use crate::App;
use crate::clients::ClientId;
use crate::error::ApiError;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

/// Routes that load balancers ask without a key; they tell the state of the server alone.
const OPEN: [&str; 2] = ["/health", "/ready"];

/// The names of one's own machine.
const OWN: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Lets a request through if its route is open, or it brings a key, or no key is set and it comes
/// for this server. It is the outermost layer, so a route can't be forgotten: unknown paths are
/// guarded too.
pub(crate) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let client = if app.keys.is_empty() { own_name(&app, &request) } else { key(&app, &request) };
    match client {
        Ok(client) => {
            request.extensions_mut().insert(client);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

/// A key's digest: what is compared has one length, and no key lies in memory.
pub(crate) fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The client whose key the request brings. All keys are looked at, in a time that tells nothing.
fn key(app: &App, request: &Request) -> Result<ClientId, ApiError> {
    let field = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let brought = digest(&field.and_then(brought).unwrap_or_default());
    let mut client = None;
    for (i, key) in app.keys.iter().enumerate() {
        let differs = key.iter().zip(&brought).fold(0, |diff, (a, b)| diff | (a ^ b));
        client = if differs == 0 { Some(ClientId(i)) } else { client };
    }
    let message = "the API key is missing or wrong; send it as Authorization: Bearer KEY";
    client.ok_or_else(|| ApiError::new(StatusCode::UNAUTHORIZED, message))
}

/// The key in an `Authorization` field: a bearer's, or the password of a browser that was asked for
/// one.
fn brought(field: &[u8]) -> Option<Vec<u8>> {
    if let Some(key) = field.strip_prefix(b"Bearer ") {
        return Some(key.to_vec());
    }
    let pair = BASE64_STANDARD.decode(field.strip_prefix(b"Basic ")?).ok()?;
    let colon = pair.iter().position(|&byte| byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

/// Without keys, a page of another site that a browser was led to (by a name that points here) is
/// turned away: neither its `Host` nor its `Origin` is ours.
fn own_name(app: &App, request: &Request) -> Result<ClientId, ApiError> {
    if app.options.insecure {
        return Ok(ClientId(0));
    }
    let named = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or("?");
        let host = text.split_once("://").map_or(text, |(_, host)| host);
        let name = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        let name = name.map_or(host, |(name, _)| name);
        OWN.contains(&name) || app.options.hosts.iter().any(|own| own == name)
    };
    for field in [header::HOST, header::ORIGIN] {
        if let Some(value) = request.headers().get(&field)
            && !named(value)
        {
            let value = String::from_utf8_lossy(value.as_bytes());
            let message = format!(
                "{field} is {value}, none of this server's names; add it with --allowed-host, or \
                 set an API key"
            );
            return Err(ApiError::new(StatusCode::FORBIDDEN, message));
        }
    }
    Ok(ClientId(0))
}
