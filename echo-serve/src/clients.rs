//! What each client has open, so that none takes all places and all of the queue.

use crate::error::ApiError;
use axum::http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A client: the place of its key among the keys; 0 where there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientId(pub(crate) usize);

/// The open answers of all clients.
#[derive(Debug)]
pub(crate) struct Clients {
    open: Vec<Arc<AtomicUsize>>,
    /// Answers that one client may have open.
    share: usize,
}

impl Clients {
    /// For `n` clients that share `places`, those in the queue included.
    pub(crate) fn new(n: usize, places: usize) -> Self {
        let n = n.max(1);
        let open = (0..n).map(|_| Arc::default()).collect();
        Clients { open, share: places.div_ceil(n) }
    }

    /// Answers that one client may have open.
    pub(crate) fn share(&self) -> usize {
        self.share
    }

    /// Takes `n` places of the client's share, or says that it is used up.
    pub(crate) fn take(&self, client: ClientId, n: usize) -> Result<Places, ApiError> {
        let open = Arc::clone(&self.open[client.0]);
        let places = Places { open, n };
        let before = places.open.fetch_add(n, Ordering::AcqRel);
        if before + n > self.share {
            let share = self.share;
            let message = format!(
                "{before} answers are on their way and {n} more asked for, {share} may be at once; \
                 try again later"
            );
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, message));
        }
        Ok(places)
    }

    /// Answers on their way, of all clients.
    pub(crate) fn n_open(&self) -> usize {
        self.open.iter().map(|open| open.load(Ordering::Acquire)).sum()
    }
}

/// Places of a client's share, given back when dropped.
#[derive(Debug)]
pub(crate) struct Places {
    open: Arc<AtomicUsize>,
    n: usize,
}

impl Drop for Places {
    fn drop(&mut self) {
        self.open.fetch_sub(self.n, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_share_and_no_more() {
        let clients = Clients::new(2, 7);
        let (one, other) = (ClientId(0), ClientId(1));
        let first = clients.take(one, 3).expect("there is room");
        assert_eq!(clients.take(one, 2).expect_err("4 is the share").status.as_u16(), 429);
        let second = clients.take(one, 1).expect("a refusal takes nothing");
        assert!(clients.take(one, 1).is_err());
        assert!(clients.take(other, 4).is_ok());
        drop(first);
        assert!(clients.take(one, 3).is_ok());
        drop(second);
        assert_eq!(clients.n_open(), 0);
    }
}
