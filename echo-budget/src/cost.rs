//! What a forward costs, as measured on the shapes the engine really runs.
//!
//! One curve per measured KV length gives the time of a target forward by its rows. Between two KV
//! lengths the time of a measured row count is linear (attention reads each cached token once).
//! Between two measured row counts it depends on the machine: see [`Between`]. Beyond the largest
//! the curve is continued upwards, since nobody promises more rows for free, and so it is beyond
//! the longest. At no length do rows take longer than more rows do.
//!
//! Policies live on differences: what a few rows more cost. Times a few percent off make those of
//! neighbours look free, or twice as dear; [`CostTable::convex`] evens them out.

use crate::curve::{Between, Curve, join};

/// How much dearer than measured is counted what a draft buys on top of plain decoding. Times and
/// chances are estimates, and of many near ties those seem to pay that were estimated too well.
pub(crate) const MARGIN: f64 = 1.25;

/// One timed forward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Rows of the forward, at least 1.
    pub rows: usize,
    /// Mean number of cached tokens of its sequences.
    pub kv_len: usize,
    /// Microseconds it took.
    pub us: f64,
}

/// The fallback of ECHO eq. 2, where nothing was measured: `T_ar · (1 + γ · [K − K_max]⁺)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hinge {
    /// `T_ar`: microseconds of a forward up to the knee.
    pub ar_us: f64,
    /// `γ`: growth per row beyond the knee, as a share of `ar_us`; at least 0.
    pub gamma: f64,
    /// `K_max`: rows up to which the forward is bound by reading weights; at least 1.
    pub rows_knee: usize,
}

/// Times of the step's parts. See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct CostTable {
    /// By ascending KV length; each has its points at the edges.
    verify: Vec<(usize, Curve)>,
    /// Microseconds per cached token beyond the longest length, by edge; never falling.
    growth: Vec<f64>,
    draft: Option<Curve>,
    host_us: f64,
    between: Between,
    edges: Vec<usize>,
}

/// Measurements that make no cost table.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum CostError {
    /// Nothing was measured.
    #[error("no sample of a target forward; measure some or use CostTable::hinge")]
    Empty,
    /// A time that no clock shows.
    #[error("{us} us for {rows} rows is no time; it must be finite and above 0")]
    Time {
        /// Rows of the sample.
        rows: usize,
        /// Its time.
        us: f64,
    },
    /// A forward without rows.
    #[error("a sample has 0 rows; a forward has at least 1")]
    NoRows,
    /// A host time or a growth below 0, or not finite.
    #[error("{what} is {value}; it must be finite and at least 0")]
    Negative {
        /// The quantity.
        what: &'static str,
        /// Its value.
        value: f64,
    },
}

impl CostTable {
    /// A table of timed target forwards, timed draft passes (their `kv_len` plays no part; none at
    /// all makes drafting free) and the host's time per step.
    ///
    /// Whatever disturbs a measurement only adds to it, so of repeated samples the least counts,
    /// and rows are believed to take no longer than more rows do.
    pub fn from_samples(
        verify: &[Sample],
        draft: &[Sample],
        host_us: f64,
        between: Between,
    ) -> Result<Self, CostError> {
        if verify.is_empty() {
            return Err(CostError::Empty);
        }
        if !(host_us.is_finite() && host_us >= 0.0) {
            return Err(CostError::Negative { what: "host time", value: host_us });
        }
        for &Sample { rows, us, .. } in verify.iter().chain(draft) {
            if rows == 0 {
                return Err(CostError::NoRows);
            }
            if !(us.is_finite() && us > 0.0) {
                return Err(CostError::Time { rows, us });
            }
        }
        let sorted = |mut list: Vec<usize>| {
            list.sort_unstable();
            list.dedup();
            list
        };
        let edges = sorted(verify.iter().map(|s| s.rows).collect());
        let curve_at = |kv_len| {
            let at = |s: &&Sample| s.kv_len == kv_len;
            let fit = Curve::fit(verify.iter().filter(at).map(|s| (s.rows, s.us)).collect());
            (kv_len, fit.on(&edges, between))
        };
        let kv_lens = sorted(verify.iter().map(|s| s.kv_len).collect());
        let verify: Vec<_> = kv_lens.into_iter().map(curve_at).collect();
        let draft = draft.iter().map(|s| (s.rows, s.us)).collect::<Vec<_>>();
        let draft = (!draft.is_empty()).then(|| Curve::fit(draft));
        let growth = growth(&verify, edges.len());
        Ok(CostTable { verify, growth, draft, host_us, between, edges })
    }

