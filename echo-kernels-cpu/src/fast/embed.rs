//! The fast form of [`embed`](crate::reference::embed()): unpacks the rows it needs.

use super::Fast;
use super::rows::Rows;
use crate::area::Area;
use crate::linear::PackedWeight;
use echo_core::Token;

impl Fast {
    pub(crate) fn embed(
        &self,
        token: &[Token],
        table: &PackedWeight,
        out: &mut [f32],
        out_area: Area,
    ) {
        assert_eq!(table.cols(), out_area.width, "embed: columns of the table");
        let out = Rows::new(out, out_area, token.len());
        self.each_row(token.len(), out_area.width, &|row| {
            // SAFETY: each row is worked on once.
            let out = unsafe { out.row_mut(row) };
            table.dequantize_row(token[row] as usize, out);
        });
    }
}
