//! Room for log-probabilities: what takes most of the memory of an answer, by far.

use crate::error::ApiError;
use axum::http::StatusCode;
use echo_core::Limits;
use echo_runtime::Request;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The log-probabilities that all answers on their way may list together. A listed one takes some
/// hundred times the memory of a token's text.
#[derive(Debug)]
pub(crate) struct Scores {
    free: Arc<Semaphore>,
    max: usize,
}

impl Scores {
    pub(crate) fn new(max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Scores { free: Arc::new(Semaphore::new(max)), max }
    }

    /// Takes room for as many as `requests` may list, until it is dropped.
    pub(crate) fn take(
        &self,
        requests: &[Request],
        limits: &Limits,
    ) -> Result<OwnedSemaphorePermit, ApiError> {
        let wanted =
            requests.iter().map(|r| listed(r, limits)).fold(0, |a: usize, b| a.saturating_add(b));
        let max = self.max;
        if wanted > max {
            let message = format!(
                "the answers may list {wanted} log-probabilities, at most {max}; ask for fewer \
                 tokens, answers or alternatives"
            );
            return Err(ApiError::bad("logprobs", message));
        }
        Arc::clone(&self.free).try_acquire_many_owned(wanted as u32).map_err(|_| {
            let message = format!(
                "answers on their way list so many log-probabilities that there is no room for \
                 {wanted} more; try again later, or ask for fewer"
            );
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, message)
        })
    }
}

/// Log-probabilities that the answer to `request` may list.
fn listed(request: &Request, limits: &Limits) -> usize {
    let prompt = request.prompt.len();
    let room = limits.context_max.saturating_sub(prompt);
    let said = request.stops.max_tokens.map_or(room, |max| max.min(room));
    let of = |tokens: usize, alternatives: Option<u32>| {
        alternatives.map_or(0, |n| tokens.saturating_mul(1 + n as usize))
    };
    of(prompt, request.prompt_logprobs) + of(said, request.sampling.logprobs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_core::Sampling;
    use echo_runtime::Stops;

    fn request(logprobs: Option<u32>, echoed: Option<u32>, max_tokens: Option<usize>) -> Request {
        Request {
            sampling: Sampling { logprobs, ..Sampling::default() },
            stops: Stops { max_tokens, ..Stops::default() },
            prompt_logprobs: echoed,
            ..Request::new(vec![1; 20])
        }
    }

    #[test]
    fn what_may_be_listed_is_counted_and_given_back() {
        let limits = Limits::usual(1, 100);
        let counts = [
            (request(None, None, None), 0),
            (request(Some(0), None, None), 80),
            (request(Some(4), None, Some(10)), 50),
            (request(Some(4), Some(1), Some(1000)), 440),
        ];
        for (request, expected) in counts {
            assert_eq!(listed(&request, &limits), expected, "{request:?}");
        }
        let scores = Scores::new(100);
        let fifty = [request(Some(4), None, Some(10))];
        let first = scores.take(&fifty, &limits).expect("there is room");
        let second = scores.take(&fifty, &limits).expect("there is room");
        assert_eq!(scores.take(&fifty, &limits).expect_err("it is full").status.as_u16(), 429);
        assert!(scores.take(&[request(None, None, None)], &limits).is_ok());
        drop((first, second));
        let thrice = [fifty[0].clone(), fifty[0].clone(), fifty[0].clone()];
        assert_eq!(scores.take(&thrice, &limits).expect_err("too many").status.as_u16(), 400);
        assert!(scores.take(&thrice[..2], &limits).is_ok());
    }
}
