//! Says when a calibration has gone stale.
//!
//! Per depth two rolling windows of rounds are held to what the file promised:
//!
//! - *Calibration error*: with promised gains `p` and outcomes `y` in ten bins,
//!   `E = Σ_b |Σ (p − y)| / n`. If the promise holds, each bin's gap is about normal with variance
//!   `s_b² = Σ p (1 − p)`, so `E` has mean `Σ √(2/π) s_b / n` and variance `Σ (1 − 2/π) s_b² / n²`.
//!   The alarm is raised above the file's own error plus that mean plus [`DriftParams::sigmas`]
//!   deviations.
//! - *AUC*: raised below the file's lower bound by [`DriftParams::sigmas`] standard errors of the
//!   window's area (Hanley et al., Radiology 143:29, 1982). Only ungated rounds enter, since a
//!   gate cuts the low confidences off and with them the area. An area above its band is no harm.
//!
//! Observing is O(1) per round; checking sorts the windows and is meant for now and then.

use crate::auc::area;
use crate::calibrate::{Calibration, DepthCalibration};
use crate::graded::Graded;
use crate::isotonic::Isotonic;
use crate::sample::Sample;
use crate::tally::{Tally, totals};

/// How alert the alarm is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DriftParams {
    /// Rounds per window and depth; below this many nothing is judged. 500 is a start.
    pub window: usize,
    /// Standard deviations of chance beyond the band, at least 0; 4 is a start.
    pub sigmas: f64,
    /// Calibration error that is always let pass, `0..=1`; 0.02 is what calibration aims at.
    pub error_min: f64,
}

/// What left its band.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Drift {
    /// Gains promised and kept have parted.
    Calibration {
        /// The depth.
        depth: u32,
        /// Rolling calibration error.
        error: f64,
        /// The most that chance explains.
        band: f64,
    },
    /// The confidence tells rounds apart less well than it did.
    Auc {
        /// The depth.
        depth: u32,
        /// Rolling area.
        area: f64,
        /// The least that chance explains.
        band: f64,
    },
}

/// Watches the depths that a calibration has a map for.
#[derive(Clone, Debug)]
pub struct DriftAlarm {
    params: DriftParams,
    watched: Vec<Watched>,
    tally: Tally,
}

#[derive(Clone, Debug)]
struct Watched {
    depth: u32,
    map: Isotonic,
    error: f64,
    auc_lower: Option<f64>,
    all: Window,
    ungated: Window,
}

/// The latest rounds, in a ring.
#[derive(Clone, Debug)]
struct Window {
    rounds: Vec<Sample>,
    rounds_max: usize,
    at: usize,
}

impl DriftAlarm {
    /// An alarm for `calibration`; all its memory is taken here.
    pub fn new(calibration: &Calibration, params: DriftParams) -> Self {
        let watch = |known: &DepthCalibration| {
            Some(Watched {
                depth: known.depth,
                map: known.isotonic.clone()?,
                error: f64::from(known.ece_after.unwrap_or(0.0)).max(params.error_min),
                auc_lower: known.auc.map(|auc| f64::from(auc.lower)),
                all: Window::new(params.window),
                ungated: Window::new(params.window),
            })
        };
        let watched = calibration.depths.iter().filter_map(watch).collect();
        DriftAlarm { params, watched, tally: Tally::with_capacity(params.window.max(1)) }
    }

    /// Takes in a graded round; `ungated`, if no gate could have closed it. Censored rounds and
    /// depths without a map are passed over.
    pub fn observe(&mut self, round: Graded, ungated: bool) {
        let sample = Sample::new(round.confidence, round.gained, round.nodes);
        let watched = self.watched.iter_mut().find(|watched| watched.depth == round.depth);
        if let (Some(sample), Some(watched), true) = (sample, watched, round.is_uncensored()) {
            watched.all.push(sample);
            if ungated {
                watched.ungated.push(sample);
            }
        }
    }

    /// The first of the depths to have left its band, if any. Allocates nothing.
    pub fn check(&mut self) -> Option<Drift> {
        let DriftAlarm { params, watched, tally } = self;
        watched.iter().find_map(|watched| {
            let calibration = watched.calibration(*params);
            calibration.or_else(|| watched.auc(*params, tally))
        })
    }
}

impl Watched {
    fn calibration(&self, params: DriftParams) -> Option<Drift> {
        const BINS: usize = 10;
        let rounds = self.all.full()?;
        let (mut gap, mut variance) = ([0.0_f64; BINS], [0.0_f64; BINS]);
        // A promise of 0 or 1 is a pool of finitely many rounds, and no certainty.
        let doubt = 0.5 / rounds.len() as f64;
        for round in rounds {
            let p = f64::from(self.map.gain(round.confidence()));
            let bin = ((p * BINS as f64) as usize).min(BINS - 1);
            gap[bin] += p - f64::from(u8::from(round.gained()));
            let p = p.clamp(doubt, 1.0 - doubt);
            variance[bin] += p * (1.0 - p);
        }
        let n = rounds.len() as f64;
        let half_normal = std::f64::consts::FRAC_2_PI;
        let mean = variance.iter().map(|v| (half_normal * v).sqrt()).sum::<f64>() / n;
        let spread = ((1.0 - half_normal) * variance.iter().sum::<f64>()).sqrt() / n;
        let error = gap.iter().map(|g| g.abs()).sum::<f64>() / n;
        let band = self.error + mean + params.sigmas * spread;
        (error > band).then_some(Drift::Calibration { depth: self.depth, error, band })
    }

    fn auc(&self, params: DriftParams, tally: &mut Tally) -> Option<Drift> {
        tally.read(self.ungated.full()?.iter().copied());
        let area = area(tally.ties())?;
        let (gained, lost) = totals(tally.ties());
        let (gained, lost) = (gained as f64, lost as f64);
        let square = area * area;
        let (q1, q2) = (area / (2.0 - area), 2.0 * square / (1.0 + area));
        let numerator =
            area * (1.0 - area) + (gained - 1.0) * (q1 - square) + (lost - 1.0) * (q2 - square);
        let deviation = (numerator.max(0.0) / (gained * lost)).sqrt();
        let band = self.auc_lower? - params.sigmas * deviation;
        (area < band).then_some(Drift::Auc { depth: self.depth, area, band })
    }
}

impl Window {
    fn new(n: usize) -> Self {
        Window { rounds: Vec::with_capacity(n.max(1)), rounds_max: n.max(1), at: 0 }
    }

    fn push(&mut self, sample: Sample) {
        if self.rounds.len() < self.rounds_max {
            self.rounds.push(sample);
        } else {
            self.rounds[self.at] = sample;
            self.at = (self.at + 1) % self.rounds.len();
        }
    }

    /// All rounds, once there are enough.
    fn full(&self) -> Option<&[Sample]> {
        (self.rounds.len() == self.rounds_max).then_some(&self.rounds)
    }
}
