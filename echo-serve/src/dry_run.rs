//! What a body asks for, found out without asking for it.

use crate::clients::ClientId;
use crate::error::ApiError;
use crate::{Codec, ServeOptions, Setting, parse};
use axum::http::StatusCode;
use echo_runtime::{Handle, Request};
use std::sync::Arc;

/// The requests that `body` asks for, sent to the route of chats if `chat`, else to that of
/// completions; or the message its sender would get. Nothing is submitted.
///
/// All that a server does with a body before an engine hears of it, for tests and fuzzing.
pub fn requests(
    body: &[u8],
    chat: bool,
    handle: &Handle,
    codec: &Arc<dyn Codec>,
    options: &ServeOptions,
) -> Result<Vec<Request>, String> {
    let setting = Setting { handle, codec: codec.as_ref(), options };
    let body = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let refused = |error: ApiError| {
        debug_assert_ne!(error.status, StatusCode::INTERNAL_SERVER_ERROR, "the client's fault");
        error.message
    };
    parse::requests(setting, ClientId(0), &body, chat).map_err(refused)
}
