// add — adds one matrix to another in place.
// spec: `echo-kernels-cpu/src/reference/add.rs`, also: `echo-kernels-cuda/cu/add.cu`
//
//   in      x     f32[rows, width]
//   in out  into  f32[rows, width]   another buffer than x
//
// Launch: one invocation an element; workgroups are counted over x, then y.

struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    x_col: u32,
    into_stride: u32,
    into_col: u32,
}

var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> into: array<f32>;

@compute @workgroup_size(64)
fn add(
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
    into[row * p.into_stride + p.into_col + i] += x[row * p.x_stride + p.x_col + i];
}
