//! Conformance of [`linear`](crate::reference::linear()).

use super::compare::Class;
use super::purity::{ROWS_MAX, Rows};
use super::random::Random;
use super::sheet::{Sheet, download};
use super::stored::{DTYPES, StoredMatrix};
use super::suite::Suite;
use crate::reference;
use echo_core::port::{Data, Kernels};
use echo_core::{DType, DeviceError, TensorView};

/// Activations may be rounded to 8 bits per block of 32 where weights are quantised.
const QUANTISED: Class = Class::Close { nmse: 1e-3, worst: 5e-2 };
/// Activations may be rounded to the type of the weights.
const BF16: Class = Class::Close { nmse: 1e-5, worst: 5e-3 };
const FLOAT: Class = Class::Close { nmse: 1e-10, worst: 1e-5 };

fn class(dtype: DType) -> Class {
    match dtype {
        DType::F32 | DType::F16 => FLOAT,
        DType::BF16 => BF16,
        DType::Q4_0 | DType::Q4_1 | DType::Q8_0 | DType::Q4K | DType::Q6K => QUANTISED,
    }
}

pub(super) fn check(suite: &mut Suite<'_>) {
    let kernels = suite.open();
    for dtype in DTYPES {
        for (rows, n, cols) in [(0, 3, 32), (1, 1, 1), (2, 17, 96), (5, 33, 576), (33, 64, 256)] {
            let mut random = Random::new(n as u64);
            let weight = StoredMatrix::random(dtype, n, cols, &mut random);
            one(suite, &*kernels, rows, &[&weight], class(dtype), &mut random);
        }
    }
    // Parts of different types, one below the other, as queries, keys and values are.
    let mut random = Random::new(5);
    let part = |dtype, n, random: &mut Random| StoredMatrix::random(dtype, n, 512, random);
    let q = part(DType::Q4K, 19, &mut random);
    let k = part(DType::Q4K, 5, &mut random);
    let v = part(DType::Q6K, 5, &mut random);
    one(suite, &*kernels, 6, &[&q, &k, &v], QUANTISED, &mut random);
    for dtype in DTYPES {
        let name = format!("{dtype}, 33 x 768");
        suite.pure(&name, ROWS_MAX, &|kernels| prepare(kernels, dtype, 768, ROWS_MAX));
    }
    for dtype in [DType::F32, DType::Q4_1] {
        for cols in [256, 1280] {
            let name = format!("{dtype}, 33 x {cols}");
            suite.pure(&name, ROWS_MAX, &|kernels| prepare(kernels, dtype, cols, ROWS_MAX));
        }
        many(suite, &*kernels, dtype);
    }
}

fn one(
    suite: &mut Suite<'_>,
    kernels: &dyn Kernels,
    rows: usize,
    parts: &[&StoredMatrix],
    class: Class,
    random: &mut Random,
) {
    let n: usize = parts.iter().map(|part| part.rows).sum();
    let cols = parts[0].cols;
    let x = Sheet::random(rows, cols, random);
    let out = Sheet::guarded(rows, n);
    let expect = |parts: &[&StoredMatrix], x: &Sheet| {
        let (mut weight, mut values, mut out) = (Vec::new(), Vec::new(), out.clone());
        for part in parts {
            reference::dequant::dequantize(&part.view(), &mut values);
            weight.append(&mut values);
        }
        reference::linear(rows, &weight, &x.data, x.area, &mut out.data, out.area);
        out
    };
    let actual = run(kernels, parts, &x, &out);
    let name = format!("{} parts of {}, {rows} x {n} x {cols}", parts.len(), parts[0].dtype);
    // The bugs: a part of the format is forgotten; the last block of columns is dropped; parts
    // stand in another order.
    let misread: Vec<StoredMatrix> = parts.iter().map(|part| part.misread()).collect();
    let misread = (rows > 0).then(|| expect(&misread.iter().collect::<Vec<_>>(), &x));
    let mut cut = x.clone();
    for row in 0..rows {
        cut.row_mut(row)[cols - parts[0].dtype.block_len()..].fill(0.0);
    }
    let cut = (rows > 0).then(|| expect(parts, &cut));
    let expected = expect(parts, &x);
    for wrong in [misread, cut] {
        suite.case(&name, class, actual.clone(), &expected, wrong.as_ref());
    }
    if parts.len() > 1 {
        let reversed: Vec<&StoredMatrix> = parts.iter().rev().copied().collect();
        suite.case(&name, class, actual, &expected, Some(&expect(&reversed, &x)));
    }
}

fn run(
    kernels: &dyn Kernels,
    parts: &[&StoredMatrix],
    x: &Sheet,
    out: &Sheet,
) -> Result<Vec<f32>, DeviceError> {
    let views: Vec<TensorView<'_>> = parts.iter().map(|part| part.view()).collect();
    let weight = kernels.weight(&views)?;
    let (a, b) = (x.upload(kernels)?, out.upload(kernels)?);
    kernels.linear(x.rows, weight, x.mat(a), out.mat(b))?;
    download(kernels, b, out.data.len())
}

/// Far more rows than [`ROWS_MAX`], as prompts have them, each of which must come out as alone.
fn many(suite: &mut Suite<'_>, kernels: &dyn Kernels, dtype: DType) {
    const ROWS: usize = 4 * ROWS_MAX + 1;
    let together = || {
        let mut run = prepare(kernels, dtype, 768, ROWS).map_err(|error| error.to_string())?;
        let mut answers = |rows: &[usize]| run(rows).map_err(|error| error.to_string());
        let all = answers(&(0..ROWS).collect::<Vec<_>>())?;
        for row in (0..ROWS).step_by(50) {
            let alone = &answers(&[row])?[0];
            if alone.iter().zip(&all[row]).any(|(a, b)| a.to_bits() != b.to_bits()) {
                return Err(format!("row {row} is not what it is alone"));
            }
        }
        Ok(())
    };
    suite.verdict(&format!("{dtype}, {ROWS} rows"), together());
}

fn prepare(
    kernels: &dyn Kernels,
    dtype: DType,
    cols: usize,
    rows_max: usize,
) -> Result<Rows<'_>, DeviceError> {
    let mut random = Random::new(3);
    let weight = StoredMatrix::random(dtype, 33, cols, &mut random);
    let weight = kernels.weight(&[weight.view()])?;
    let x = Sheet::random(rows_max, cols, &mut random);
    let out = Sheet::guarded(rows_max, 33);
    let (a, b) = (x.upload(kernels)?, out.upload(kernels)?);
    Ok(Box::new(move |choice| {
        let mut chosen = x.clone();
        for (i, &row) in choice.iter().enumerate() {
            chosen.row_mut(i).copy_from_slice(x.row(row));
        }
        kernels.write(a, 0, Data::F32(&chosen.data))?;
        kernels.linear(choice.len(), weight, x.mat(a), out.mat(b))?;
        let mut answer = out.clone();
        answer.data = download(kernels, b, out.data.len())?;
        Ok((0..choice.len()).map(|i| answer.row(i).to_vec()).collect())
    }))
}
