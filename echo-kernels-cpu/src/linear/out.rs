//! An output matrix that several threads fill, each its own columns.

use super::stream::claim;
use std::marker::PhantomData;

/// A row-major matrix open for writing from several threads at once.
pub(super) struct Out<'a> {
    data: *mut f32,
    len: usize,
    stride: usize,
    owner: PhantomData<&'a mut [f32]>,
}

// SAFETY: `write` is the only access, and its callers keep two threads from one place.
unsafe impl Sync for Out<'_> {}

impl<'a> Out<'a> {
    pub(super) fn new(data: &'a mut [f32], stride: usize) -> Self {
        Out { data: data.as_mut_ptr(), len: data.len(), stride, owner: PhantomData }
    }

    /// Asks for the lines of a place that will be written: another core may hold them.
    pub(super) fn claim(&self, row: usize, col: usize, width: usize) {
        claim(self.data.wrapping_add(row * self.stride + col), width);
    }

    /// Writes `values` to `row` from `col` on; panics beyond the matrix.
    ///
    /// # Safety
    ///
    /// While one thread writes a place, no other may name it.
    pub(super) unsafe fn write(&self, row: usize, col: usize, values: &[f32]) {
        let at = row * self.stride + col;
        assert!(at + values.len() <= self.len, "a write beyond the output");
        // SAFETY: the place lies within the borrowed slice by the assertion, `values` lies
        // elsewhere (the slice is borrowed mutably as long as `self` lives), and the caller keeps
        // other threads away from it.
        unsafe { self.data.add(at).copy_from_nonoverlapping(values.as_ptr(), values.len()) };
    }
}
