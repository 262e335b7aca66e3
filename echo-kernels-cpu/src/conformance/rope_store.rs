//! Conformance of [`rope_store`](crate::reference::rope_store()).

use super::compare::Class;
use super::purity::{ROWS_MAX, Rows};
use super::random::Random;
use super::scene::{SLOTS, Scene, open_stage};
use super::sheet::{GUARD, Sheet, download, upload};
use super::suite::Suite;
use crate::reference;
use echo_core::DeviceError;
use echo_core::port::{Data, Heads, Kernels};

const CLASS: Class = Class::Close { nmse: 1e-12, worst: 1e-6 };
const POSITIONS: usize = 64;

/// What the operation writes: the rotated matrix, keys and values, one after another.
fn all(qkv: Vec<f32>, keys: Vec<f32>, values: Vec<f32>) -> Vec<f32> {
    [qkv, keys, values].concat()
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
            let mut random = Random::new(dim as u64);
            let qkv = Sheet::changing(scene.rows(), heads.qkv_width(), &mut random);
            let expect = |scene: &Scene, rope: &[f32]| {
                let (mut out, cache) = (qkv.clone(), vec![GUARD; SLOTS * n_kv * dim]);
                let (mut keys, mut values) = (cache.clone(), cache);
                let data = &mut out.data;
                let packed = scene.view();
                reference::rope_store(packed, heads, rope, data, qkv.area, &mut keys, &mut values);
                all(out.data, keys, values)
            };
            let angles = rope(dim);
            let expected = expect(&scene, &angles);
            // The bugs: a position is off by one; rows write each other's slots; neighbouring
            // columns are rotated together, not the two halves.
            let mut late = scene.clone();
            for position in &mut late.position {
                *position += 1;
            }
            let mut wrongs = vec![expect(&late, &angles)];
            if scene.rows() > 1 {
                let mut exchanged = scene.clone();
                exchanged.exchange_slots();
                wrongs.push(expect(&exchanged, &angles));
            }
            if dim > 2 && scene.rows() > 1 {
                wrongs.push(interleaved(heads, &scene, &qkv, &expected));
            }
            let untouched = [&qkv.data[..], &vec![GUARD; 2 * SLOTS * n_kv * dim]].concat();
            let inside = |i: usize| expected[i].to_bits() != untouched[i].to_bits();
            let name = format!("{} rows, {n_q} + {n_kv} heads of {dim}", scene.rows());
            let actual = run(&*kernels, heads, &scene, &qkv);
            for wrong in &wrongs {
                let wrong = (scene.rows() > 0).then_some(&wrong[..]);
                suite.buffer(&name, CLASS, actual.clone(), &expected, &inside, wrong);
            }
        }
    }
    suite.pure("9 + 3 heads of 64", ROWS_MAX, &prepare);
}

/// `expected` with the rotated columns of a backend that pairs column `2 i` with `2 i + 1`.
fn interleaved(heads: Heads, scene: &Scene, qkv: &Sheet, expected: &[f32]) -> Vec<f32> {
    let Heads { n_q, n_kv, dim } = heads;
    let (mut wrong, angles) = (expected.to_vec(), rope(dim));
    for (row, &position) in scene.position.iter().enumerate() {
        for pair in 0..(n_q + n_kv) * dim / 2 {
            let at = qkv.area.at(row, 2 * pair);
            let angle = position as usize * dim + 2 * (pair % (dim / 2));
            let (cos, sin) = (angles[angle], angles[angle + 1]);
            let (a, b) = (qkv.data[at], qkv.data[at + 1]);
            wrong[at] = a * cos - b * sin;
            wrong[at + 1] = b * cos + a * sin;
        }
    }
    wrong
}

fn run(
    kernels: &dyn Kernels,
    heads: Heads,
    scene: &Scene,
    qkv: &Sheet,
) -> Result<Vec<f32>, DeviceError> {
    let cache = vec![GUARD; SLOTS * heads.n_kv * heads.dim];
    let (keys, values) = (upload(kernels, &cache)?, upload(kernels, &cache)?);
    let rope = upload(kernels, &rope(heads.dim))?;
    let buffer = qkv.upload(kernels)?;
    let stage = open_stage(kernels)?;
    kernels.stage(stage, scene.view())?;
    kernels.rope_store(stage, heads, rope, qkv.mat(buffer), keys, values)?;
    let read = |buffer, len| download(kernels, buffer, len);
    let out = read(buffer, qkv.data.len())?;
    Ok(all(out, read(keys, cache.len())?, read(values, cache.len())?))
}

fn prepare(kernels: &dyn Kernels) -> Result<Rows<'_>, DeviceError> {
    let heads = Heads { n_q: 9, n_kv: 3, dim: 64 };
    let qkv = Sheet::changing(ROWS_MAX, heads.qkv_width(), &mut Random::new(4));
    let width = heads.n_kv * heads.dim;
    let cache = vec![GUARD; SLOTS * width];
    let (keys, values) = (upload(kernels, &cache)?, upload(kernels, &cache)?);
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
            debug_assert!(rows[i] >= i);
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
