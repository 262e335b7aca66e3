//! Conformance of [`silu_mul`](crate::reference::silu_mul()).

use super::compare::Class;
use super::purity::{ROWS_MAX, Rows};
use super::random::Random;
use super::sheet::{Sheet, download};
use super::suite::Suite;
use crate::reference;
use echo_core::DeviceError;
use echo_core::port::{Data, Kernels};

const CLASS: Class = Class::Close { nmse: 1e-10, worst: 1e-5 };

pub(super) fn check(suite: &mut Suite<'_>) {
    let kernels = suite.open();
    for (rows, width) in [(0, 4), (1, 1), (3, 17), (2, 1536), (64, 33)] {
        let mut x = Sheet::random(rows, 2 * width, &mut Random::new(width as u64));
        // Gates where the exponential leaves f32.
        for (i, far) in [-200.0, 200.0, -90.0, 0.0].into_iter().enumerate() {
            if rows > 0 && width > i + 4 {
                x.row_mut(0)[i] = far;
            }
        }
        let out = Sheet::guarded(rows, width);
        let expect = |x: &Sheet| {
            let mut out = out.clone();
            reference::silu_mul(rows, &x.data, x.area, &mut out.data, out.area);
            out
        };
        // The bug: gate and up are exchanged.
        let mut exchanged = x.clone();
        for row in 0..rows {
            exchanged.row_mut(row).rotate_left(width);
        }
        let wrong = (rows > 0).then(|| expect(&exchanged));
        let actual = run(&*kernels, &x, &out);
        let name = format!("{rows} x {width}");
        suite.case(&name, CLASS, actual, &expect(&x), wrong.as_ref());
    }
    suite.pure("37 columns", ROWS_MAX, &prepare);
}

fn run(kernels: &dyn Kernels, x: &Sheet, out: &Sheet) -> Result<Vec<f32>, DeviceError> {
    let (a, b) = (x.upload(kernels)?, out.upload(kernels)?);
    kernels.silu_mul(x.rows, x.mat(a), out.mat(b))?;
    download(kernels, b, out.data.len())
}

fn prepare(kernels: &dyn Kernels) -> Result<Rows<'_>, DeviceError> {
    let x = Sheet::random(ROWS_MAX, 2 * 37, &mut Random::new(1));
    let out = Sheet::guarded(ROWS_MAX, 37);
    let (a, b) = (x.upload(kernels)?, out.upload(kernels)?);
    Ok(Box::new(move |choice| {
        let mut chosen = x.clone();
        for (i, &row) in choice.iter().enumerate() {
            chosen.row_mut(i).copy_from_slice(x.row(row));
        }
        kernels.write(a, 0, Data::F32(&chosen.data))?;
        kernels.silu_mul(choice.len(), x.mat(a), out.mat(b))?;
        let mut answer = out.clone();
        answer.data = download(kernels, b, out.data.len())?;
        Ok((0..choice.len()).map(|i| answer.row(i).to_vec()).collect())
    }))
}
