//! All KV slots together: the pool and the prefix cache.

use crate::pool::{KvPool, Lease};
use crate::prefix::PrefixCache;

/// How the KV slots are used, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvUse {
    /// Slots in all.
    pub slots: usize,
    /// Slots that live sequences need.
    pub held: usize,
    /// Slots that only the prefix cache keeps, to be given up when wanted.
    pub idle: usize,
}

/// All KV slots: those in use and free ones in the pool, published ones in the prefix cache.
#[derive(Debug)]
pub(crate) struct Kv {
    pub(crate) pool: KvPool,
    pub(crate) cache: PrefixCache,
}

impl Kv {
    /// `slots` free slots. Without `prefix_cache` nothing is ever published.
    pub(crate) fn new(slots: usize, prefix_cache: bool) -> Self {
        let cached_max = if prefix_cache { slots } else { 0 };
        Kv { pool: KvPool::new(slots), cache: PrefixCache::new(cached_max) }
    }

    /// Slots that can be had: free ones and those the prefix cache can give up.
    pub(crate) fn n_available(&self) -> usize {
        self.pool.n_free() + self.cache.n_evictable()
    }

    /// How the slots are used.
    pub(crate) fn usage(&self) -> KvUse {
        let (slots, idle) = (self.pool.n_slots(), self.cache.n_evictable());
        KvUse { slots, held: slots - self.pool.n_free() - idle, idle }
    }

    /// Lends `n` slots for one step, evicting what must go. The caller has seen that so many are
    /// available.
    pub(crate) fn lease(&mut self, n: usize) -> Lease<'_> {
        let has_room = self.cache.make_room(&mut self.pool, n);
        assert!(has_room, "a lease of {n} slots, {} are available", self.n_available());
        self.pool.lease(n)
    }
}
