//! The fast form of [`add`](crate::reference::add()): one rounding per element, so any order will
//! do.

use super::Fast;
use super::rows::Rows;
use crate::area::Area;

impl Fast {
    pub(crate) fn add(
        &self,
        rows: usize,
        x: &[f32],
        x_area: Area,
        into: &mut [f32],
        into_area: Area,
    ) {
        assert_eq!(x_area.width, into_area.width, "add: widths differ");
        let into = Rows::new(into, into_area, rows);
        self.each_row(rows, x_area.width, &|row| {
            // SAFETY: each row is worked on once.
            let into = unsafe { into.row_mut(row) };
            let x = &x[x_area.at(row, 0)..][..x_area.width];
            for (into, x) in into.iter_mut().zip(x) {
                *into += x;
            }
        });
    }
}
