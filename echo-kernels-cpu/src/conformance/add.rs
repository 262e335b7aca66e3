//! Conformance of [`add`](crate::reference::add()).

use super::compare::Class;
use super::purity::{ROWS_MAX, Rows};
use super::random::Random;
use super::sheet::{Sheet, download};
use super::suite::Suite;
use crate::reference;
use echo_core::DeviceError;
use echo_core::port::{Data, Kernels};

pub(super) fn check(suite: &mut Suite<'_>) {
    let kernels = suite.open();
    for (rows, width) in [(0, 4), (1, 1), (3, 17), (2, 576), (64, 33)] {
        let mut random = Random::new(width as u64);
        let x = Sheet::random(rows, width, &mut random);
        let into = Sheet::changing(rows, width, &mut random);
        let mut expected = into.clone();
        reference::add(rows, &x.data, x.area, &mut expected.data, into.area);
        // The bug: the sum is not added but replaces.
        let mut wrong = into.clone();
        for row in 0..rows {
            wrong.row_mut(row).copy_from_slice(x.row(row));
        }
        let wrong = (rows > 0).then_some(&wrong);
        let actual = run(&*kernels, &x, &into);
        let name = format!("{rows} x {width}");
        suite.case(&name, Class::Exact, actual, &expected, wrong);
    }
    suite.pure("32 columns", ROWS_MAX, &prepare);
}

fn run(kernels: &dyn Kernels, x: &Sheet, into: &Sheet) -> Result<Vec<f32>, DeviceError> {
    let (a, b) = (x.upload(kernels)?, into.upload(kernels)?);
    kernels.add(x.rows, x.mat(a), into.mat(b))?;
    download(kernels, b, into.data.len())
}

fn prepare(kernels: &dyn Kernels) -> Result<Rows<'_>, DeviceError> {
    let mut random = Random::new(1);
    let x = Sheet::random(ROWS_MAX, 32, &mut random);
    let into = Sheet::changing(ROWS_MAX, 32, &mut random);
    let (a, b) = (x.upload(kernels)?, into.upload(kernels)?);
    Ok(Box::new(move |choice| {
        let (mut chosen_x, mut chosen) = (x.clone(), into.clone());
        for (i, &row) in choice.iter().enumerate() {
            chosen_x.row_mut(i).copy_from_slice(x.row(row));
            chosen.row_mut(i).copy_from_slice(into.row(row));
        }
        kernels.write(a, 0, Data::F32(&chosen_x.data))?;
        kernels.write(b, 0, Data::F32(&chosen.data))?;
        kernels.add(choice.len(), x.mat(a), into.mat(b))?;
        chosen.data = download(kernels, b, chosen.data.len())?;
        Ok((0..choice.len()).map(|i| chosen.row(i).to_vec()).collect())
    }))
}
