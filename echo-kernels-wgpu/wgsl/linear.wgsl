// linear — multiplies each row by a weight matrix.
// spec: `echo-kernels-cpu/src/reference/linear.rs`, also: `echo-kernels-cuda/cu/linear.cu`
//
//   in   x       f32[rows, cols]
//   in   weight  weight[width, cols]   packed as src/packed.rs says
//   out  out     f32[rows, width]      another buffer than x
//
// Launch: a workgroup of 64 lanes computes COLS = 64 / SEGMENTS columns of ROWS rows; columns over
// x, rows over y. The weights of a column are cut into groups of 32; lane `s * COLS + c` sums the
// groups that are `s` modulo SEGMENTS of column `c`, four weights at a time in four sums. So the
// order of a sum depends on the number of columns and on SEGMENTS, which is one number for a
// device, and never on ROWS: rows may be taken in twos or eights, as there are many or few.
//
// x is staged 256 columns at a time: it is read once for all columns of a workgroup.

struct Params {
    rows: u32,
    cols: u32,
    width: u32,
    units: u32,
    x_stride: u32,
    x_col: u32,
    out_stride: u32,
    out_col: u32,
}

const LANES = 64u;
const TILE = 256u;
const TILE_VECS = 64u;
const F32 = 0u;
const F16 = 1u;
const BF16 = 2u;
const Q4_0 = 3u;
const Q4_1 = 4u;
const Q8_0 = 5u;
const Q4_K = 6u;

override FORMAT: u32 = 0u;
// Groups of 32 weights in a unit, and its words.
override GROUPS: u32 = 1u;
override UNIT_WORDS: u32 = 32u;
override SEGMENTS: u32 = 1u;
// Rows of a workgroup: 1, 4 or 8.
override ROWS: u32 = 8u;

var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> weight: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

// Rows of x, four columns in a vector; later the sums of the lanes.
var<workgroup> tile: array<vec4<f32>, 512>;
var<workgroup> partial: array<f32, 512>;

// Where the unit begins; its words are 32 apart.
var<private> unit: u32;
// The sums of four rows each, one row a column.
var<private> low: mat4x4<f32>;
var<private> high: mat4x4<f32>;

fn word(i: u32) -> u32 {
    return weight[unit + i * 32u];
}

// An f16 in the low half of `bits`, by integers: devices differ in what they do to small ones.
fn half(bits: u32) -> f32 {
    let magnitude = bits & 0x7fffu;
    let small = f32(magnitude) * 0x1p-24f;
    let rebased = select(magnitude + 0x1c000u, magnitude + 0x38000u, magnitude >= 0x7c00u);
    let value = select(bitcast<f32>(rebased << 13u), small, magnitude < 0x400u);
    return select(value, -value, (bits & 0x8000u) != 0u);
}

fn bytes(w: u32) -> vec4<u32> {
    return (vec4<u32>(w) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
}

fn nibbles(w: u32, shift: u32) -> vec4<f32> {
    return vec4<f32>(bytes((w >> shift) & 0x0f0f0f0fu));
}

fn signed_bytes(w: u32) -> vec4<f32> {
    let shifted = vec4<u32>(w) << vec4<u32>(24u, 16u, 8u, 0u);
    return vec4<f32>(bitcast<vec4<i32>>(shifted) >> vec4<u32>(24u));
}

fn halves(a: u32, b: u32) -> vec4<f32> {
    return vec4<f32>(half(a), half(a >> 16u), half(b), half(b >> 16u));
}

fn upper_halves(a: u32, b: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(a << 16u, a & 0xffff0000u, b << 16u, b & 0xffff0000u));
}

// Adds the products of four weights with vector `at` of each row of the tile.
fn mul(w: vec4<f32>, at: u32) {
    low[0] = fma(w, tile[at], low[0]);
    if ROWS > 1u {
        low[1] = fma(w, tile[at + TILE_VECS], low[1]);
        low[2] = fma(w, tile[at + 2u * TILE_VECS], low[2]);
        low[3] = fma(w, tile[at + 3u * TILE_VECS], low[3]);
    }
    if ROWS > 4u {
        high[0] = fma(w, tile[at + 4u * TILE_VECS], high[0]);
        high[1] = fma(w, tile[at + 5u * TILE_VECS], high[1]);
        high[2] = fma(w, tile[at + 6u * TILE_VECS], high[2]);
        high[3] = fma(w, tile[at + 7u * TILE_VECS], high[3]);
    }
}

fn floats(at: u32) {
    for (var i = 0u; i < 8u; i++) {
        if FORMAT == F32 {
            let j = 4u * i;
            let words = vec4<u32>(word(j), word(j + 1u), word(j + 2u), word(j + 3u));
            mul(bitcast<vec4<f32>>(words), at + i);
        } else if FORMAT == F16 {
            mul(halves(word(2u * i), word(2u * i + 1u)), at + i);
        } else {
            mul(upper_halves(word(2u * i), word(2u * i + 1u)), at + i);
        }
    }
}

fn q4(at: u32) {
    let d = half(word(0u));
    let minimum = vec4<f32>(select(half(word(0u) >> 16u), -8.0 * d, FORMAT == Q4_0));
    for (var i = 0u; i < 4u; i++) {
        let w = word(1u + i);
        mul(fma(nibbles(w, 0u), vec4<f32>(d), minimum), at + i);
        mul(fma(nibbles(w, 4u), vec4<f32>(d), minimum), at + i + 4u);
    }
}