    /// The same where a further row costs no less than the one before: a forward of a dense model
    /// waits for weights first, then for arithmetic, and times above their lower convex hull were
    /// disturbed. A staircase stays as it is.
    #[must_use]
    pub fn convex(mut self) -> Self {
        if self.between == Between::Linear {
            for (_, curve) in &mut self.verify {
                *curve = curve.convex().on(&self.edges, self.between);
            }
            self.growth = growth(&self.verify, self.edges.len());
            self.draft = self.draft.map(|curve| curve.convex());
        }
        self
    }

    /// The hinge of the ECHO paper as a table of three points.
    pub fn hinge(hinge: Hinge) -> Result<Self, CostError> {
        let Hinge { ar_us, gamma, rows_knee } = hinge;
        if !(gamma.is_finite() && gamma >= 0.0) {
            return Err(CostError::Negative { what: "gamma", value: gamma });
        }
        let sample = |rows, us| Sample { rows, kv_len: 0, us };
        let points =
            [sample(rows_knee, ar_us), sample(rows_knee.saturating_add(1), ar_us * (1.0 + gamma))];
        CostTable::from_samples(&points, &[], 0.0, Between::Linear)
    }

    /// Microseconds of a target forward of `rows` rows whose sequences hold `kv_len` cached tokens
    /// on average.
    pub fn verify_us(&self, rows: usize, kv_len: usize) -> f64 {
        let edges = &self.edges;
        let point = |i: usize| (edges[i], self.edge_us(i, kv_len));
        let right = edges.partition_point(|&edge| edge < rows);
        join(edges.len(), point, right, rows, self.between)
    }

    /// The same of the row count that is edge number `i`.
    fn edge_us(&self, i: usize, kv_len: usize) -> f64 {
        let at = |curve: usize| self.verify[curve].1.us(i);
        let right = self.verify.partition_point(|&(kv, _)| kv < kv_len);
        if right == 0 || self.verify.len() == 1 {
            return at(0);
        }
        let (kv0, us0) = (self.verify[right - 1].0, at(right - 1));
        let Some(&(kv1, _)) = self.verify.get(right) else {
            return us0 + (kv_len - kv0) as f64 * self.growth[i];
        };
        us0 + (kv_len - kv0) as f64 / (kv1 - kv0) as f64 * (at(right) - us0)
    }

    /// Rows that a forward of `rows` rows takes the time of: on a staircase, those of its edge.
    pub fn timed_rows(&self, rows: usize) -> usize {
        let edge = || self.edges.iter().find(|&&edge| edge >= rows).copied();
        match self.between {
            Between::Step => edge().unwrap_or(rows),
            Between::Linear => rows,
        }
    }

    /// Microseconds of one draft pass over `rows` rows; 0 if none was timed.
    pub fn draft_us(&self, rows: usize) -> f64 {
        self.draft.as_ref().map_or(0.0, |curve| curve.at(rows, self.between))
    }

    /// Microseconds of the host per step, outside the forwards.
    pub fn host_us(&self) -> f64 {
        self.host_us
    }

    /// How the times between two measured row counts come about.
    pub fn between(&self) -> Between {
        self.between
    }

    /// Row counts at which a target forward was timed, ascending.
    pub fn edges(&self) -> &[usize] {
        &self.edges
    }
}

