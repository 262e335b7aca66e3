//! A response in pieces, so that what it holds is known until the last of it is on its way.

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::io;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// Bytes of a piece: what is held of a response whose room was given back.
const PIECE: usize = 64 << 10;

/// A JSON text as a response. `room` is given back with the last piece. A reader has until
/// `deadline` to ask for that one, however little it takes at a time; then the response breaks off.
pub(crate) fn json(
    text: String,
    room: Option<OwnedSemaphorePermit>,
    deadline: Duration,
) -> Response {
    let head = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_LENGTH, text.len().to_string()),
    ];
    let until = Instant::now().checked_add(deadline);
    (head, Body::from_stream(tokio_stream::iter(pieces(text, room, until)))).into_response()
}

fn pieces<R>(
    text: String,
    room: R,
    until: Option<Instant>,
) -> impl Iterator<Item = io::Result<Bytes>> + use<R> {
    let (mut left, mut at) = (Some((text.into_bytes(), room)), 0);
    std::iter::from_fn(move || {
        let (text, _) = left.as_ref()?;
        if until.is_some_and(|until| Instant::now() > until) {
            left = None;
            let message = "the reader took too long";
            return Some(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
        }
        // A copy, so that a piece on its way does not hold the whole.
        let piece = Bytes::copy_from_slice(&text[at..text.len().min(at + PIECE)]);
        at += piece.len();
        if at == text.len() {
            left = None;
        }
        Some(Ok(piece))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_room_is_held_up_to_the_last_piece() {
        let room = Arc::new(());
        let text = "x".repeat(2 * PIECE + 1);
        // Longer than any clock goes.
        let until = Instant::now().checked_add(Duration::MAX);
        let mut pieces = pieces(text.clone(), Arc::clone(&room), until);
        let mut read = Vec::new();
        for (piece, holders) in [2, 2, 1].into_iter().enumerate() {
            read.extend(pieces.next().expect("a piece").expect("in time"));
            assert_eq!(Arc::strong_count(&room), holders, "piece {piece}");
        }
        assert!(pieces.next().is_none());
        assert_eq!(read, text.into_bytes());
    }

    #[test]
    fn whoever_takes_too_long_gets_no_end() {
        let room = Arc::new(());
        let mut late = pieces("x".repeat(2 * PIECE), Arc::clone(&room), Some(Instant::now()));
        std::thread::sleep(Duration::from_millis(2));
        assert!(late.next().expect("a word").is_err());
        assert_eq!(Arc::strong_count(&room), 1);
        assert!(late.next().is_none());
    }
}
