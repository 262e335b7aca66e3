//! The fast form of [`gather_rows`](crate::reference::gather_rows()): whole rows at a time.

use super::Fast;
use super::rows::Rows;
use crate::area::Area;

impl Fast {
    pub(crate) fn gather_rows(
        &self,
        rows: usize,
        index: &[u32],
        x: &[f32],
        x_area: Area,
        out: &mut [f32],
        out_area: Area,
    ) {
        assert_eq!(x_area.width, out_area.width, "gather_rows: widths differ");
        let index = &index[..rows];
        let out = Rows::new(out, out_area, rows);
        self.each_row(rows, x_area.width, &|row| {
            // SAFETY: each row is worked on once.
            let out = unsafe { out.row_mut(row) };
            out.copy_from_slice(&x[x_area.at(index[row] as usize, 0)..][..x_area.width]);
        });
    }
}
