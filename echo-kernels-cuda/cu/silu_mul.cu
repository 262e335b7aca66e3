// silu_mul — the gated activation between the two halves of a feed-forward block.
// also: `echo-kernels-cpu/src/reference/silu_mul.rs`, `echo-kernels-wgpu/wgsl/silu_mul.wgsl`
//
// in   live     u32     number of rows
// in   gate_up  f32[rows, 2 width], gate columns first, rows `in_stride` apart
// out  out      f32[rows, width], rows `out_stride` apart, another buffer
// numerics: tolerance 1e-10 NMSE; `expf` to two units in the last place.
// launch: grid (rows, ceil(width / 1024)), 256 threads; a thread has a quad.
#include "echo_cuda.h"

DEVICE float gated(float gate, float up) { return gate / (1.0f + expf(-gate)) * up; }

KERNEL(256)
silu_mul(const u32 *live, const float *gate_up, u32 in_stride, float *out, u32 out_stride,
         u32 width) {
    begin();
    if (pads(live)) {
        return;
    }
    const float *gate = gate_up + (u64)blockIdx.x * in_stride;
    float *to = out + (u64)blockIdx.x * out_stride;
    u32 quad = blockIdx.y * 256 + threadIdx.x;
    float4 a = load_quad(gate, width, quad, 0.0f), b = load_quad(gate + width, width, quad, 0.0f);
    float4 made = {gated(a.x, b.x), gated(a.y, b.y), gated(a.z, b.z), gated(a.w, b.w)};
    store_quad(to, width, quad, made);
}
