//! Conformance of [`rms_norm`](crate::reference::rms_norm()).

use super::compare::Class;
use super::purity::{ROWS_MAX, Rows};
use super::random::Random;
use super::sheet::{Sheet, download, upload};
use super::suite::Suite;
use crate::reference;
use echo_core::DeviceError;
use echo_core::port::{Data, Kernels};

const CLASS: Class = Class::Close { nmse: 1e-10, worst: 1e-5 };
/// Large enough beside a mean square near 1/3 that forgetting it shows.
const EPS: f32 = 1e-2;

pub(super) fn check(suite: &mut Suite<'_>) {
    let kernels = suite.open();
    let small = [(0, 4, 1), (1, 1, 1), (3, 17, 2), (2, 576, 1), (64, 64, 12)];
    // Wider than what a block of 1,024 threads with two quads each holds.
    for (rows, group, groups) in small.into_iter().chain([(2, 8200, 1)]) {
        let mut random = Random::new(group as u64);
        let x = Sheet::random(rows, group * groups, &mut random);
        let weight = random.activations(group);
        let expect = |mut out: Sheet, eps| {
            reference::rms_norm(rows, &x.data, x.area, &weight, eps, &mut out.data, out.area);
            out
        };
        let out = Sheet::guarded(rows, group * groups);
        let same = Sheet::changing(rows, group * groups, &mut Random::new(group as u64));
        for (out, place) in [(&out, "apart"), (&same, "in place")] {
            let actual = run(&*kernels, &x, &weight, out, place == "in place");
            let expected = expect(out.clone(), EPS);
            // The bug: eps is forgotten.
            let wrong = (rows > 0).then(|| expect(out.clone(), 0.0));
            let name = format!("{rows} x {groups} x {group} {place}");
            suite.case(&name, CLASS, actual, &expected, wrong.as_ref());
        }
    }
    suite.pure("3 groups of 37", ROWS_MAX, &prepare);
}

fn run(
    kernels: &dyn Kernels,
    x: &Sheet,
    weight: &[f32],
    out: &Sheet,
    in_place: bool,
) -> Result<Vec<f32>, DeviceError> {
    let into = out.upload(kernels)?;
    let from = if in_place { into } else { x.upload(kernels)? };
    let weight = upload(kernels, weight)?;
    kernels.rms_norm(x.rows, x.mat(from), weight, EPS, out.mat(into))?;
    download(kernels, into, out.data.len())
}

fn prepare(kernels: &dyn Kernels) -> Result<Rows<'_>, DeviceError> {
    let mut random = Random::new(1);
    let x = Sheet::random(ROWS_MAX, 3 * 37, &mut random);
    let weight = upload(kernels, &random.activations(37))?;
    let buffer = x.upload(kernels)?;
    Ok(Box::new(move |choice| {
        let mut chosen = x.clone();
        for (i, &row) in choice.iter().enumerate() {
            chosen.row_mut(i).copy_from_slice(x.row(row));
        }
        kernels.write(buffer, 0, Data::F32(&chosen.data))?;
        kernels.rms_norm(choice.len(), x.mat(buffer), weight, EPS, x.mat(buffer))?;
        chosen.data = download(kernels, buffer, x.data.len())?;
        Ok((0..choice.len()).map(|i| chosen.row(i).to_vec()).collect())
    }))
}
