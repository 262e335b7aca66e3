// embed — looks up the embedding of each staged row's token.
// spec: `echo-kernels-cpu/src/reference/embed.rs`, also: `echo-kernels-cuda/cu/embed.cu`
//
//   in   staged  u32[rows, 8]            see src/staged.rs; the token is read
//   in   table   weight[vocab, width]    packed as src/packed.rs says
//   out  out     f32[rows, width]
//
// Launch: one invocation an element; rows over y. The table may be one of several slabs: tokens of
// other slabs are left to their own launch.

struct Params {
    width: u32,
    out_stride: u32,
    out_col: u32,
    first: u32,
    rows: u32,
    units: u32,
}

const ROW_WORDS = 8u;
const F32 = 0u;
const F16 = 1u;
const BF16 = 2u;
const Q4_0 = 3u;
const Q4_1 = 4u;
const Q8_0 = 5u;
const Q4_K = 6u;

override FORMAT: u32 = 0u;
// Weights and words of a unit.
override UNIT: u32 = 32u;
override UNIT_WORDS: u32 = 32u;

var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> staged: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

// Where the unit begins; its words are 32 apart.
var<private> unit: u32;

fn word(i: u32) -> u32 {
    return table[unit + i * 32u];
}

fn byte_of(i: u32) -> u32 {
    return (word(i / 4u) >> (8u * (i % 4u))) & 255u;
}

fn signed_byte(byte: u32) -> f32 {
    return f32(bitcast<i32>(byte << 24u) >> 24u);
}

// An f16 in the low half of `bits`, by integers: devices differ in what they do to small ones.
fn half(bits: u32) -> f32 {
    let magnitude = bits & 0x7fffu;
    let small = f32(magnitude) * 0x1p-24f;
    let rebased = select(magnitude + 0x1c000u, magnitude + 0x38000u, magnitude >= 0x7c00u);
    let value = select(bitcast<f32>(rebased << 13u), small, magnitude < 0x400u);
    return select(value, -value, (bits & 0x8000u) != 0u);
}

fn q4_k(i: u32) -> f32 {
    let group = i / 32u;
    var scale = byte_of(4u + group % 4u);
    var minimum = byte_of(8u + group % 4u);
    if group >= 4u {
        let low = byte_of(8u + group);
        scale = (low & 15u) | ((scale >> 6u) << 4u);
        minimum = (low >> 4u) | ((minimum >> 6u) << 4u);
    } else {
        scale &= 63u;
        minimum &= 63u;
    }
    let nibble = (byte_of(16u + group / 2u * 32u + i % 32u) >> (4u * (group % 2u))) & 15u;
    let d = half(word(0u)) * f32(scale);
    return fma(d, f32(nibble), -half(word(0u) >> 16u) * f32(minimum));
}

fn q6_k(i: u32) -> f32 {
    let side = i / 128u;
    let run = i % 128u / 32u;
    let low = (byte_of(side * 64u + i % 64u) >> (4u * (run / 2u))) & 15u;
    let high = (byte_of(128u + side * 32u + i % 32u) >> (2u * run)) & 3u;
    let scale = signed_byte(byte_of(192u + i / 16u));
    return half(word(52u)) * scale * (f32(low | (high << 4u)) - 32.0);
}

// Weight `i` of the unit.
fn weight(i: u32) -> f32 {
    if FORMAT == F32 {
        return bitcast<f32>(word(i));
    }
    if FORMAT == F16 {
        return half(word(i / 2u) >> (16u * (i % 2u)));
    }
    if FORMAT == BF16 {
        return bitcast<f32>((word(i / 2u) >> (16u * (i % 2u))) << 16u);
    }
    if FORMAT == Q4_0 || FORMAT == Q4_1 {
        let nibble = (byte_of(4u + i % 16u) >> (4u * (i / 16u))) & 15u;
        let d = half(word(0u));
        let minimum = select(half(word(0u) >> 16u), -8.0 * d, FORMAT == Q4_0);
        return fma(d, f32(nibble), minimum);
    }
    if FORMAT == Q8_0 {
        return half(word(0u)) * signed_byte(byte_of(4u + i));
    }
    if FORMAT == Q4_K {
        return q4_k(i);
    }
    return q6_k(i);
}

@compute @workgroup_size(64)
fn embed(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group.x * 64u + lane;
    // A token below `first` wraps around and is too large, too.
    let n = staged[group.y * ROW_WORDS] - p.first;
    if i >= p.width || n >= p.rows {
        return;
    }
    unit = (n / 32u * p.units + i / UNIT) * UNIT_WORDS * 32u + n % 32u;
    out[group.y * p.out_stride + p.out_col + i] = weight(i % UNIT);
}
