// silu_mul — the gated activation between the two halves of a feed-forward block.
// also: `echo-kernels-cpu/src/reference/silu_mul.rs`, `echo-kernels-wgpu/wgsl/silu_mul.wgsl`
//
// in   live     u32     number of rows
// in   gate_up  f32[rows, 2 width], gate columns first, rows `in_stride` apart
// out  out      f32[rows, width], rows `out_stride` apart, another buffer
// numerics: tolerance 1e-10 NMSE; `expf` to two units in the last place.
// launch: grid (rows, ceil(width / 1024)), 256 threads, up to 4 columns each.
#include "echo_cuda.h"

KERNEL(256)
silu_mul(const u32 *live, const float *gate_up, u32 in_stride, float *out, u32 out_stride,
         u32 width) {
    begin();
    if (pads(live)) {
        return;
    }
    const float *gate = gate_up + (u64)blockIdx.x * in_stride;
    const float *up = gate + width;
    float *to = out + (u64)blockIdx.x * out_stride;
    u32 first = blockIdx.y * 1024 + threadIdx.x;
    for (u32 i = first; i < least(width, blockIdx.y * 1024 + 1024); i += 256) {
        to[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
    }
}
