//! The key that guards every route but health.

use crate::App;
use crate::error::ApiError;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Routes that load balancers ask without a key; they tell nothing but yes or no.
const OPEN: [&str; 2] = ["/health", "/ready"];

/// Lets a request through if no key is set, its route is open, or it brings the key. It is the
/// outermost layer, so a route can't be forgotten: unknown paths are guarded too.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(key) = &app.options.api_key else { return next.run(request).await };
    let bearer = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let brought = bearer.and_then(|value| value.strip_prefix(b"Bearer "));
    let is_open = OPEN.contains(&request.uri().path());
    if is_open || brought.is_some_and(|brought| same(brought, key.as_bytes())) {
        return next.run(request).await;
    }
    let message = "the API key is missing or wrong; send it as Authorization: Bearer KEY";
    ApiError::new(StatusCode::UNAUTHORIZED, message).into_response()
}

/// Whether two keys are equal, in a time that tells nothing but their lengths.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}
