//! Conformance of [`rope_store`](crate::reference::rope_store()).

use super::compare::Class;
use super::purity::{ROWS_MAX, Rows};
use super::random::Random;
use super::scene::{SLOTS, Scene, open_stage};
use super::sheet::{GUARD, Sheet, download, kept, upload, upload_kv};
use super::suite::Suite;
use crate::reference;
use echo_core::DeviceError;
use echo_core::port::{Data, Heads, Kernels};

const CLASS: Class = Class::Close { nmse: 1e-12, worst: 1e-6 };
const POSITIONS: usize = 64;

/// What the operation writes: the rotated matrix, and keys and values, one after another.
struct Written {
    qkv: Vec<f32>,
    kv: Vec<f32>,
}

/// `(cos, sin)` of angles that differ between positions and columns.
fn rope(dim: usize) -> Vec<f32> {
    let angle = |p: usize, i: usize| p as f32 * 0.7f32.powi(i as i32 % 16);
    let pair = |p, i| [angle(p, i).cos(), angle(p, i).sin()];
    (0..POSITIONS).flat_map(|p| (0..dim / 2).flat_map(move |i| pair(p, i))).collect()
}

pub(super) fn check(suite: &mut Suite<'_>) {
    let kernels = suite.open();
    for (n_q, n_kv, dim) in [(1, 1, 2), (9, 3, 64), (4, 4, 34), (6, 1, 128)] {
        let heads = Heads { n_q, n_kv, dim };
        for (cached, nodes) in [(&[][..], 0), (&[0][..], 0), (&[5, 0, 40][..], 6)] {
            let scene = Scene::random(11, cached, nodes);
            let qkv =
                Sheet::changing(scene.rows(), heads.qkv_width(), &mut Random::new(dim as u64));
            let name = format!("{} rows, {n_q} + {n_kv} heads of {dim}", scene.rows());
            match run(&*kernels, heads, &scene, &qkv) {
                Ok(written) => {
                    rotated(suite, &name, heads, &scene, &qkv, &written);
                    let found = stored(suite, &*kernels, &name, heads, &scene, &qkv, &written);
                    if let Err(error) = found {
                        suite.verdict(&name, Err(error.to_string()));
                    }
                }
                Err(error) => suite.verdict(&name, Err(error.to_string())),
            }
        }
    }
    suite.pure("9 + 3 heads of 64", ROWS_MAX, &prepare);
}

/// Checks the matrix. The bugs: a position is off by one; neighbouring columns are rotated
/// together, not the two halves.
fn rotated(
    suite: &mut Suite<'_>,
    name: &str,
    heads: Heads,
    scene: &Scene,
    qkv: &Sheet,
    written: &Written,
) {
    let angles = rope(heads.dim);
    let expect = |scene: &Scene| {
        let (mut out, cache) = (qkv.clone(), vec![GUARD; SLOTS * heads.n_kv * heads.dim]);
        let (mut keys, mut values) = (cache.clone(), cache);
        let (packed, data) = (scene.view(), &mut out.data);
        reference::rope_store(packed, heads, &angles, data, qkv.area, &mut keys, &mut values);
        out
    };
    let expected = expect(scene);
    let mut late = scene.clone();
    for position in &mut late.position {
        *position += 1;
    }
    let mut wrongs = vec![expect(&late)];
    if heads.dim > 2 && scene.rows() > 1 {
        wrongs.push(interleaved(heads, scene, qkv, &expected));
    }
    for wrong in &wrongs {
        let wrong = (scene.rows() > 0).then_some(wrong);
        suite.case(name, CLASS, Ok(written.qkv.clone()), &expected, wrong);
    }
}

/// Checks keys and values: what the device keeps of the columns that the matrix has now. The bugs:
/// rows write each other's slots; keys are stored as they were before.
fn stored(
    suite: &mut Suite<'_>,
    kernels: &dyn Kernels,
    name: &str,
    heads: Heads,
    scene: &Scene,
    qkv: &Sheet,
    written: &Written,
) -> Result<(), DeviceError> {
    let width = heads.n_kv * heads.dim;
    let lay = |scene: &Scene, columns: &[f32]| {
        let mut kv = vec![GUARD; 2 * SLOTS * width];
        for (row, &slot) in scene.view().slot.iter().enumerate() {
            for half in 0..2 {
                let from = qkv.area.at(row, heads.n_q * heads.dim + half * width);
                let to = (half * SLOTS + slot as usize) * width;
                kv[to..to + width].copy_from_slice(&columns[from..from + width]);
            }
        }
        kept(kernels, &kv)
    };
    let expected = lay(scene, &written.qkv)?;
    let mut wrongs = vec![None];
    if scene.rows() > 1 {
        let mut exchanged = scene.clone();
        exchanged.exchange_slots();
        wrongs = vec![Some(lay(&exchanged, &written.qkv)?), Some(lay(scene, &qkv.data)?)];
    }
    let untouched = kept(kernels, &vec![GUARD; 2 * SLOTS * width])?;
    let inside = |i: usize| expected[i].to_bits() != untouched[i].to_bits();
    for wrong in &wrongs {
        let actual = Ok(written.kv.clone());
        suite.buffer(name, Class::Exact, actual, &expected, &inside, wrong.as_deref());
    }
    Ok(())
}

