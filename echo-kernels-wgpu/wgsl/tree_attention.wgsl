// tree_attention — softmax attention of each row over its prefix and its ancestors.
// spec: `echo-kernels-cpu/src/reference/tree_attention.rs`,
// also: `echo-kernels-cuda/cu/tree_attention.cu`
//
//   in   staged  u32[rows, 8], then the slots they name   see src/staged.rs
//   in   qkv     f32[rows, (n_q + 2 n_kv) dim]   only the q columns are read, already rotated
//   in   keys    f32[slots, n_kv, dim]           only slots a row sees are read
//   in   values  f32[slots, n_kv, dim]           only slots a row sees are read
//   out  out     f32[rows, n_q dim]              another buffer than the inputs
//
// Launch: one workgroup a query head and row; heads over x, rows over y. One online softmax runs
// over blocks of 64 positions, cut at multiples of 64: lane `j` scores position `j` of the block,
// then lane `i` sums columns `i`, `i + 64`, ... of the values, position after position.

struct Params {
    n_q: u32,
    n_kv: u32,
    dim: u32,
    stride: u32,
    col: u32,
    out_stride: u32,
    out_col: u32,
    scale: f32,
}

const LANES = 64u;
const ROW_WORDS = 8u;
const PREFIX_LEN = 3u;
const TABLE_AT = 4u;
const ANCESTORS_AT = 5u;
const ANCESTORS = 6u;
// Less than any score: stands for no position.
const NONE = -3e38f;

// Columns of a lane: dim / 64, rounded up.
override OWNED: u32 = 4u;

var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> staged: array<u32>;
@group(0) @binding(1) var<storage, read> qkv: array<f32>;
@group(0) @binding(2) var<storage, read> keys: array<f32>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

var<workgroup> query: array<f32, 256>;
var<workgroup> places: array<u32, LANES>;
var<workgroup> scores: array<f32, LANES>;
var<workgroup> weights: array<f32, LANES>;

// Where the keys and values of the row's `position` lie.
fn place(row: u32, head: u32, position: u32) -> u32 {
    let info = row * ROW_WORDS;
    let prefix = staged[info + PREFIX_LEN];
    var at = staged[info + TABLE_AT] + position;
    if position >= prefix {
        at = staged[info + ANCESTORS_AT] + position - prefix;
    }
    return (staged[at] * p.n_kv + head) * p.dim;
}

fn score(start: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < p.dim; i++) {
        sum = fma(query[i], keys[start + i], sum);
    }
    return sum;
}

@compute @workgroup_size(LANES)
fn tree_attention(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y;
    let info = row * ROW_WORDS;
    let seen = staged[info + PREFIX_LEN] + staged[info + ANCESTORS];
    let head = group.x / (p.n_q / p.n_kv);
    for (var i = lane; i < p.dim; i += LANES) {
        query[i] = qkv[row * p.stride + p.col + group.x * p.dim + i] * p.scale;
    }
    var largest = NONE;
    var sum = 0.0;
    var sums = vec4<f32>(0.0);
    for (var block = 0u; block < seen; block += LANES) {
        let n = min(LANES, seen - block);
        workgroupBarrier();
        if lane < n {
            let start = place(row, head, block + lane);
            places[lane] = start;
            scores[lane] = score(start);
        }
        workgroupBarrier();
        var next = largest;
        for (var j = 0u; j < n; j++) {
            next = max(next, scores[j]);
        }
        if lane < n {
            weights[lane] = exp(scores[lane] - next);
        }
        workgroupBarrier();
        let fade = exp(largest - next);
        largest = next;
        sum *= fade;
        sums *= fade;
        for (var j = 0u; j < n; j++) {
            let w = weights[j];
            sum += w;
            for (var o = 0u; o < OWNED; o++) {
                let i = o * LANES + lane;
                if i < p.dim {
                    sums[o] = fma(w, values[places[j] + i], sums[o]);
                }
            }
        }
    }
    for (var o = 0u; o < OWNED; o++) {
        let i = o * LANES + lane;
        if i < p.dim {
            out[row * p.out_stride + p.out_col + group.x * p.dim + i] = sums[o] / sum;
        }
    }
}
