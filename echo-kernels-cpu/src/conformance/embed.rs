//! Conformance of [`embed`](crate::reference::embed()).

use super::compare::Class;
use super::purity::{ROWS_MAX, Rows};
use super::random::Random;
use super::scene::{Scene, VOCAB, open_stage};
use super::sheet::{Sheet, download};
use super::stored::{DTYPES, StoredMatrix};
use super::suite::Suite;
use crate::reference;
use echo_core::port::Kernels;
use echo_core::{DType, DeviceError};

/// Dequantising rounds once or twice.
const CLASS: Class = Class::Close { nmse: 1e-12, worst: 1e-6 };

pub(super) fn check(suite: &mut Suite<'_>) {
    let kernels = suite.open();
    for (dtype, cols) in DTYPES.into_iter().flat_map(|dtype| [(dtype, 1), (dtype, 576)]) {
        let mut random = Random::new(cols as u64);
        let table = StoredMatrix::random(dtype, VOCAB, cols, &mut random);
        for (cached, nodes) in [(&[][..], 0), (&[0][..], 0), (&[3, 0, 9][..], 5)] {
            let scene = Scene::random(7, cached, nodes);
            let out = Sheet::guarded(scene.rows(), table.cols);
            let expect = |table: &StoredMatrix, scene: &Scene| {
                let (mut values, mut out) = (Vec::new(), out.clone());
                reference::dequant::dequantize(&table.view(), &mut values);
                reference::embed(scene.view().token, &values, &mut out.data, out.area);
                out
            };
            let expected = expect(&table, &scene);
            let name = format!("{dtype}, {} rows of {}", scene.rows(), table.cols);
            let some = scene.rows() > 0;
            // The bugs: a part of the format is forgotten; a row is its neighbour's.
            let misread = some.then(|| expect(&table.misread(), &scene));
            let mut shifted = scene.clone();
            for row in 0..scene.rows() {
                shifted.set_token(row, (scene.view().token[row] + 1) % VOCAB as u32);
            }
            let shifted = some.then(|| expect(&table, &shifted));
            for wrong in [misread, shifted] {
                let actual = run(&*kernels, &table, &scene, &out);
                suite.case(&name, CLASS, actual, &expected, wrong.as_ref());
            }
        }
    }
    suite.pure("Q4_1 rows of 64", ROWS_MAX, &prepare);
}

fn run(
    kernels: &dyn Kernels,
    table: &StoredMatrix,
    scene: &Scene,
    out: &Sheet,
) -> Result<Vec<f32>, DeviceError> {
    let weight = kernels.weight(&[table.view()])?;
    let stage = open_stage(kernels)?;
    let buffer = out.upload(kernels)?;
    kernels.stage(stage, scene.view())?;
    kernels.embed(stage, weight, out.mat(buffer))?;
    download(kernels, buffer, out.data.len())
}

fn prepare(kernels: &dyn Kernels) -> Result<Rows<'_>, DeviceError> {
    let table = StoredMatrix::random(DType::Q4_1, VOCAB, 64, &mut Random::new(2));
    let weight = kernels.weight(&[table.view()])?;
    let stage = open_stage(kernels)?;
    let out = Sheet::guarded(ROWS_MAX, 64);
    let buffer = out.upload(kernels)?;
    Ok(Box::new(move |choice| {
        let mut scene = Scene::new(choice[0] as u64);
        scene.sequence(0, choice.len());
        for (i, &row) in choice.iter().enumerate() {
            scene.set_token(i, row as u32);
        }
        kernels.stage(stage, scene.view())?;
        kernels.embed(stage, weight, out.mat(buffer))?;
        let mut answer = out.clone();
        answer.data = download(kernels, buffer, out.data.len())?;
        Ok((0..choice.len()).map(|i| answer.row(i).to_vec()).collect())
    }))
}
