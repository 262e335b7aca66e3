//! The prefix cache: keys and values of committed tokens that later sequences may begin with.
//!
//! Blocks of [`BLOCK`] tokens hang in a tree; a block is found by its parent and its tokens,
//! compared in full. Only committed tokens get here, so what a sequence borrows has the bits it
//! would have computed (row purity). Blocks on which no live sequence stands are in a list, in the
//! order in which they were left, leaves before what they stand on; it is evicted from the front.

use crate::pool::{KvPool, Owner};
use echo_core::{Slot, Token};
use std::collections::HashMap;

/// Tokens in one block.
pub(crate) const BLOCK: usize = 16;

/// A block, or the root of the tree.
pub(crate) type BlockId = u32;

/// The parent of first blocks.
pub(crate) const ROOT: BlockId = u32::MAX;

type Key = (BlockId, [Token; BLOCK]);

#[derive(Clone, Debug)]
struct Block {
    key: Key,
    slots: [Slot; BLOCK],
    children: u32,
    /// Live sequences that stand on this block or on a descendant.
    holders: u32,
    /// Neighbours in the list of idle blocks, if it is one; [`ROOT`] at the ends.
    before: BlockId,
    after: BlockId,
}

/// Keys and values of committed prefixes.
#[derive(Debug)]
pub(crate) struct PrefixCache {
    blocks: Vec<Option<Block>>,
    vacant: Vec<BlockId>,
    index: HashMap<Key, BlockId>,
    n_held: usize,
    /// The ends of the list of idle blocks.
    first: BlockId,
    last: BlockId,
}

impl PrefixCache {
    pub(crate) fn new(slots: usize) -> Self {
        let blocks = slots / BLOCK;
        PrefixCache {
            blocks: vec![None; blocks],
            vacant: (0..blocks as BlockId).rev().collect(),
            index: HashMap::with_capacity(2 * blocks),
            n_held: 0,
            first: ROOT,
            last: ROOT,
        }
    }

    /// Slots that eviction could free.
    pub(crate) fn n_evictable(&self) -> usize {
        (self.index.len() - self.n_held) * BLOCK
    }

    /// Slots the cache owns.
    pub(crate) fn n_slots(&self) -> usize {
        self.index.len() * BLOCK
    }

    /// Whether there is room for another block; there always is, unless the cache is off.
    pub(crate) fn has_vacancy(&self) -> bool {
        !self.vacant.is_empty()
    }

    /// The block after `parent` that holds `tokens`, if there is one.
    pub(crate) fn find(&self, parent: BlockId, tokens: &[Token]) -> Option<BlockId> {
        let tokens: [Token; BLOCK] = tokens.try_into().ok()?;
        self.index.get(&(parent, tokens)).copied()
    }

    /// The slots of `block`.
    pub(crate) fn slots(&self, block: BlockId) -> &[Slot; BLOCK] {
        &self.block(block).slots
    }

    /// Takes over a block's slots. The caller has seen that [`find`](Self::find) does not know it,
    /// and holds `parent`. Every block has its own slots, so there is always a vacancy.
    pub(crate) fn insert(&mut self, parent: BlockId, tokens: &[Token], slots: &[Slot]) -> BlockId {
        let fixed = "a block has BLOCK tokens";
        let key = (parent, tokens.try_into().expect(fixed));
        let id = self.vacant.pop().expect("there are as many blocks as slots for them");
        if parent != ROOT {
            self.block_mut(parent).children += 1;
        }
        let slots = slots.try_into().expect(fixed);
        self.blocks[id as usize] =
            Some(Block { key, slots, children: 0, holders: 0, before: ROOT, after: ROOT });
        self.index.insert(key, id);
        self.list(id, ROOT, self.first);
        id
    }

    /// Moves a sequence's hold from one block to another ([`ROOT`] for none).
    pub(crate) fn hold(&mut self, from: BlockId, to: BlockId) {
        let mut at = to;
        while at != ROOT {
            let block = self.block_mut(at);
            block.holders += 1;
            let (parent, was_idle) = (block.key.0, block.holders == 1);
            if was_idle {
                self.n_held += 1;
                self.unlist(at);
            }
            at = parent;
        }
        at = from;
        while at != ROOT {
            let block = self.block_mut(at);
            block.holders -= 1;
            let (parent, is_idle) = (block.key.0, block.holders == 0);
            if is_idle {
                self.n_held -= 1;
                self.list(at, self.last, ROOT);
            }
            at = parent;
        }
    }

    /// Puts an idle block between two that are neighbours in the list.
    fn list(&mut self, id: BlockId, before: BlockId, after: BlockId) {
        let block = self.block_mut(id);
        (block.before, block.after) = (before, after);
        self.join(before, id);
        self.join(id, after);
    }

    /// Takes a block out of the list.
    fn unlist(&mut self, id: BlockId) {
        let Block { before, after, .. } = *self.block(id);
        self.join(before, after);
    }

