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
// the values, so that infinities and NaN need no arithmetic. A stripe is every 256th column: each
// lane finds the best of its own; when that wins, all lanes look through its stripe for the next.
// Sums: a stripe a lane, then a tree of fixed shape.

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

// The best column of each stripe that has not won yet, and its key; 0 where none is left.
var<workgroup> keys: array<u32, LANES>;
var<workgroup> columns: array<u32, LANES>;
// What is compared.
var<workgroup> rival_keys: array<u32, LANES>;
var<workgroup> rivals: array<u32, LANES>;
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

// Leaves the best of all lanes' `column` and its key in lane 0's places.
fn compete(lane: u32, column: u32, key: u32) {
    rival_keys[lane] = key;
    rivals[lane] = column;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            let k = rival_keys[lane + half];
            let i = rivals[lane + half];
            if k > rival_keys[lane] || (k == rival_keys[lane] && i < rivals[lane]) {
                rival_keys[lane] = k;
                rivals[lane] = i;
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
    var best = 0u;
    var column = p.width;
    for (var i = lane; i < p.width; i += LANES) {
        let k = key(x[row + i]);
        if k > best {
            best = k;
            column = i;
        }
    }
    keys[lane] = best;
    columns[lane] = column;
    var largest = 0.0;
    for (var n = 0u; n < p.k; n++) {
        compete(lane, columns[lane], keys[lane]);
        let limit = rival_keys[0];
        let last = rivals[0];
        if n == 0u {
            largest = bitcast<f32>(value_bits(limit));
        }
        if lane == 0u {
            found[to + n] = last;
            found[to + p.k + n] = value_bits(limit);
        }
        workgroupBarrier();
        // What comes after the winner in its stripe.
        let stripe = last % LANES;
        best = 0u;
        column = p.width;
        for (var i = stripe + lane * LANES; i < p.width; i += LANES * LANES) {
            let k = key(x[row + i]);
            let is_left = k < limit || (k == limit && i > last);
            if is_left && k > best {
                best = k;
                column = i;
            }
        }
        compete(lane, column, best);
        if lane == 0u {
            keys[stripe] = rival_keys[0];
            columns[stripe] = rivals[0];
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