fn q8_0(at: u32) {
    let d = half(word(0u));
    for (var i = 0u; i < 8u; i++) {
        mul(signed_bytes(word(1u + i)) * d, at + i);
    }
}

// Scale and minimum of a group, six bits each, from words 1 to 3.
fn q4_k_scale(group: u32) -> vec2<u32> {
    let shift = 8u * (group % 4u);
    let scale = (word(1u) >> shift) & 255u;
    let minimum = (word(2u) >> shift) & 255u;
    if group < 4u {
        return vec2<u32>(scale & 63u, minimum & 63u);
    }
    let lows = (word(3u) >> shift) & 255u;
    let highs = vec2<u32>(scale >> 6u, minimum >> 6u) << vec2<u32>(4u);
    return vec2<u32>(lows & 15u, lows >> 4u) | highs;
}

fn q4_k(group: u32, at: u32) {
    let scale = vec2<f32>(q4_k_scale(group));
    let d = vec4<f32>(half(word(0u)) * scale.x);
    let minimum = vec4<f32>(-half(word(0u) >> 16u) * scale.y);
    for (var i = 0u; i < 8u; i++) {
        let w = word(4u + group / 2u * 8u + i);
        mul(fma(nibbles(w, 4u * (group % 2u)), d, minimum), at + i);
    }
}

fn q6_k(group: u32, at: u32) {
    let d = half(word(52u));
    let side = group / 4u;
    let run = group % 4u;
    // Signed bytes 2 run and 2 run + 1 of the side's scales.
    let scales = word(48u + side * 2u + run / 2u) >> (16u * (run % 2u));
    let pair = signed_bytes(scales).xy * d;
    for (var i = 0u; i < 8u; i++) {
        let lows = word(side * 16u + run % 2u * 8u + i) >> (4u * (run / 2u));
        let highs = word(32u + side * 8u + i) >> (2u * run);
        let q = bytes((lows & 0x0f0f0f0fu) | ((highs & 0x03030303u) << 4u));
        mul((vec4<f32>(q) - 32.0) * select(pair.x, pair.y, i >= 4u), at + i);
    }
}

fn take(group: u32, at: u32) {
    if FORMAT <= BF16 {
        floats(at);
    } else if FORMAT == Q4_0 || FORMAT == Q4_1 {
        q4(at);
    } else if FORMAT == Q8_0 {
        q8_0(at);
    } else if FORMAT == Q4_K {
        q4_k(group, at);
    } else {
        q6_k(group, at);
    }
}

fn value(row: u32, col: u32) -> f32 {
    if row < p.rows && col < p.cols {
        return x[row * p.x_stride + p.x_col + col];
    }
    return 0.0;
}

// Columns `first..first + TILE` of the workgroup's rows; zeros where there are none.
fn stage(first: u32, first_row: u32, lane: u32) {
    for (var at = lane; at < ROWS * TILE_VECS; at += LANES) {
        let row = first_row + at / TILE_VECS;
        let col = first + at % TILE_VECS * 4u;
        tile[at] = vec4<f32>(
            value(row, col),
            value(row, col + 1u),
            value(row, col + 2u),
            value(row, col + 3u),
        );
    }
}

fn put(at: u32, v: vec4<f32>) {
    partial[at] = (v.x + v.y) + (v.z + v.w);
}

fn put_sums(lane: u32) {
    put(lane, low[0]);
    if ROWS > 1u {
        put(lane + LANES, low[1]);
        put(lane + 2u * LANES, low[2]);
        put(lane + 3u * LANES, low[3]);
    }
    if ROWS > 4u {
        put(lane + 4u * LANES, high[0]);
        put(lane + 5u * LANES, high[1]);
        put(lane + 6u * LANES, high[2]);
        put(lane + 7u * LANES, high[3]);
    }
}

@compute @workgroup_size(LANES)
fn linear(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let across = LANES / SEGMENTS;
    let n = group.x * across + lane % across;
    let segment = lane / across;
    let first_row = group.y * ROWS;
    for (var first = 0u; first < p.cols; first += TILE) {
        workgroupBarrier();
        stage(first, first_row, lane);
        workgroupBarrier();
        for (var g = segment; g < TILE / 32u; g += SEGMENTS) {
            let whole = first / 32u + g;
            if n < p.width && whole < p.units * GROUPS {
                unit = (n / 32u * p.units + whole / GROUPS) * UNIT_WORDS * 32u + n % 32u;
                take(whole % GROUPS, g * 8u);
            }
        }
    }
    put_sums(lane);
    workgroupBarrier();
    // One lane an output: over the rows, then over the columns.
    for (var at = lane; at < ROWS * across; at += LANES) {
        let row = at / across;
        let column = group.x * across + at % across;
        var total = 0.0;
        for (var s = 0u; s < SEGMENTS; s++) {
            total += partial[row * LANES + s * across + at % across];
        }
        if first_row + row < p.rows && column < p.width {
            out[(first_row + row) * p.out_stride + p.out_col + column] = total;
        }
    }
}
