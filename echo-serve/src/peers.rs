//! Connections by the machine they come from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections; clones share the count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Peers {
    /// Counts one more connection from `peer`, unless it has `max`. One's own machine may have any
    /// number: proxies run there.
    pub(crate) fn enter(&self, peer: IpAddr, max: usize) -> Option<Visit> {
        if !peer.is_loopback() {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(peer).or_default();
            if *count >= max {
                return None;
            }
            *count += 1;
        }
        Some(Visit { peers: self.clone(), peer })
    }
}

/// A counted connection.
#[derive(Debug)]
pub(crate) struct Visit {
    peers: Peers,
    peer: IpAddr,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut counts = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_its_connections_and_no_more() {
        let peers = Peers::default();
        let (one, other, own) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), [127, 0, 0, 1].into());
        let visits: Vec<_> = (0..2).map(|_| peers.enter(one, 2)).collect();
        assert!(visits.iter().all(Option::is_some));
        assert!(peers.enter(one, 2).is_none());
        assert!(peers.enter(other, 2).is_some());
        assert!((0..9).map(|_| peers.enter(own, 2)).all(|visit| visit.is_some()));
        drop(visits);
        assert!(peers.enter(one, 2).is_some());
        assert!(peers.0.lock().expect("no panic").is_empty());
    }
}
