//! What a forward costs, measured on the shapes the engine really runs.

use echo_core::{
    Children, DeviceError, Keep, Limits, Plan, SampleSpec, SampleView, Slot, Target, Token,
    Verdicts,
};
use echo_tree::{Packed, SeqRows, SuperTree};
use std::time::{Duration, Instant};

/// One measured forward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Rows of the forward, each with a verdict.
    pub rows: usize,
    /// Cached tokens that each row sees.
    pub kv_len: usize,
    /// Its time.
    pub time: Duration,
}

/// Times `repeats` forwards for each of `rows` and `kv_lens`, after one that is not counted. Shapes
/// beyond the limits are left out. Repeats are interleaved, so that a slow moment of the machine
/// does not fall on one shape alone.
///
/// Overwrites free KV slots, so no sequence may be live.
pub fn profile(
    target: &mut dyn Target,
    limits: &Limits,
    rows: &[usize],
    kv_lens: &[usize],
    repeats: usize,
) -> Result<Vec<Profile>, DeviceError> {
    profile_within(target, limits, rows, kv_lens, repeats, Duration::MAX)
}

/// The same in about the time of `budget`, counted from the end of the first forward, which may
/// have had kernels to make. A slow device has fewer repeats, then no shapes between those whose
/// rows quadruple, then none of many rows; two shapes of each length it has in any case.
pub fn profile_within(
    target: &mut dyn Target,
    limits: &Limits,
    rows: &[usize],
    kv_lens: &[usize],
    repeats: usize,
    budget: Duration,
) -> Result<Vec<Profile>, DeviceError> {
    let mut verdicts = Verdicts::with_capacity(limits.rows_max, limits.logprobs_max);
    let mut forward = |(rows, kv_len)| {
        let packed = lay_out(rows, kv_len, limits);
        let specs = vec![SampleSpec::GREEDY; rows];
        let sample = SampleView { specs: &specs, edits: &[] };
        let start = Instant::now();
        target.verify(packed.view(), sample, &mut verdicts)?;
        Ok::<_, DeviceError>(Profile { rows, kv_len, time: start.elapsed() })
    };
    let mut profiles: Vec<Profile> = Vec::new();
    let mut start: Option<Instant> = None;
    let left = |start: &Option<Instant>| {
        start.map_or(budget, |start: Instant| budget.saturating_sub(start.elapsed()))
    };
    for shape in shapes(limits, rows, kv_lens).into_iter().filter(|_| repeats > 0) {
        let of_length = profiles.iter().filter(|profile| profile.kv_len == shape.1).count();
        if of_length >= 2 && guess(&profiles, shape.0).saturating_mul(2) > left(&start) {
            continue;
        }
        forward(shape)?;
        start.get_or_insert_with(Instant::now);
        profiles.push(forward(shape)?);
    }
    let n_shapes = profiles.len();
    for _ in 1..repeats {
        for shape in 0..n_shapes {
            let Profile { rows, kv_len, time } = profiles[shape];
            if time <= left(&start) {
                profiles.push(forward((rows, kv_len))?);
            }
        }
    }
    Ok(profiles)
}

/// Rows and lengths within the limits: first those whose rows quadruple, then those between.
fn shapes(limits: &Limits, rows: &[usize], kv_lens: &[usize]) -> Vec<(usize, usize)> {
    let fits = |&(rows, kv_len): &(usize, usize)| {
        rows > 0
            && rows <= limits.rows_max.min(limits.seqs_max * (1 + limits.tree_max))
            && kv_len.saturating_add(rows) <= limits.kv_slots
            && kv_len.saturating_add(2) <= limits.context_max
    };
    let mut last = 0;
    let (coarse, fine): (Vec<usize>, Vec<usize>) = rows.iter().partition(|&&rows| {
        let quadruples = rows >= 4 * last;
        last = if quadruples { rows } else { last };
        quadruples
    });
    let rows = coarse.into_iter().chain(fine);
    rows.flat_map(|rows| kv_lens.iter().map(move |&kv_len| (rows, kv_len))).filter(fits).collect()
}

/// What a forward of `rows` rows will take at most, if rows cost no more than they did in others.
fn guess(known: &[Profile], rows: usize) -> Duration {
    let scaled = |p: &Profile| p.time.mul_f64((rows as f64 / p.rows as f64).max(1.0));
    known.iter().map(scaled).min().unwrap_or_default()
}

