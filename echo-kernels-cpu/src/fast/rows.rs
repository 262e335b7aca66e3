//! A matrix whose rows several threads write, each its own.

use crate::area::Area;
use std::marker::PhantomData;

/// Rows of an area of a buffer that is borrowed for writing.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T = f32> {
    base: *mut T,
    area: Area,
    n: usize,
    buffer: PhantomData<&'a mut [T]>,
}

// SAFETY: `Rows` only hands out rows through unsafe functions whose callers promise that no two
// threads use the same one.
unsafe impl<T: Send> Send for Rows<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Rows<'_, T> {}

impl<'a, T> Rows<'a, T> {
    /// The first `n` rows of `area` in `buffer`. Panics if they do not fit.
    pub(super) fn new(buffer: &'a mut [T], area: Area, n: usize) -> Self {
        area.check(n, buffer.len(), "rows");
        Rows { base: buffer.as_mut_ptr(), area, n, buffer: PhantomData }
    }

    /// The first `n` rows of two areas of one buffer, equal or apart. Panics if they do not fit.
    pub(super) fn two_of(buffer: &'a mut [T], areas: [Area; 2], n: usize) -> [Self; 2] {
        for area in areas {
            area.check(n, buffer.len(), "rows");
        }
        let base = buffer.as_mut_ptr();
        areas.map(|area| Rows { base, area, n, buffer: PhantomData })
    }

    /// Where row `row` begins: `area.width` elements.
    pub(super) fn pointer(&self, row: usize) -> *mut T {
        assert!(row < self.n, "row {row} of {}", self.n);
        // SAFETY: `new` has checked that the row lies inside the buffer.
        unsafe { self.base.add(self.area.at(row, 0)) }
    }

    /// Row `row`.
    ///
    /// # Safety
    ///
    /// Nobody else uses the row while the result lives.
    #[allow(clippy::mut_from_ref, reason = "the caller promises that rows are not shared")]
    pub(super) unsafe fn row_mut(&self, row: usize) -> &mut [T] {
        // SAFETY: `new` has checked the range, the caller promises that nobody else uses it.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(row), self.area.width) }
    }

    /// Columns `col..col + width` of row `row`, counted from the area's first.
    ///
    /// # Safety
    ///
    /// Nobody else uses them while the result lives.
    #[allow(clippy::mut_from_ref, reason = "the caller promises that columns are not shared")]
    pub(super) unsafe fn columns_mut(&self, row: usize, col: usize, width: usize) -> &mut [T] {
        assert!(col.saturating_add(width) <= self.area.width, "columns leave the area");
        // SAFETY: the columns lie in the row, the caller promises that nobody else uses them.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(row).add(col), width) }
    }
}
