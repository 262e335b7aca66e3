// topk_logprob — what a drafter proposes after each of its rows.
// spec: `echo-kernels-cpu/src/reference/topk_logprob.rs`,
// also: `echo-kernels-cuda/cu/topk_logprob.cu`
//
//   in   x      f32[rows, width]
//   in   k      1..=width
//   out  found  u32[rows, 2 k + 1]   k columns, the bits of their values, and of the sum of
//                                    exp(x - max) over the row; the host takes the logarithm
//
// Launch: one workgroup of 256 lanes a row. Values are compared as keys, integers in the order of
// the values, so that infinities and NaN need no arithmetic; the next best column is the best of
// those that come after the last one. Sums: every 256th column a lane, then a tree of fixed shape.

struct Params {
    width: u32,
    stride: u32,
    col: u32,
    k: u32,
}

const LANES = 256u;
const SIGN = 0x80000000u;
const INFINITY = 0x7f800000u;
// The key of -inf, which NaN has too.
const LOWEST = 0x007fffffu;

var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> found: array<u32>;

var<workgroup> keys: array<u32, LANES>;
var<workgroup> columns: array<u32, LANES>;
var<workgroup> sums: array<f32, LANES>;

fn key(bits: u32) -> u32 {
    if (bits & ~SIGN) > INFINITY {
        return LOWEST;
    }
    return select(bits | SIGN, ~bits, (bits & SIGN) != 0u);
}

fn value_bits(key: u32) -> u32 {
    return select(~key, key & ~SIGN, (key & SIGN) != 0u);
}

// Leaves the best column after column `last` of key `limit` in lane 0's places; the first of all if
// `all`.
fn next_best(row: u32, lane: u32, all: bool, limit: u32, last: u32) {
    var best = 0u;
    var column = p.width;
    for (var i = lane; i < p.width; i += LANES) {
        let k = key(x[row + i]);
        let open = all || k < limit || (k == limit && i > last);
        if open && (column == p.width || k > best) {
            best = k;
            column = i;
        }
    }
    keys[lane] = best;
    columns[lane] = column;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            let k = keys[lane + half];
            let i = columns[lane + half];
            if k > keys[lane] || (k == keys[lane] && i < columns[lane]) {
                keys[lane] = k;
                columns[lane] = i;
            }
        }
    }
    workgroupBarrier();
}

@compute @workgroup_size(LANES)
fn topk_logprob(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x * p.stride + p.col;
    let to = group.x * (2u * p.k + 1u);
    var limit = 0u;
    var last = 0u;
    var largest = 0.0;
    for (var i = 0u; i < p.k; i++) {
        next_best(row, lane, i == 0u, limit, last);
        limit = keys[0];
        last = columns[0];
        if i == 0u {
            largest = bitcast<f32>(value_bits(limit));
        }
        if lane == 0u {
            found[to + i] = last;
            found[to + p.k + i] = value_bits(limit);
        }
        workgroupBarrier();
    }
    var sum = 0.0;
    for (var i = lane; i < p.width; i += LANES) {
        let k = key(x[row + i]);
        if k != LOWEST {
            sum += exp(bitcast<f32>(value_bits(k)) - largest);
        }
    }
    sums[lane] = sum;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            sums[lane] += sums[lane + half];
        }
    }
    if lane == 0u {
        found[to + 2u * p.k] = bitcast<u32>(sums[0]);
    }
}
