// silu_mul — the gated activation between the two halves of a feed-forward block.
// spec: `echo-kernels-cpu/src/reference/silu_mul.rs`, also: `echo-kernels-cuda/cu/silu_mul.cu`
//
//   in   gate_up  f32[rows, 2 width]   gate columns first
//   out  out      f32[rows, width]     another buffer than gate_up
//
// Launch: one invocation an element; workgroups are counted over x, then y.

struct Params {
    rows: u32,
    width: u32,
    x_stride: u32,
    x_col: u32,
    out_stride: u32,
    out_col: u32,
}

var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> gate_up: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn silu_mul(
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
    let start = row * p.x_stride + p.x_col + i;
    let gate = gate_up[start];
    // Beyond 80 the quotient is nothing beside any other activation, and exp must stay finite.
    let silu = gate / (1.0 + exp(min(-gate, 80.0)));
    out[row * p.out_stride + p.out_col + i] = silu * gate_up[start + p.width];
}
