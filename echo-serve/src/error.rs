//! Errors in OpenAI's shape.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use echo_runtime::RejectReason;
use serde_json::{Value, json};
use std::borrow::Cow;

/// Seconds after which a client that was turned away may try again.
const RETRY_AFTER_S: &str = "1";
/// What the engine calls by another name than bodies do.
const FIELDS: [(&str, &str); 4] = [
    ("stop tokens", "stop_token_ids"),
    ("stop strings", "stop"),
    ("prompt_logprobs", "logprobs"),
    ("draft_weight", "speculative_weight"),
];

/// A refusal, for the client to read.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// The field at fault.
    pub(crate) param: Option<Cow<'static, str>>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        ApiError { status, message: message.into(), param: None }
    }

    /// The body is wrong at `param`.
    pub(crate) fn bad(param: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let status = StatusCode::BAD_REQUEST;
        ApiError { status, message: message.into(), param: Some(param.into()) }
    }

    /// The engine is gone or gave the request up.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// The body of the error.
    pub(crate) fn json(&self) -> Value {
        let (kind, code) = match self.status {
            StatusCode::UNAUTHORIZED => ("authentication_error", Some("invalid_api_key")),
            StatusCode::FORBIDDEN => ("permission_error", None),
            StatusCode::NOT_FOUND => ("not_found_error", None),
            StatusCode::TOO_MANY_REQUESTS => ("rate_limit_error", Some("queue_full")),
            StatusCode::SERVICE_UNAVAILABLE => ("service_unavailable", None),
            status if status.is_server_error() => ("server_error", None),
            _ => ("invalid_request_error", None),
        };
        json!({"error": {
            "message": self.message, "type": kind, "param": self.param, "code": code,
        }})
    }
}

impl From<RejectReason> for ApiError {
    fn from(reason: RejectReason) -> Self {
        let message = reason.to_string();
        match reason {
            RejectReason::EmptyPrompt
            | RejectReason::PromptTooLong { .. }
            | RejectReason::UnknownToken { .. } => ApiError::bad("prompt", message),
            RejectReason::BadParameter { name, .. } => {
                let field = FIELDS.iter().find(|(own, _)| *own == name);
                ApiError::bad(field.map_or(name, |(_, field)| field), message)
            }
            RejectReason::QueueFull { .. } => ApiError::new(StatusCode::TOO_MANY_REQUESTS, message),
            RejectReason::NoMemory | RejectReason::Closed => {
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.json())).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            // A browser then asks for the key, as a password.
            let ask = HeaderValue::from_static("Basic realm=\"echo\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
        }
        let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
        if busy.contains(&self.status) {
            let after = HeaderValue::from_static(RETRY_AFTER_S);
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
        response
    }
}
