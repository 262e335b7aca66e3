// gather_rows — copies chosen rows of a matrix.
// spec: `echo-kernels-cpu/src/reference/gather_rows.rs`,
// also: `echo-kernels-cuda/cu/gather_rows.cu`
//
//   in   index  u32[rows]          rows of x, any order, repeats allowed
//   in   x      f32[any, width]
//   out  out    f32[rows, width]   another buffer than x
//
// Launch: one invocation an element; workgroups are counted over x, then y. Elements are moved as
// words, so that no bit of them is the arithmetic's business.

struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    x_col: u32,
    out_stride: u32,
    out_col: u32,
}

var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> index: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64)
fn gather_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = (group.y * groups.x + group.x) * 64u + lane;
    if at >= p.rows * p.width {
        return;
    }
    let row = at / p.width;
    let i = at % p.width;
    out[row * p.out_stride + p.out_col + i] = x[index[row] * p.x_stride + p.x_col + i];
}
