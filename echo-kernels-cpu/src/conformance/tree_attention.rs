//! Conformance of [`tree_attention`](crate::reference::tree_attention()).

use super::compare::Class;
use super::purity::{ROWS_MAX, Rows};
use super::random::Random;
use super::scene::{SLOTS, Scene, open_stage};
use super::sheet::{GUARD, Sheet, download, kept, upload_kv};
use super::suite::Suite;
use crate::reference;
use echo_core::DeviceError;
use echo_core::port::{Data, Heads, Kernels};

const CLASS: Class = Class::Close { nmse: 1e-10, worst: 1e-5 };

/// Keys and values of every slot; slots nobody sees are poison.
#[derive(Clone)]
struct Cache {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Cache {
    fn poison(heads: Heads) -> Self {
        let cache = vec![GUARD; SLOTS * heads.n_kv * heads.dim];
        Cache { keys: cache.clone(), values: cache }
    }

    /// Writes what stands at `position` of text `text` into `slot`, which may have it already.
    fn put(&mut self, heads: Heads, slot: u32, text: usize, position: usize) {
        let width = heads.n_kv * heads.dim;
        let at = slot as usize * width;
        if self.keys[at].to_bits() != GUARD.to_bits() {
            return;
        }
        let mut random = Random::new((text * 10_007 + position) as u64);
        self.keys[at..at + width].copy_from_slice(&random.activations(width));
        self.values[at..at + width].copy_from_slice(&random.activations(width));
    }

