//! Arrays that begin on a line of the cache, so that no vector of theirs lies in two.

use bytemuck::{AnyBitPattern, NoUninit, Pod};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// Bytes of a line.
pub(crate) const LINE: usize = 64;

/// The bytes of one line.
#[derive(Clone, Copy, Debug, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; LINE]);

/// `len` numbers from the start of a line on.
#[derive(Debug)]
pub(crate) struct Aligned<T> {
    lines: Vec<Line>,
    len: usize,
    numbers: PhantomData<T>,
}

impl<T: Pod> Aligned<T> {
    /// Zeros, which cost memory only where they are touched; `None` if there is none to be had.
    pub(crate) fn zeros(len: usize) -> Option<Self> {
        let lines = len.checked_mul(size_of::<T>())?.div_ceil(LINE);
        let lines = bytemuck::allocation::try_zeroed_vec(lines).ok()?;
        Some(Aligned { lines, len, numbers: PhantomData })
    }
}

impl<T: AnyBitPattern> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl<T: AnyBitPattern + NoUninit> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}
