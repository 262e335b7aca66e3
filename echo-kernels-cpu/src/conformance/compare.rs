//! Whether an answer agrees with what was expected.

/// How closely a backend must agree with the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Class {
    /// The same bits.
    Exact,
    /// Sum of squared errors over sum of squares at most `nmse`, and no error above `worst` times
    /// the largest magnitude expected.
    Close { nmse: f64, worst: f64 },
}

/// Compares whole buffers: `inside` tells what the operation writes, the rest must not change.
pub(super) fn compare(
    actual: &[f32],
    expected: &[f32],
    inside: &dyn Fn(usize) -> bool,
    class: Class,
) -> Result<(), String> {
    if actual.len() != expected.len() {
        return Err(format!("{} elements, expected {}", actual.len(), expected.len()));
    }
    let (mut errors, mut squares, mut worst, mut largest) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        if !inside(i) || class == Class::Exact {
            if a.to_bits() != e.to_bits() {
                let what = if inside(i) { "element" } else { "guard" };
                return Err(format!("{what} {i} is {a:e}, expected {e:e}"));
            }
            continue;
        }
        if !a.is_finite() {
            return Err(format!("element {i} is {a}, expected {e:e}"));
        }
        let error = (f64::from(a) - f64::from(e)).abs();
        errors += error * error;
        squares += f64::from(e) * f64::from(e);
        worst = worst.max(error);
        largest = largest.max(f64::from(e).abs());
    }
    if let Class::Close { nmse, worst: worst_max } = class {
        if errors > nmse * squares {
            return Err(format!("NMSE {:.2e}, at most {nmse:e}", errors / squares));
        }
        if worst > worst_max * largest {
            let most = worst_max * largest;
            return Err(format!("an error of {worst:.2e}, at most {most:.2e}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSE: Class = Class::Close { nmse: 1e-6, worst: 1e-2 };

    #[test]
    fn errors_guards_and_poison_are_seen() {
        let inside = |i: usize| i > 0;
        let check = |actual: &[f32], class| compare(actual, &[9.0, 1.0, -2.0], &inside, class);
        assert_eq!(check(&[9.0, 1.0, -2.0], Class::Exact), Ok(()));
        assert_eq!(check(&[9.0, 1.000_1, -2.0], CLOSE), Ok(()));
        assert!(check(&[9.0, 1.000_1, -2.0], Class::Exact).is_err());
        assert!(check(&[9.0, 1.1, -2.0], CLOSE).is_err());
        assert!(check(&[9.0, f32::NAN, -2.0], CLOSE).is_err());
        assert!(check(&[9.000_001, 1.0, -2.0], CLOSE).is_err());
        assert!(check(&[9.0, 1.0], CLOSE).is_err());
    }

    #[test]
    fn zero_expected_means_zero() {
        assert!(compare(&[1e-30], &[0.0], &|_| true, CLOSE).is_err());
    }
}