    /// What the device keeps of it, and so attends to.
    fn kept(&self, kernels: &dyn Kernels) -> Result<Self, DeviceError> {
        Ok(Cache { keys: kept(kernels, &self.keys)?, values: kept(kernels, &self.values)? })
    }
}

pub(super) fn check(suite: &mut Suite<'_>) {
    let kernels = suite.open();
    let shapes = [(1, 1, 2), (9, 3, 64), (4, 4, 34), (6, 1, 128)];
    let lengths = [&[][..], &[0], &[1, 15, 0, 16], &[17, 64, 200], &[1000], &[4096]];
    for (n_q, n_kv, dim) in shapes {
        let heads = Heads { n_q, n_kv, dim };
        // The longest for one shape: the reference takes most of the time of this file.
        let lengths = if dim == 64 { &lengths[..] } else { &lengths[..5] };
        for (c, &cached) in lengths.iter().enumerate() {
            let scene = Scene::random(c as u64, cached, if cached.len() == 1 { 3 } else { 7 });
            let mut cache = Cache::poison(heads);
            for s in 0..cached.len() {
                for row in scene.view().rows_of(s) {
                    for (position, slot) in scene.seen(s, row).into_iter().enumerate() {
                        cache.put(heads, slot, s, position);
                    }
                }
            }
            match cache.kept(&*kernels) {
                Ok(cache) => cases(suite, &*kernels, heads, &scene, &cache),
                Err(error) => suite.verdict("keys and values", Err(error.to_string())),
            }
        }
    }
    one_hot(suite, &*kernels);
    suite.pure("9 + 3 heads of 64", ROWS_MAX, &near);
    suite.pure("2 + 1 heads of 16, far", FAR.len(), &far);
}

/// One scene against the reference, and against what likely bugs would answer.
fn cases(suite: &mut Suite<'_>, kernels: &dyn Kernels, heads: Heads, scene: &Scene, cache: &Cache) {
    let mut random = Random::new(heads.dim as u64);
    let qkv = Sheet::random(scene.rows(), heads.qkv_width(), &mut random);
    let out = Sheet::guarded(scene.rows(), heads.n_q * heads.dim);
    let expect = |scene: &Scene, qkv: &Sheet| {
        let mut out = out.clone();
        let (keys, values) = (&cache.keys, &cache.values);
        let into = &mut out.data;
        let packed = scene.view();
        reference::tree_attention(packed, heads, &qkv.data, qkv.area, keys, values, into, out.area);
        out
    };
    let name = format!(
        "{} rows, {} sequences, {} + {} heads of {}",
        scene.rows(),
        scene.view().n_seqs(),
        heads.n_q,
        heads.n_kv,
        heads.dim
    );
    let actual = run(kernels, heads, scene, &qkv, cache, &out);
    let expected = expect(scene, &qkv);
    // The bugs: a wrong mask; query heads that read the keys of another group.
    let mut wrongs: Vec<Sheet> = scene.bent().iter().map(|wrong| expect(wrong, &qkv)).collect();
    wrongs.extend(regrouped(heads, &qkv, |qkv| expect(scene, qkv)));
    if wrongs.is_empty() {
        suite.case(&name, CLASS, actual.clone(), &expected, None);
    }
    for wrong in &wrongs {
        suite.case(&name, CLASS, actual.clone(), &expected, Some(wrong));
    }
}

/// What a backend answers that gives query head `h` the key head `h % n_kv`.
fn regrouped(heads: Heads, qkv: &Sheet, answer: impl Fn(&Sheet) -> Sheet) -> Option<Sheet> {
    let Heads { n_q, n_kv, dim } = heads;
    let place = |h: usize| h % n_kv * (n_q / n_kv) + h / n_kv;
    if qkv.rows == 0 || (0..n_q).all(|h| place(h) == h) {
        return None;
    }
    let mut moved = qkv.clone();
    for (row, h) in (0..qkv.rows).flat_map(|row| (0..n_q).map(move |h| (row, h))) {
        let head = &qkv.row(row)[h * dim..][..dim];
        moved.row_mut(row)[place(h) * dim..][..dim].copy_from_slice(head);
    }
    let answered = answer(&moved);
    let mut wrong = answered.clone();
    for (row, h) in (0..qkv.rows).flat_map(|row| (0..n_q).map(move |h| (row, h))) {
        let head = &answered.row(row)[place(h) * dim..][..dim];
        wrong.row_mut(row)[h * dim..][..dim].copy_from_slice(head);
    }
    Some(wrong)
}

/// With equal keys every visible slot weighs the same, and with one-hot values the answer *is* the
/// mask: `1/n` in the columns of the slots a row sees and 0 elsewhere.
fn one_hot(suite: &mut Suite<'_>, kernels: &dyn Kernels) {
    let heads = Heads { n_q: 1, n_kv: 1, dim: 128 };
    // More drafted rows than one word of an ancestor set has bits.
    let scene = Scene::random(21, &[7], 100);
    let mut cache = Cache::poison(heads);
    let slots: Vec<u32> =
        scene.view().table.iter().chain(&scene.view().slot[scene.drafted_of(0)]).copied().collect();
    for (column, &slot) in slots.iter().enumerate() {
        let at = slot as usize * heads.dim;
        cache.keys[at..at + heads.dim].fill(1.0);
        cache.values[at..at + heads.dim].fill(0.0);
        cache.values[at + column] = 1.0;
    }
    let qkv = Sheet::random(scene.rows(), heads.qkv_width(), &mut Random::new(1));
    let out = Sheet::guarded(scene.rows(), heads.dim);
    let mask = |scene: &Scene| {
        let mut out = out.clone();
        for row in 0..scene.rows() {
            let seen = scene.seen(0, row);
            out.row_mut(row).fill(0.0);
            for slot in &seen {
                let column = slots.iter().position(|s| s == slot).expect("a slot of the scene");
                out.row_mut(row)[column] = 1.0 / seen.len() as f32;
            }
        }
        out
    };
    for wrong in scene.bent() {
        let actual = run(kernels, heads, &scene, &qkv, &cache, &out);
        suite.case("one-hot mask", CLASS, actual, &mask(&scene), Some(&mask(&wrong)));
    }
}

fn run(
    kernels: &dyn Kernels,
    heads: Heads,
    scene: &Scene,
    qkv: &Sheet,
    cache: &Cache,
    out: &Sheet,
) -> Result<Vec<f32>, DeviceError> {
    let (keys, values) = (upload_kv(kernels, &cache.keys)?, upload_kv(kernels, &cache.values)?);
    let (from, into) = (qkv.upload(kernels)?, out.upload(kernels)?);
    let stage = open_stage(kernels)?;
    kernels.stage(stage, scene.view())?;
    kernels.tree_attention(stage, heads, qkv.mat(from), keys, values, out.mat(into))?;
    download(kernels, into, out.data.len())
}

/// Positions that a row sees: around the blocks of 64 that backends work by, and the splits of 512
/// that some divide long rows into.
const FAR: [usize; 8] = [1, 64, 65, 200, 511, 513, 1030, 1500];

fn near(kernels: &dyn Kernels) -> Result<Rows<'_>, DeviceError> {
    let lengths: Vec<usize> = (0..ROWS_MAX).map(|row| 2 * row + 1).collect();
    prepare(kernels, Heads { n_q: 9, n_kv: 3, dim: 64 }, lengths)
}

