// rms_norm — scales groups of columns to unit mean square, then by a weight.
// spec: `echo-kernels-cpu/src/reference/rms_norm.rs`, also: `echo-kernels-cuda/cu/rms_norm.cu`
//
//   in   x       f32[rows, width]   width is a multiple of size
//   in   weight  f32[size]
//   in   eps     f32                added to the mean square
//   out  out     f32[rows, width]   may be x itself; otherwise no element of x
//
// Launch: one workgroup a group of columns, groups of a row over x, rows over y. 64 lanes sum every
// 64th square, and a tree of fixed shape sums the lanes.

struct Params {
    size: u32,
    eps: f32,
    x_stride: u32,
    x_col: u32,
    out_stride: u32,
    out_col: u32,
}

const LANES = 64u;

// Whether x lies in the buffer of `out`, which then is read in its place.
override IN_PLACE: bool = false;

var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

var<workgroup> sums: array<f32, LANES>;

fn value(at: u32) -> f32 {
    if IN_PLACE {
        return out[at];
    }
    return x[at];
}

@compute @workgroup_size(LANES)
fn rms_norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let start = group.y * p.x_stride + p.x_col + group.x * p.size;
    let to = group.y * p.out_stride + p.out_col + group.x * p.size;
    var sum = 0.0;
    for (var i = lane; i < p.size; i += LANES) {
        let v = value(start + i);
        sum = fma(v, v, sum);
    }
    sums[lane] = sum;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            sums[lane] += sums[lane + half];
        }
    }
    workgroupBarrier();
    let scale = 1.0 / sqrt(sums[0] / f32(p.size) + p.eps);
    for (var i = lane; i < p.size; i += LANES) {
        out[to + i] = value(start + i) * scale * weight[i];
    }
}
