//! Times by rows, between the numbers of rows at which they were measured.

/// What happens between two measured row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// Rows are padded to the next measured count, whose time they take: devices that replay
    /// captured graphs. The measured counts are the edges of the buckets.
    Step,
    /// Time grows evenly: CPUs, and devices that launch what they are given.
    Linear,
}

/// Times by ascending rows; never falling.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Curve {
    points: Vec<(usize, f64)>,
}

impl Curve {
    /// The least times by rows, and none above that of more rows.
    pub(crate) fn fit(mut samples: Vec<(usize, f64)>) -> Self {
        samples.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        samples.dedup_by_key(|sample| sample.0);
        let mut least = f64::INFINITY;
        for (_, us) in samples.iter_mut().rev() {
            least = least.min(*us);
            *us = least;
        }
        Curve { points: samples }
    }

    /// Its lower convex hull: those points from one to the next of which the slope never falls, and
    /// below which there is none.
    pub(crate) fn convex(&self) -> Self {
        let slope = |a: (usize, f64), b: (usize, f64)| (b.1 - a.1) / (b.0 - a.0) as f64;
        let mut points: Vec<(usize, f64)> = Vec::with_capacity(self.points.len());
        for &next in &self.points {
            while let [.., before, last] = points[..]
                && slope(before, last) > slope(last, next)
            {
                points.pop();
            }
            points.push(next);
        }
        Curve { points }
    }

    /// The same with points at `edges` and nowhere else.
    pub(crate) fn on(&self, edges: &[usize], between: Between) -> Self {
        Curve { points: edges.iter().map(|&rows| (rows, self.at(rows, between))).collect() }
    }

    /// Microseconds at its point number `i`.
    pub(crate) fn us(&self, i: usize) -> f64 {
        self.points[i].1
    }

    /// Microseconds of `rows` rows.
    pub(crate) fn at(&self, rows: usize, between: Between) -> f64 {
        let points = &self.points;
        let right = points.partition_point(|&(r, _)| r < rows);
        join(points.len(), |i| points[i], right, rows, between)
    }
}

/// Microseconds of `rows` rows by `n` points of ascending rows, the first of which that does not
/// lie below `rows` is number `right`.
///
/// Beyond the last point an even curve keeps its last slope and a staircase its mean slope; a
/// single point grows in proportion.
pub(crate) fn join(
    n: usize,
    point: impl Fn(usize) -> (usize, f64),
    right: usize,
    rows: usize,
    between: Between,
) -> f64 {
    if right == 0 {
        return point(0).1;
    }
    let (r0, us0) = point(right - 1);
    if right < n {
        let (r1, us1) = point(right);
        return match between {
            Between::Step => us1,
            Between::Linear => us0 + (rows - r0) as f64 / (r1 - r0) as f64 * (us1 - us0),
        };
    }
    let from = match between {
        Between::Linear => n.checked_sub(2),
        Between::Step => (n > 1).then_some(0),
    };
    let slope = from.map_or(us0 / r0 as f64, |i| {
        let (r, us) = point(i);
        (us0 - us) / (r0 - r) as f64
    });
    us0 + (rows - r0) as f64 * slope
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(usize, f64)]) -> Curve {
        Curve::fit(points.to_vec())
    }

    #[test]
    fn rows_are_joined_by_steps_or_lines() {
        let curve = curve(&[(8, 100.0), (16, 120.0), (32, 200.0)]);
        let at = |rows| (curve.at(rows, Between::Step), curve.at(rows, Between::Linear));
        assert_eq!(at(1), (100.0, 100.0));
        assert_eq!(at(8), (100.0, 100.0));
        assert_eq!(at(12), (120.0, 110.0));
        assert_eq!(at(17), (200.0, 125.0));
        assert_eq!(at(32), (200.0, 200.0));
        assert_eq!(at(56), (300.0, 320.0));
    }

    #[test]
    fn the_least_counts_and_no_rows_take_longer_than_more() {
        let times = [(1, 10.0), (1, 900.0), (1, 12.0), (2, 30.0), (3, 20.0), (3, 21.0), (4, 400.0)];
        assert_eq!(curve(&times).points, [(1, 10.0), (2, 20.0), (3, 20.0), (4, 400.0)]);
    }

    #[test]
    fn what_lies_above_an_even_curve_was_disturbed() {
        // From 8 to 24 rows 6 us each; 16 rows were timed in a bad moment, and 12 in a worse one.
        let times = [(1, 50.0), (4, 52.0), (8, 64.0), (12, 130.0), (16, 140.0), (24, 160.0)];
        let curve = curve(&times).convex();
        let at = |rows| curve.at(rows, Between::Linear);
        assert_eq!([8, 12, 16, 24].map(at), [64.0, 88.0, 112.0, 160.0]);
        assert_eq!(at(4), 52.0);
        // Beyond the last point its slope goes on.
        assert_eq!(at(28), 184.0);
    }
}
