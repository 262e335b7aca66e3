//! The least `k` of many numbers.

use crate::ranking::{OUT, key};

/// Up to so many winners are found by insertion.
const FEW: usize = 8;
/// Costs that are looked at to guess where the `k`-th lies.
const SAMPLES: usize = 128;
/// Costs that are dismissed together.
const BLOCK: usize = 16;

/// Leaves in `best` the keys of the least `k` of `costs` in the running, ties to the lowest index,
/// in no order; fewer if there are fewer.
///
/// A guess at the `k`-th cost is taken from a sample and checked by counting; then only what is not
/// above it has to be copied and selected from. Both are much cheaper than to sort, or to select
/// from everything.
pub(crate) fn best_of(costs: &[u32], k: usize, sample: &mut Vec<u32>, best: &mut Vec<u64>) {
    best.clear();
    let bar = bar(costs, k, sample);
    for (block, costs) in costs.chunks(BLOCK).enumerate() {
        if count(costs, bar) > 0 {
            let keys = (block * BLOCK..).zip(costs).filter(|&(_, &cost)| cost <= bar);
            best.extend(keys.map(|(n, &cost)| key(cost, n)));
        }
    }
    let n = winners(best, k).len();
    best.truncate(n);
}

/// A cost that at least `k` of `costs`, or all in the running, don't exceed, and none out of it. If
/// the sample is of use, not many more.
fn bar(costs: &[u32], k: usize, sample: &mut Vec<u32>) -> u32 {
    sample.clear();
    if costs.len() > 4 * SAMPLES && k < costs.len() {
        // Multiples of the golden ratio: evenly spread, and in step with no regular tree.
        let places = (0..SAMPLES as u32).map(|i| u64::from(i.wrapping_mul(0x9e37_79b9)));
        sample.extend(places.map(|at| costs[((at * costs.len() as u64) >> 32) as usize]));
        sample.sort_unstable();
        let (mut at, mut step) = (k * SAMPLES / costs.len(), 1);
        while at < SAMPLES && sample[at] < OUT {
            if count(costs, sample[at]) >= k {
                return sample[at];
            }
            at += step;
            step *= 2;
        }
    }
    OUT - 1
}

/// How many of `costs` don't exceed `bar`.
fn count(costs: &[u32], bar: u32) -> usize {
    costs.iter().map(|&cost| u32::from(cost <= bar)).sum::<u32>() as usize
}

/// The greatest of `scores`, none of which is NaN; −∞ of none. Four at a time, since a comparison
/// that waits for the one before it costs most of what levels of a dozen nodes take.
pub(crate) fn greatest(scores: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let (fours, rest) = scores.as_chunks::<4>();
    let mut best = [f32::NEG_INFINITY; 4];
    for four in fours {
        best = std::array::from_fn(|i| greater(best[i], four[i]));
    }
    best.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, greater)
}

/// How many of `scores` reach `bar`.
pub(crate) fn reaching(scores: &[f32], bar: f32) -> usize {
    scores.iter().map(|&score| u32::from(score >= bar)).sum::<u32>() as usize
}

/// The least `k` of `keys`, in no order; the others follow them.
pub(crate) fn winners(keys: &mut [u64], k: usize) -> &[u64] {
    let k = k.min(keys.len());
    let losers = keys.len() - k;
    if k > 0 && losers > 0 {
        if k <= FEW {
            select_few(keys, k, |a, b| a < b);
        } else if losers <= FEW {
            select_few(keys, losers, |a, b| a > b);
            keys.reverse();
        } else {
            keys.select_nth_unstable(k - 1);
        }
    }
    &keys[..k]
}

/// Brings the first `k > 0` keys of an order to the front. Levels come best first, so that most
/// keys are dismissed by one comparison.
fn select_few(keys: &mut [u64], k: usize, precedes: impl Fn(u64, u64) -> bool) {
    for i in 1..keys.len() {
        let mut at = i;
        if i >= k {
            if !precedes(keys[i], keys[k - 1]) {
                continue;
            }
            at = k - 1;
            keys.swap(i, at);
        }
        while at > 0 && precedes(keys[at], keys[at - 1]) {
            keys.swap(at, at - 1);
            at -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cost() -> impl Strategy<Value = u32> {
        prop_oneof![0_u32..9, 0_u32..90_000, Just(OUT)]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn the_best_are_those_a_sort_puts_first(
            costs in prop::collection::vec(cost(), 0..3000),
            k in 0_usize..3000,
        ) {
            let (mut sample, mut best) = (Vec::new(), Vec::new());
            best_of(&costs, k, &mut sample, &mut best);
            best.sort_unstable();
            let keys = (0_u64..).zip(&costs).filter(|&(_, &cost)| cost < OUT);
            let mut sorted: Vec<u64> = keys.map(|(n, &cost)| u64::from(cost) << 32 | n).collect();
            sorted.sort_unstable();
            sorted.truncate(k);
            prop_assert_eq!(best, sorted);
        }
    }
}