    /// Makes two blocks neighbours, or one the end of the list.
    fn join(&mut self, before: BlockId, after: BlockId) {
        match before {
            ROOT => self.first = after,
            _ => self.block_mut(before).after = after,
        }
        match after {
            ROOT => self.last = before,
            _ => self.block_mut(after).before = before,
        }
    }

    /// Evicts until `pool` has `n` free slots; returns whether it has.
    pub(crate) fn make_room(&mut self, pool: &mut KvPool, n: usize) -> bool {
        while pool.n_free() < n {
            if self.first == ROOT {
                return false;
            }
            self.evict(self.first, pool);
        }
        true
    }

    /// Evicts `block` and what it stands on, up to what others stand on, too.
    pub(crate) fn evict_chain(&mut self, mut block: BlockId, pool: &mut KvPool) {
        while block != ROOT && self.block(block).holders == 0 && self.block(block).children == 0 {
            block = self.evict(block, pool);
        }
    }

    /// Evicts an idle leaf, and returns its parent.
    fn evict(&mut self, id: BlockId, pool: &mut KvPool) -> BlockId {
        self.unlist(id);
        let block = self.blocks[id as usize].take().expect("an idle block is there");
        assert_eq!(block.children, 0, "a leaf is listed before what it stands on");
        let parent = block.key.0;
        self.index.remove(&block.key);
        if parent != ROOT {
            self.block_mut(parent).children -= 1;
        }
        for slot in block.slots {
            pool.release(slot, Owner::Cache);
        }
        self.vacant.push(id);
        parent
    }

    fn block(&self, id: BlockId) -> &Block {
        self.blocks[id as usize].as_ref().expect("a held block stays")
    }

    fn block_mut(&mut self, id: BlockId) -> &mut Block {
        self.blocks[id as usize].as_mut().expect("a held block stays")
    }

    /// Panics unless slots, counts and holders agree. O(blocks).
    pub(crate) fn audit(&self, pool: &KvPool) {
        let mut held = 0;
        for (id, block) in self.blocks.iter().enumerate() {
            let Some(block) = block else { continue };
            assert_eq!(self.index.get(&block.key), Some(&(id as BlockId)), "block {id} is lost");
            assert!(block.slots.iter().all(|&slot| pool.owner(slot) == Owner::Cache));
            let is_child = |b: &&Block| b.key.0 == id as BlockId;
            let children = self.blocks.iter().flatten().filter(is_child).count();
            assert_eq!(block.children as usize, children, "children of block {id}");
            held += usize::from(block.holders > 0);
        }
        assert_eq!(held, self.n_held);
        let (mut idle, mut at) = (0, self.first);
        while at != ROOT {
            assert_eq!(self.block(at).holders, 0, "block {at} is listed and held");
            (idle, at) = (idle + 1, self.block(at).after);
        }
        assert_eq!(idle, self.index.len() - held, "idle blocks are listed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pool of four blocks' slots and a cache with a chain `a → b` and a lone block `c`.
    fn chain() -> (KvPool, PrefixCache, [BlockId; 3]) {
        let mut pool = KvPool::new(4 * BLOCK);
        let mut cache = PrefixCache::new(4 * BLOCK);
        let mut add = |parent, token| {
            let mut lease = pool.lease(BLOCK);
            let slots = lease.keep(0..BLOCK, 0).to_vec();
            drop(lease);
            for &slot in &slots {
                pool.publish(slot, 0);
            }
            cache.insert(parent, &[token; BLOCK], &slots)
        };
        let a = add(ROOT, 1);
        let b = add(a, 2);
        let c = add(ROOT, 3);
        (pool, cache, [a, b, c])
    }

    #[test]
    fn a_block_is_found_by_parent_and_tokens() {
        let (pool, cache, [a, b, c]) = chain();
        cache.audit(&pool);
        assert_eq!(cache.find(ROOT, &[1; BLOCK]), Some(a));
        assert_eq!(cache.find(a, &[2; BLOCK]), Some(b));
        assert_eq!(cache.find(c, &[2; BLOCK]), None);
        assert_eq!(cache.find(ROOT, &[1; 3]), None);
    }

    #[test]
    fn held_chains_stay_and_idle_leaves_go_first() {
        let (mut pool, mut cache, [a, b, c]) = chain();
        cache.hold(ROOT, b);
        assert_eq!(cache.n_evictable(), BLOCK);
        assert!(cache.make_room(&mut pool, 2 * BLOCK));
        assert_eq!(cache.find(ROOT, &[3; BLOCK]), None, "c {c} was idle");
        assert!(!cache.make_room(&mut pool, 3 * BLOCK), "a {a} and b {b} are held");
        cache.hold(b, ROOT);
        assert!(cache.make_room(&mut pool, 3 * BLOCK));
        assert!(cache.find(ROOT, &[1; BLOCK]).is_some(), "the leaf went before its parent");
        assert!(cache.make_room(&mut pool, 4 * BLOCK));
        cache.audit(&pool);
        pool.audit();
    }
}
