//! KV slots: who owns each, and the lease under which a step borrows them.

use echo_core::Slot;
use std::ops::Range;

/// Who holds a slot. Every slot has exactly one owner at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody.
    Free,
    /// The running step.
    Lease,
    /// The sequence at this place of the batch.
    Seq(u32),
    /// The prefix cache.
    Cache,
}

/// The slots of the target's keys and values.
#[derive(Debug)]
pub(crate) struct KvPool {
    owner: Vec<Owner>,
    free: Vec<Slot>,
    leased: Vec<Slot>,
}

impl KvPool {
    pub(crate) fn new(slots: usize) -> Self {
        // Popped from the end, so that low slots are used first.
        let free = (0..slots as Slot).rev().collect();
        KvPool { owner: vec![Owner::Free; slots], free, leased: Vec::with_capacity(slots) }
    }

    /// Slots nobody holds.
    pub(crate) fn n_free(&self) -> usize {
        self.free.len()
    }

    /// Slots in all.
    pub(crate) fn n_slots(&self) -> usize {
        self.owner.len()
    }

    /// Who holds `slot`.
    pub(crate) fn owner(&self, slot: Slot) -> Owner {
        self.owner[slot as usize]
    }

    /// Lends `n` slots for one step. The caller has seen that so many are free.
    pub(crate) fn lease(&mut self, n: usize) -> Lease<'_> {
        assert!(n <= self.free.len(), "a lease of {n} slots, {} are free", self.free.len());
        assert!(self.leased.is_empty(), "a lease is out already");
        self.leased.extend(self.free.drain(self.free.len() - n..).rev());
        for &slot in &self.leased {
            self.owner[slot as usize] = Owner::Lease;
        }
        Lease { pool: self }
    }

    /// Takes `slot` from `from` and gives it to the prefix cache.
    pub(crate) fn publish(&mut self, slot: Slot, from: u32) {
        self.change(slot, Owner::Seq(from), Owner::Cache);
    }

    /// Takes `slot` from `owner`; nobody holds it then.
    pub(crate) fn release(&mut self, slot: Slot, owner: Owner) {
        self.change(slot, owner, Owner::Free);
        self.free.push(slot);
    }

    fn change(&mut self, slot: Slot, from: Owner, to: Owner) {
        let owner = &mut self.owner[slot as usize];
        assert_eq!(*owner, from, "slot {slot} changes hands to {to:?}");
        *owner = to;
    }

    /// Panics unless every slot has one owner and the free list is exactly the free slots.
    /// O(slots).
    pub(crate) fn audit(&self) {
        let mut listed = vec![false; self.owner.len()];
        for &slot in &self.free {
            assert!(
                !std::mem::replace(&mut listed[slot as usize], true),
                "slot {slot} is free twice"
            );
        }
        for (slot, &owner) in self.owner.iter().enumerate() {
            assert_eq!(owner == Owner::Free, listed[slot], "slot {slot} is held by {owner:?}");
            assert_ne!(owner, Owner::Lease, "slot {slot} outlived its lease");
        }
    }
}

/// Slots lent to one step. What is not kept when it is dropped returns to the pool, so no error
/// path gives anything back by hand.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    pool: &'a mut KvPool,
}

impl Lease<'_> {
    /// The lent slots.
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.pool.leased
    }

    /// Gives the lent slots `rows` to the sequence at place `seq`.
    pub(crate) fn keep(&mut self, rows: Range<usize>, seq: u32) -> &[Slot] {
        for row in rows.clone() {
            self.pool.change(self.pool.leased[row], Owner::Lease, Owner::Seq(seq));
        }
        &self.pool.leased[rows]
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        while let Some(slot) = self.pool.leased.pop() {
            if self.pool.owner[slot as usize] == Owner::Lease {
                self.pool.release(slot, Owner::Lease);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lease_leaves_no_trace() {
        let mut pool = KvPool::new(8);
        drop(pool.lease(5));
        pool.audit();
        assert_eq!(pool.n_free(), 8);
    }

    #[test]
    fn kept_slots_change_hands_and_the_rest_returns() {
        let mut pool = KvPool::new(8);
        let mut lease = pool.lease(4);
        assert_eq!(lease.slots(), [0, 1, 2, 3]);
        assert_eq!(lease.keep(1..3, 5), [1, 2]);
        drop(lease);
        pool.audit();
        assert_eq!((pool.n_free(), pool.owner(1), pool.owner(3)), (6, Owner::Seq(5), Owner::Free));
        pool.publish(1, 5);
        pool.release(1, Owner::Cache);
        pool.release(2, Owner::Seq(5));
        pool.audit();
        assert_eq!(pool.n_free(), 8);
    }

    #[test]
    fn the_audit_sees_a_slot_that_was_not_freed() {
        let mut pool = KvPool::new(4);
        let _kept = pool.lease(2).keep(0..1, 0);
        pool.owner[0] = Owner::Free;
        assert!(std::panic::catch_unwind(|| pool.audit()).is_err());
    }
}