fn far(kernels: &dyn Kernels) -> Result<Rows<'_>, DeviceError> {
    prepare(kernels, Heads { n_q: 2, n_kv: 1, dim: 16 }, FAR.to_vec())
}

/// Row `r` sees `lengths[r]` positions of text `r`. How many of them are cached, context rows or
/// drafted rows, who its siblings are and which slots hold them differs from call to call.
fn prepare(
    kernels: &dyn Kernels,
    heads: Heads,
    lengths: Vec<usize>,
) -> Result<Rows<'_>, DeviceError> {
    let queries = Sheet::random(lengths.len(), heads.qkv_width(), &mut Random::new(4));
    let empty = Cache::poison(heads);
    let (keys, values) = (upload_kv(kernels, &empty.keys)?, upload_kv(kernels, &empty.values)?);
    let rows_max = lengths.len() * 10;
    let qkv = Sheet::guarded(rows_max, heads.qkv_width());
    let out = Sheet::guarded(rows_max, heads.n_q * heads.dim);
    let (from, into) = (qkv.upload(kernels)?, out.upload(kernels)?);
    let stage = open_stage(kernels)?;
    Ok(Box::new(move |choice| {
        let mut random = Random::new(choice.iter().sum::<usize>() as u64 + choice.len() as u64);
        let mut scene = Scene::new(random.bits());
        let mut cache = empty.clone();
        let mut qkv = qkv.clone();
        let mut rows = Vec::new();
        for (s, &text) in choice.iter().enumerate() {
            let (row, siblings) = arrange(&mut scene, lengths[text], &mut random);
            for (position, slot) in scene.seen(s, row).into_iter().enumerate() {
                cache.put(heads, slot, text, position);
            }
            for sibling in siblings {
                cache.put(heads, scene.view().slot[sibling], 999, sibling);
            }
            rows.push(row);
        }
        for row in 0..scene.rows() {
            qkv.row_mut(row).fill(0.5);
        }
        for (&text, &row) in choice.iter().zip(&rows) {
            qkv.row_mut(row).copy_from_slice(queries.row(text));
        }
        kernels.write(from, 0, Data::F32(&qkv.data))?;
        kernels.write(keys, 0, Data::F32(&cache.keys))?;
        kernels.write(values, 0, Data::F32(&cache.values))?;
        kernels.stage(stage, scene.view())?;
        kernels.tree_attention(stage, heads, qkv.mat(from), keys, values, out.mat(into))?;
        let mut answer = out.clone();
        answer.data = download(kernels, into, out.data.len())?;
        Ok(rows.iter().map(|&row| answer.row(row).to_vec()).collect())
    }))
}

/// Adds a sequence with a row that sees `length` positions; returns that row, and rows beside its
/// path.
fn arrange(scene: &mut Scene, length: usize, random: &mut Random) -> (usize, Vec<usize>) {
    let drafted = random.below(length.min(4));
    let committed = 1 + random.below((length - drafted).min(3));
    scene.sequence(length - drafted - committed, committed);
    let (mut parent, mut siblings) = (None, Vec::new());
    let mut row = scene.rows() - 1;
    for _ in 0..drafted {
        if random.below(2) == 0 {
            siblings.push(scene.drafted(parent));
        }
        row = scene.drafted(parent);
        parent = Some(row);
    }
    (row, siblings)
}