/// `expected` with the rotated columns of a backend that pairs column `2 i` with `2 i + 1`.
fn interleaved(heads: Heads, scene: &Scene, qkv: &Sheet, expected: &Sheet) -> Sheet {
    let Heads { n_q, n_kv, dim } = heads;
    let (mut wrong, angles) = (expected.clone(), rope(dim));
    for (row, &position) in scene.position.iter().enumerate() {
        for pair in 0..(n_q + n_kv) * dim / 2 {
            let at = qkv.area.at(row, 2 * pair);
            let angle = position as usize * dim + 2 * (pair % (dim / 2));
            let (cos, sin) = (angles[angle], angles[angle + 1]);
            let (a, b) = (qkv.data[at], qkv.data[at + 1]);
            wrong.data[at] = a * cos - b * sin;
            wrong.data[at + 1] = b * cos + a * sin;
        }
    }
    wrong
}

fn run(
    kernels: &dyn Kernels,
    heads: Heads,
    scene: &Scene,
    qkv: &Sheet,
) -> Result<Written, DeviceError> {
    let cache = vec![GUARD; SLOTS * heads.n_kv * heads.dim];
    let (keys, values) = (upload_kv(kernels, &cache)?, upload_kv(kernels, &cache)?);
    let rope = upload(kernels, &rope(heads.dim))?;
    let buffer = qkv.upload(kernels)?;
    let stage = open_stage(kernels)?;
    kernels.stage(stage, scene.view())?;
    kernels.rope_store(stage, heads, rope, qkv.mat(buffer), keys, values)?;
    let read = |buffer, len| download(kernels, buffer, len);
    let kv = [read(keys, cache.len())?, read(values, cache.len())?].concat();
    Ok(Written { qkv: read(buffer, qkv.data.len())?, kv })
}

fn prepare(kernels: &dyn Kernels) -> Result<Rows<'_>, DeviceError> {
    let heads = Heads { n_q: 9, n_kv: 3, dim: 64 };
    let qkv = Sheet::changing(ROWS_MAX, heads.qkv_width(), &mut Random::new(4));
    let width = heads.n_kv * heads.dim;
    let cache = vec![GUARD; SLOTS * width];
    let (keys, values) = (upload_kv(kernels, &cache)?, upload_kv(kernels, &cache)?);
    let rope = upload(kernels, &rope(heads.dim))?;
    let buffer = qkv.upload(kernels)?;
    let stage = open_stage(kernels)?;
    Ok(Box::new(move |choice| {
        // Row `r` is at position r % 60, as a root or as a drafted row, in any slot.
        let mut scene = Scene::new(choice.iter().sum::<usize>() as u64);
        let mut chosen = qkv.clone();
        let mut rows = Vec::new();
        for (i, &row) in choice.iter().enumerate() {
            let position = row % 60;
            if position > 0 && (row + choice.len()) % 2 == 0 {
                scene.sequence(position - 1, 1);
                rows.push(scene.drafted(None));
            } else {
                scene.sequence(position, 1);
                rows.push(scene.rows() - 1);
            }
            assert!(rows[i] >= i);
        }
        chosen.rows = scene.rows();
        chosen.data.resize((scene.rows() + 2) * chosen.area.stride, GUARD);
        for (&row, &at) in choice.iter().zip(&rows) {
            chosen.row_mut(at).copy_from_slice(qkv.row(row));
        }
        // Half of the rows are roots nobody asks about; the buffer holds all of them only if it is
        // large enough, so it is made anew.
        let buffer =
            if chosen.data.len() > qkv.data.len() { chosen.upload(kernels)? } else { buffer };
        kernels.write(buffer, 0, Data::F32(&chosen.data))?;
        kernels.stage(stage, scene.view())?;
        kernels.rope_store(stage, heads, rope, chosen.mat(buffer), keys, values)?;
        chosen.data = download(kernels, buffer, chosen.data.len())?;
        let (keys, values) =
            (download(kernels, keys, cache.len())?, download(kernels, values, cache.len())?);
        let answer = |&at: &usize| {
            let stored = scene.view().slot[at] as usize * width..;
            let stored = |cache: &[f32]| cache[stored.clone()][..width].to_vec();
            [chosen.row(at).to_vec(), stored(&keys), stored(&values)].concat()
        };
        Ok(rows.iter().map(answer).collect())
    }))
}
