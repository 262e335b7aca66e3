// sample_rows — the tokens that may win each row, and whether the row is sound.
// spec: `echo-kernels-cpu/src/reference/sample_rows.rs`,
// also: `echo-kernels-cuda/cu/sample_rows.cu`
//
//   in   logits  f32[rows, vocab]
//   in   specs   u32[rows, 4]   bits of the temperature, seed (low, high), position
//   out  found   u32[rows, 18]  1 if the row holds a NaN, a +inf or nothing finite, else 0; how
//                               many tokens may win; eight of them at most; bits of their logits
//
// At temperature 0 one token may win, the lowest of the likeliest. Otherwise those may whose logit
// and noise come near the best: the law is stated in 64-bit floats, which devices lack, so the host
// decides among them, and reads the row where they are too many. Rows that are edited, truncated or
// want log-probabilities are the host's altogether.
//
// Launch: one workgroup of 256 lanes a row; a lane takes every 256th four tokens, which share a
// block of noise. Likeliest tokens are compared as keys, integers in the order of the logits, so
// that infinities and NaN need no arithmetic.

struct Params {
    vocab: u32,
    stride: u32,
    col: u32,
}

const LANES = 256u;
const FOUND_MAX = 8u;
const FOUND_WORDS = 18u;
const SIGN = 0x80000000u;
const INFINITY = 0x7f800000u;
// The key of -inf.
const LOWEST = 0x007fffffu;
const NONE = -3e38f;

var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> logits: array<u32>;
@group(0) @binding(1) var<storage, read> specs: array<u32>;
@group(0) @binding(2) var<storage, read_write> found: array<u32>;

var<workgroup> keys: array<u32, LANES>;
var<workgroup> tokens: array<u32, LANES>;
var<workgroup> faults: array<u32, LANES>;
var<workgroup> tops: array<f32, LANES>;
var<workgroup> count: atomic<u32>;

// Both zeros have one key.
fn key(bits: u32) -> u32 {
    return select(bits | SIGN, ~bits, bits > SIGN);
}

// The upper half of a product.
fn mul_high(a: u32, b: u32) -> u32 {
    let first = (a >> 16u) * (b & 0xffffu) + (((a & 0xffffu) * (b & 0xffffu)) >> 16u);
    let second = (a & 0xffffu) * (b >> 16u) + (first & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (first >> 16u) + (second >> 16u);
}

// Philox4x32-10, as echo_core::sampling has it.
fn philox(block: u32, position: u32, seed: vec2<u32>) -> vec4<u32> {
    var c = vec4<u32>(block, position, 0u, 0u);
    var k = seed;
    for (var round = 0u; round < 10u; round++) {
        let left = mul_high(0xD2511F53u, c.x) ^ c.w ^ k.y;
        let right = mul_high(0xCD9E8D57u, c.z) ^ c.y ^ k.x;
        c = vec4<u32>(right, 0xCD9E8D57u * c.z, left, 0xD2511F53u * c.x);
        k += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

// The noise of these bits, to four digits.
fn gumbel(bits: u32) -> f32 {
    let u = (f32(bits) + 0.5) * 0x1p-32f;
    // -ln(1 - u): where u is small by its series, since 1 - u has lost it.
    let series = u * (1.0 + u * (0.5 + u * (0.33333333 + u * 0.25)));
    let rest = -log((f32(~bits) + 0.5) * 0x1p-32f);
    return -log(select(rest, series, u < 0.05));
}

// Logits and noise of the four tokens from `token` on; `NONE` where there is nothing to win.
fn noisy(row: u32, spec: u32, token: u32) -> vec4<f32> {
    let temperature = bitcast<f32>(specs[spec]);
    let seed = vec2<u32>(specs[spec + 1u], specs[spec + 2u]);
    let bits = philox(token / 4u, specs[spec + 3u], seed);
    var all = vec4<f32>(NONE);
    for (var i = 0u; i < 4u; i++) {
        if token + i < p.vocab && key(logits[row + token + i]) != LOWEST {
            all[i] = bitcast<f32>(logits[row + token + i]) / temperature + gumbel(bits[i]);
        }
    }
    return all;
}

// Leaves in lane 0's places the likeliest token, its key, and whether there is a fault.
fn likeliest(row: u32, lane: u32) {
    var best = 0u;
    var token = p.vocab;
    var fault = 0u;
    for (var i = lane; i < p.vocab; i += LANES) {
        let bits = logits[row + i];
        let k = key(bits);
        if bits == INFINITY || (bits & ~SIGN) > INFINITY {
            fault = 1u;
        } else if k > best {
            best = k;
            token = i;
        }
    }
    keys[lane] = best;
    tokens[lane] = token;
    faults[lane] = fault;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            let k = keys[lane + half];
            let t = tokens[lane + half];
            if k > keys[lane] || (k == keys[lane] && t < tokens[lane]) {
                keys[lane] = k;
                tokens[lane] = t;
            }
            faults[lane] |= faults[lane + half];
        }
    }
    workgroupBarrier();
}

// Puts down the tokens that come near the best.
fn contenders(row: u32, spec: u32, to: u32, lane: u32) {
    var top = NONE;
    for (var token = 4u * lane; token < p.vocab; token += 4u * LANES) {
        let all = noisy(row, spec, token);
        top = max(top, max(max(all.x, all.y), max(all.z, all.w)));
    }
    tops[lane] = top;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            tops[lane] = max(tops[lane], tops[lane + half]);
        }
    }
    workgroupBarrier();
    // Ten times what division, noise and sum can be off together.
    let near = tops[0] - 1e-3 - 4e-6 * abs(tops[0]);
    for (var token = 4u * lane; token < p.vocab; token += 4u * LANES) {
        let all = noisy(row, spec, token);
        for (var i = 0u; i < 4u; i++) {
            if all[i] >= near && all[i] > NONE {
                put(row, to, token + i);
            }
        }
    }
}

fn put(row: u32, to: u32, token: u32) {
    let place = atomicAdd(&count, 1u);
    if place < FOUND_MAX {
        found[to + 2u + place] = token;
        found[to + 2u + FOUND_MAX + place] = logits[row + token];
    }
}

@compute @workgroup_size(LANES)
fn sample_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x * p.stride + p.col;
    let spec = group.x * 4u;
    let to = group.x * FOUND_WORDS;
    if lane == 0u {
        atomicStore(&count, 0u);
    }
    likeliest(row, lane);
    if workgroupUniformLoad(&tokens[0]) < p.vocab && specs[spec] != 0u {
        contenders(row, spec, to, lane);
    } else if lane == 0u {
        put(row, to, min(tokens[0], p.vocab - 1u));
    }
    workgroupBarrier();
    if lane == 0u {
        found[to] = select(faults[0], 1u, keys[0] <= LOWEST);
        found[to + 1u] = atomicLoad(&count);
    }
}