/// What a cached token more takes at each of `edges` row counts, by the two longest lengths. More
/// rows read no fewer of them, whatever was measured.
fn growth(verify: &[(usize, Curve)], edges: usize) -> Vec<f64> {
    let [.., (kv0, short), (kv1, long)] = verify else {
        return vec![0.0; edges];
    };
    let mut most = 0.0_f64;
    let at = |i| {
        most = most.max((long.us(i) - short.us(i)) / (kv1 - kv0) as f64);
        most
    };
    (0..edges).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rows: usize, kv_len: usize, us: f64) -> Sample {
        Sample { rows, kv_len, us }
    }

    fn table(samples: &[Sample], between: Between) -> CostTable {
        CostTable::from_samples(samples, &[sample(1, 0, 5.0)], 7.0, between).unwrap()
    }

    #[test]
    fn a_table_knows_its_edges_and_the_other_parts_of_a_step() {
        let samples = [sample(8, 0, 100.0), sample(16, 0, 120.0), sample(32, 0, 200.0)];
        let [step, linear] = [Between::Step, Between::Linear].map(|b| table(&samples, b));
        assert_eq!((step.verify_us(12, 0), linear.verify_us(12, 0)), (120.0, 110.0));
        assert_eq!(step.edges(), [8, 16, 32]);
        assert_eq!([9, 16, 33].map(|rows| step.timed_rows(rows)), [16, 16, 33]);
        assert_eq!(linear.timed_rows(9), 9);
        assert_eq!((step.draft_us(3), step.host_us()), (15.0, 7.0));
    }

    #[test]
    fn even_times_are_made_convex_and_stairs_are_not() {
        let samples = [sample(8, 0, 64.0), sample(16, 0, 140.0), sample(24, 0, 160.0)];
        let at_16 = |between| table(&samples, between).convex().verify_us(16, 0);
        assert_eq!((at_16(Between::Linear), at_16(Between::Step)), (112.0, 140.0));
    }

    #[test]
    fn kv_length_is_interpolated_and_continued() {
        let samples = [
            sample(1, 100, 10.0),
            sample(1, 300, 20.0),
            sample(9, 100, 10.0),
            sample(9, 300, 40.0),
        ];
        let table = table(&samples, Between::Linear);
        assert_eq!(table.verify_us(1, 0), 10.0);
        assert_eq!(table.verify_us(1, 200), 15.0);
        assert_eq!(table.verify_us(9, 200), 25.0);
        assert_eq!(table.verify_us(1, 500), 30.0);
    }

    /// Solvers look for a peak between two measured row counts, where the time must be even.
    #[test]
    fn curves_that_cross_bend_nowhere_between_edges() {
        let samples = [
            sample(8, 0, 160.0),
            sample(12, 0, 600.0),
            sample(8, 200, 400.0),
            sample(12, 200, 400.0),
        ];
        let table = table(&samples, Between::Linear);
        let at = |kv_len| [8, 9, 10, 11, 12].map(|rows| table.verify_us(rows, kv_len));
        assert_eq!(at(100), [280.0, 335.0, 390.0, 445.0, 500.0]);
        // Nor does the longer length, which took fewer rows no less than more, make rows a gain.
        assert_eq!(at(300), [520.0; 5]);
    }

    #[test]
    fn the_hinge_bends_at_its_knee() {
        let hinge = Hinge { ar_us: 100.0, gamma: 0.5, rows_knee: 4 };
        let table = CostTable::hinge(hinge).unwrap();
        let times = [1, 4, 5, 8].map(|rows| table.verify_us(rows, 9));
        assert_eq!(times, [100.0, 100.0, 150.0, 300.0]);
        assert!(CostTable::hinge(Hinge { gamma: -1.0, ..hinge }).is_err());
        assert!(CostTable::hinge(Hinge { rows_knee: 0, ..hinge }).is_err());
    }

    #[test]
    fn what_is_no_measurement_is_refused() {
        let fault = |s: &[Sample], host| CostTable::from_samples(s, &[], host, Between::Step).err();
        assert_eq!(fault(&[], 0.0), Some(CostError::Empty));
        assert_eq!(fault(&[sample(0, 0, 1.0)], 0.0), Some(CostError::NoRows));
        for us in [0.0, -1.0, f64::INFINITY] {
            assert_eq!(fault(&[sample(1, 0, us)], 0.0), Some(CostError::Time { rows: 1, us }));
        }
        assert!(matches!(fault(&[sample(1, 0, 1.0)], f64::NAN), Some(CostError::Negative { .. })));
    }
}
