//! Templates and tokenizers take their time: they run on threads of their own, a few at once.

use crate::error::ApiError;
use axum::http::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Bodies that are turned into tokens at once, each on a blocking thread of the runtime.
pub const PARSERS: usize = 8;

/// Who may turn a body into tokens.
#[derive(Debug)]
pub(crate) struct Parsers {
    free: Arc<Semaphore>,
    deadline: Duration,
}

impl Parsers {
    /// `deadline` is how long a body waits for its turn.
    pub(crate) fn new(deadline: Duration) -> Self {
        Parsers { free: Arc::new(Semaphore::new(PARSERS)), deadline }
    }

    /// Runs `work` when its turn has come. A client that leaves before takes its body along; work
    /// that panics fails alone.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = Arc::clone(&self.free).acquire_owned();
        let Ok(Ok(turn)) = timeout(self.deadline, turn).await else {
            let limit = self.deadline.as_secs_f32();
            let message = format!("no prompt could be read within {limit} s; try again later");
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message));
        };
        let working = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        let broken = |_| ApiError::internal("the prompt could not be turned into tokens");
        working.await.map_err(broken)?
    }
}
