//! Conformance of [`gather_rows`](crate::reference::gather_rows()).

use super::compare::Class;
use super::purity::{ROWS_MAX, Rows};
use super::random::Random;
use super::sheet::{Sheet, download, upload_index};
use super::suite::Suite;
use crate::reference;
use echo_core::DeviceError;
use echo_core::port::{Data, Element, Kernels};

pub(super) fn check(suite: &mut Suite<'_>) {
    let kernels = suite.open();
    for (rows, from, width) in [(0, 1, 4), (1, 1, 1), (5, 3, 17), (3, 9, 576), (64, 64, 33)] {
        let mut random = Random::new(width as u64);
        let x = Sheet::random(from, width, &mut random);
        let index: Vec<u32> = (0..rows).map(|_| random.below(from) as u32).collect();
        let out = Sheet::guarded(rows, width);
        let expect = |index: &[u32]| {
            let mut out = out.clone();
            reference::gather_rows(rows, index, &x.data, x.area, &mut out.data, out.area);
            out
        };
        // The bug: a row number is off by one.
        let shifted: Vec<u32> = index.iter().map(|&i| (i + 1) % from as u32).collect();
        let wrong = (rows > 0 && from > 1).then(|| expect(&shifted));
        let actual = run(&*kernels, &index, &x, &out);
        let name = format!("{rows} of {from} x {width}");
        suite.case(&name, Class::Exact, actual, &expect(&index), wrong.as_ref());
    }
    suite.pure("32 columns", ROWS_MAX, &prepare);
}

fn run(
    kernels: &dyn Kernels,
    index: &[u32],
    x: &Sheet,
    out: &Sheet,
) -> Result<Vec<f32>, DeviceError> {
    let (a, b) = (x.upload(kernels)?, out.upload(kernels)?);
    let chosen = upload_index(kernels, index)?;
    kernels.gather_rows(out.rows, chosen, x.mat(a), out.mat(b))?;
    download(kernels, b, out.data.len())
}

fn prepare(kernels: &dyn Kernels) -> Result<Rows<'_>, DeviceError> {
    let x = Sheet::random(ROWS_MAX, 32, &mut Random::new(1));
    let out = Sheet::guarded(ROWS_MAX, 32);
    let (a, b) = (x.upload(kernels)?, out.upload(kernels)?);
    let index = kernels.alloc(Element::U32, ROWS_MAX, "conformance")?;
    Ok(Box::new(move |choice| {
        let chosen: Vec<u32> = choice.iter().map(|&row| row as u32).collect();
        kernels.write(index, 0, Data::U32(&chosen))?;
        kernels.gather_rows(choice.len(), index, x.mat(a), out.mat(b))?;
        let mut answer = out.clone();
        answer.data = download(kernels, b, out.data.len())?;
        Ok((0..choice.len()).map(|i| answer.row(i).to_vec()).collect())
    }))
}