/// A forward of `rows` rows over as many sequences as may live; rows beyond one for each hang below
/// the roots as drafted rows. Each sequence has a prefix of its own where slots suffice, in slots
/// that alternate with the others', as they do when sequences grow side by side.
fn lay_out(rows: usize, kv_len: usize, limits: &Limits) -> Packed {
    let n_seqs = rows.min(limits.seqs_max);
    let width = rows.div_ceil(n_seqs) - 1;
    let limits = Limits { depth_max: 1, width_max: width, beam_max: 1, tree_max: width, ..*limits };
    let mut tree = SuperTree::new(&limits);
    tree.plant((0..n_seqs as u32).map(|seq| (seq, 0)));
    let (mut keep, mut children) = (Keep::default(), Children::default());
    keep.reset(n_seqs);
    for child in 0..rows - n_seqs {
        let (root, token) = (child % n_seqs, child / n_seqs);
        keep.open(root, width as u32);
        children.push(root, token as Token, -1.0);
    }
    tree.push_level(&keep, &children);
    let mut plan = Plan::default();
    plan.reset(tree.view().len(), tree.view().len());
    let mut packed = Packed::new(&limits);
    packed.begin(tree.view());
    let n_prefixes = ((limits.kv_slots - rows) / kv_len.max(1)).clamp(1, n_seqs);
    let first = n_prefixes * kv_len;
    let slots: Vec<Slot> = (first as Slot..(first + rows) as Slot).collect();
    let mut free = slots.as_slice();
    for seq in 0..n_seqs {
        let slot = |position| (position * n_prefixes + seq % n_prefixes) as Slot;
        let cached: Vec<Slot> = (0..kv_len).map(slot).collect();
        let (seq, cached) = (seq as u32, cached.as_slice());
        let rows = SeqRows { seq, cached, context: &[], root: true, scored: false, slots: free };
        free = &free[packed.push_seq(tree.view(), &plan, rows)..];
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_core::port::TargetShape;

    /// A target that takes `row` for each row, and remembers what it ran.
    struct Slow {
        row: Duration,
        ran: Vec<usize>,
    }

    impl Target for Slow {
        fn shape(&self) -> TargetShape {
            TargetShape { vocab: 1, context_max: 0, kv_slots: 0, rows_max: 0, seqs_max: 0 }
        }

        fn verify(
            &mut self,
            packed: echo_core::PackedView<'_>,
            _sample: SampleView<'_>,
            _verdicts: &mut Verdicts,
        ) -> Result<(), DeviceError> {
            self.ran.push(packed.rows());
            std::thread::sleep(self.row * packed.rows() as u32);
            Ok(())
        }
    }

    fn ran(row: Duration, budget: Duration) -> (Vec<usize>, usize) {
        let mut target = Slow { row, ran: Vec::new() };
        let limits = Limits::usual(4, 256);
        let rows = [1, 2, 3, 4, 6, 8, 16, 32, 64];
        let found = profile_within(&mut target, &limits, &rows, &[100], 3, budget);
        (target.ran, found.expect("it does not fail").len())
    }

    #[test]
    fn a_fast_device_is_measured_whole() {
        let (ran, n) = ran(Duration::ZERO, Duration::from_secs(600));
        assert_eq!((ran.len(), n), (9 * 4, 9 * 3));
        assert_eq!(ran[..6], [1, 1, 4, 4, 16, 16]);
        assert_eq!(ran[8..12], [2, 2, 3, 3]);
    }

    #[test]
    fn a_slow_device_is_measured_at_few_rows() {
        // Two forwards of 1 and of 4 rows take 10 ms, of 16 rows 32 ms, of 2 rows 4 ms.
        let (ran, n) = self::ran(Duration::from_millis(1), Duration::from_millis(20));
        assert!(ran.iter().all(|&rows| rows <= 8), "{ran:?}");
        assert!(n >= 2 && ran.iter().sum::<usize>() <= 40, "{ran:?}");
        // Whatever it takes, there are two points to draw a line through.
        assert_eq!(self::ran(Duration::from_millis(1), Duration::ZERO), (vec![1, 1, 4, 4], 2));
    }

    #[test]
    fn every_row_of_a_profiled_forward_is_sampled() {
        let limits = Limits::usual(4, 256);
        for rows in [1, 3, 4, 5, 64, 132] {
            let packed = lay_out(rows, 100, &limits);
            let view = packed.view();
            assert_eq!((view.rows(), view.sampled.len()), (rows, rows));
            assert_eq!(view.n_seqs(), rows.min(4));
            assert!(view.prefix_len.iter().all(|&prefix| prefix == 101));
        }
    }
}
