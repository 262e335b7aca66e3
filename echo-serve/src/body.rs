//! Reading a request's body within its size, its depth and its deadline.

use crate::App;
use crate::error::ApiError;
use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use echo_runtime::RejectReason;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

/// Lists and objects inside each other at most.
const DEPTH_MAX: usize = 64;

/// The body as `T`; errors name what is wrong with it.
pub(crate) async fn read<T: DeserializeOwned>(body: Body, app: &App) -> Result<T, ApiError> {
    if !app.handle.has_memory() {
        return Err(RejectReason::NoMemory.into());
    }
    let options = &app.options;
    let too_large = || {
        let max = options.body_max;
        let message = format!("the body is too large; at most {max} bytes are taken");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    // What is announced need not be waited for.
    if body.size_hint().lower() > options.body_max as u64 {
        return Err(too_large());
    }
    let reading = Limited::new(body, options.body_max).collect();
    let Ok(read) = tokio::time::timeout(options.body_deadline, reading).await else {
        let limit = options.body_deadline.as_secs_f32();
        let message = format!("the body did not arrive within {limit} s");
        return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message));
    };
    let bytes = read.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return too_large();
        }
        ApiError::new(StatusCode::BAD_REQUEST, format!("the body can't be read: {error}"))
    })?;
    let bytes = bytes.to_bytes();
    if depth(&bytes) > DEPTH_MAX {
        let message = format!("lists and objects lie more than {DEPTH_MAX} deep in the body");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
    }
    parse(&bytes)
}

/// The value of a JSON text. What is wrong with a field is told with its name.
fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(json);
    let told = |error: &serde_json::Error| format!("the body is not as it must be: {error}");
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (path, error) = (error.path().to_string(), error.inner());
        // The root has no name, and of what is no JSON no field is at fault.
        if error.is_data() && path != "." {
            return ApiError::bad(path.clone(), format!("{path}: {error}"));
        }
        ApiError::new(StatusCode::BAD_REQUEST, told(error))
    })?;
    json.end().map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, told(&error)))?;
    Ok(value)
}

/// How deep the lists and objects of a JSON text lie, as far as it is one.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_of_texts() {
        for (json, expected) in [
            ("1", 0),
            ("[]", 1),
            ("{\"a\": [[], {}]}", 3),
            ("\"[[[\"", 0),
            ("[\"\\\"[[\", []]", 2),
            ("]]][", 1),
        ] {
            assert_eq!(depth(json.as_bytes()), expected, "{json}");
        }
    }
}
