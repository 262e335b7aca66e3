// rope_store — rotates q and k by position, then writes k and v into the row's slot.
// spec: `echo-kernels-cpu/src/reference/rope_store.rs`,
// also: `echo-kernels-cuda/cu/rope_store.cu`
//
//   in      staged  u32[rows, 8]                   see src/staged.rs; position and slot are read
//   in      rope    f32[positions, dim / 2, 2]     cosine, sine
//   in out  qkv     f32[rows, (n_q + 2 n_kv) dim]  q and k are rotated in place, v is read
//   out     keys    f32[slots, n_kv, dim]          only the rows' slots are written
//   out     values  f32[slots, n_kv, dim]          only the rows' slots are written
//
// Launch: one invocation a pair of columns or a column of v; rows over y.

struct Params {
    n_q: u32,
    n_kv: u32,
    dim: u32,
    stride: u32,
    col: u32,
}

const ROW_WORDS = 8u;
const POSITION = 1u;
const SLOT = 2u;

var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> staged: array<u32>;
@group(0) @binding(1) var<storage, read> rope: array<f32>;
@group(0) @binding(2) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(3) var<storage, read_write> keys: array<f32>;
@group(0) @binding(4) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(64)
fn rope_store(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y;
    let start = row * p.stride + p.col;
    let place = staged[row * ROW_WORDS + SLOT] * p.n_kv * p.dim;
    let half = p.dim / 2u;
    let pairs = (p.n_q + p.n_kv) * half;
    let at = group.x * 64u + lane;
    if at < pairs {
        let head = at / half;
        let i = at % half;
        let angle = staged[row * ROW_WORDS + POSITION] * p.dim + 2u * i;
        let cosine = rope[angle];
        let sine = rope[angle + 1u];
        let low = start + head * p.dim + i;
        let a = qkv[low];
        let b = qkv[low + half];
        let rotated = vec2<f32>(a * cosine - b * sine, b * cosine + a * sine);
        qkv[low] = rotated.x;
        qkv[low + half] = rotated.y;
        if head >= p.n_q {
            let to = place + (head - p.n_q) * p.dim + i;
            keys[to] = rotated.x;
            keys[to + half] = rotated.y;
        }
    } else if at < pairs + p.n_kv * p.dim {
        let i = at - pairs;
        values[place + i] = qkv[start + (p.n_q + p.n_kv) * p.dim + i];
    }
}
