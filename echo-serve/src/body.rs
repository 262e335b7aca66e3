//! Reading a request's body within its size and its deadline.

use crate::error::ApiError;
use crate::options::ServeOptions;
use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

/// The body as `T`; errors name what is wrong with it.
pub(crate) async fn read<T: DeserializeOwned>(
    body: Body,
    options: &ServeOptions,
) -> Result<T, ApiError> {
    let reading = to_bytes(body, options.body_max);
    let Ok(read) = tokio::time::timeout(options.body_deadline, reading).await else {
        let limit = options.body_deadline.as_secs_f32();
        let message = format!("the body did not arrive within {limit} s");
        return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message));
    };
    let bytes = read.map_err(|error| {
        let message = format!(
            "the body can't be read: {error}; at most {} bytes are taken",
            options.body_max
        );
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        ApiError::new(StatusCode::BAD_REQUEST, format!("the body is not as it must be: {error}"))
    })
}
