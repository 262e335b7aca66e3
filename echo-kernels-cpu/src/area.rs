//! Which columns of a row-major matrix an operand means, without where it lies.

use echo_core::port::Mat;

/// Columns `col..col + width` of a row-major matrix with `stride` columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Columns of the whole matrix.
    pub stride: usize,
    /// First column meant.
    pub col: usize,
    /// Number of columns meant.
    pub width: usize,
}

impl Area {
    /// A whole matrix of `width` columns.
    pub fn whole(width: usize) -> Self {
        Area { stride: width, col: 0, width }
    }

    /// Index of column `i` of the area in row `row`.
    pub fn at(&self, row: usize, i: usize) -> usize {
        row * self.stride + self.col + i
    }

    /// Elements a buffer must have to hold `rows` rows of the area; no buffer has `usize::MAX`.
    pub fn extent(&self, rows: usize) -> usize {
        match rows {
            0 => 0,
            _ => (rows - 1).saturating_mul(self.stride).saturating_add(self.end()),
        }
    }

    /// The column after the last one meant.
    fn end(&self) -> usize {
        self.col.saturating_add(self.width)
    }

    /// Whether no element of this area lies in `other`, row for row.
    pub fn is_apart_from(&self, other: &Area) -> bool {
        self.stride == other.stride && (self.end() <= other.col || other.end() <= self.col)
    }

    /// Panics unless the area lies inside a row and `rows` rows of it inside `len` elements.
    pub fn check(&self, rows: usize, len: usize, what: &str) {
        assert!(
            self.end() <= self.stride,
            "{what}: columns {}+{} of a row of {}",
            self.col,
            self.width,
            self.stride
        );
        assert!(
            self.extent(rows) <= len,
            "{what}: {rows} rows need {} elements, the buffer has {len}",
            self.extent(rows)
        );
    }
}

impl From<Mat> for Area {
    fn from(mat: Mat) -> Self {
        Area { stride: mat.stride, col: mat.col, width: mat.width }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wraps_around_is_refused() {
        let refused = |area: Area, rows| {
            let check = || area.check(rows, 8, "x");
            *std::panic::catch_unwind(check).expect_err("no").downcast::<String>().expect("words")
        };
        let far = Area { stride: 1, col: usize::MAX, width: 1 };
        assert!(refused(far, 1).starts_with("x: columns"));
        let wide = Area { stride: 1 << 63, col: 0, width: 1 };
        assert!(refused(wide, 3).starts_with("x: 3 rows need"));
    }

    #[test]
    fn the_last_row_needs_no_more_than_its_columns() {
        let area = Area { stride: 10, col: 2, width: 3 };
        assert_eq!((area.extent(0), area.extent(1), area.extent(3)), (0, 5, 25));
        assert_eq!(area.at(2, 1), 23);
    }

    #[test]
    fn areas_are_apart_only_in_the_same_matrix() {
        let area = |stride, col, width| Area { stride, col, width };
        assert!(area(10, 0, 4).is_apart_from(&area(10, 4, 2)));
        assert!(area(10, 4, 2).is_apart_from(&area(10, 0, 4)));
        assert!(!area(10, 0, 5).is_apart_from(&area(10, 4, 2)));
        assert!(!area(10, 0, 4).is_apart_from(&area(12, 4, 2)));
    }
}
