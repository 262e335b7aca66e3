//! Row purity: the bits of a row must not depend on the rows that share the call.

use super::random::Random;
use echo_core::DeviceError;

/// Most rows of one call.
pub(super) const ROWS_MAX: usize = 64;

/// One answer per row asked for, or why there is none.
pub(super) type Answers = Result<Vec<Vec<f32>>, DeviceError>;

/// Answers for some of a fixed set of rows, in the order asked for.
pub(super) type Rows<'k> = Box<dyn FnMut(&[usize]) -> Answers + 'k>;

/// Numbers of rows that are asked for: all up to one more than 32, then those about larger
/// multiples of 16.
fn sizes(n: usize) -> impl Iterator<Item = usize> {
    (1..=33).chain([40, 47, 48, 49, 63, 64]).filter(move |&size| size <= n)
}

/// Asks for all `n` rows at once, then for some of them in random order, then for each alone, and
/// compares bits with `known`, which the first call fills.
pub(super) fn check(
    n: usize,
    rows: &mut dyn FnMut(&[usize]) -> Answers,
    known: &mut Option<Vec<Vec<f32>>>,
) -> Result<(), String> {
    let mut random = Random::new(n as u64);
    let everything: Vec<usize> = (0..n.min(ROWS_MAX)).collect();
    let mut choices = vec![everything.clone()];
    choices.extend(sizes(n.min(ROWS_MAX)).map(|size| random.order(n)[..size].to_vec()));
    choices.extend(everything.iter().map(|&row| vec![row]));
    for choice in &choices {
        let answers = rows(choice).map_err(|error| error.to_string())?;
        let known = known.get_or_insert_with(|| answers.clone());
        if answers.len() != choice.len() {
            return Err(format!("{} answers for {} rows", answers.len(), choice.len()));
        }
        for (&row, answer) in choice.iter().zip(&answers) {
            let same = answer.iter().zip(&known[row]).position(|(a, k)| a.to_bits() != k.to_bits());
            if let Some(i) = same {
                return Err(format!(
                    "element {i} of row {row} is {:e} among {} rows and was {:e}",
                    answer[i],
                    choice.len(),
                    known[row][i]
                ));
            }
        }
    }
    Ok(())
}

/// A form that is not pure: it sums each row in as many parts as there are rows.
pub(super) fn split_by_rows(n: usize) -> Rows<'static> {
    let mut random = Random::new(3);
    let x: Vec<Vec<f32>> = (0..n).map(|_| random.activations(200)).collect();
    Box::new(move |choice| {
        let part = 200usize.div_ceil(choice.len());
        let sum = |&row: &usize| {
            let parts = x[row].chunks(part).map(|part| part.iter().sum::<f32>());
            vec![parts.sum::<f32>()]
        };
        Ok(choice.iter().map(sum).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_neighbours_is_caught() {
        assert!(check(64, &mut *split_by_rows(64), &mut None).is_err());
        let mut by_place = |choice: &[usize]| {
            let place = |(i, &row): (usize, &usize)| vec![row as f32 + i as f32 * 1e-3];
            Ok(choice.iter().enumerate().map(place).collect())
        };
        assert!(check(8, &mut by_place, &mut None).is_err());
        let mut pure = |choice: &[usize]| Ok(choice.iter().map(|&r| vec![r as f32]).collect());
        assert_eq!(check(64, &mut pure, &mut None), Ok(()));
    }
}
