// add — adds one matrix to another.
// also: `echo-kernels-cpu/src/reference/add.rs`, `echo-kernels-wgpu/wgsl/add.wgsl`
//
// in      live  u32     number of rows
// in      x     f32[rows, width], rows `x_stride` apart
// in out  into  f32[rows, width], rows `into_stride` apart, another buffer than x
// numerics: exact, one addition per element.
// launch: grid (rows, ceil(width / 1024)), 256 threads; a thread has a quad.
#include "echo_cuda.h"

KERNEL(256)
add(const u32 *live, const float *x, u32 x_stride, float *into, u32 into_stride, u32 width) {
    begin();
    if (pads(live)) {
        return;
    }
    const float *from = x + (u64)blockIdx.x * x_stride;
    float *to = into + (u64)blockIdx.x * into_stride;
    u32 quad = blockIdx.y * 256 + threadIdx.x;
    float4 a = load_quad(to, width, quad, 0.0f), b = load_quad(from, width, quad, 0.0f);
    store_quad(to, width, quad, float4{a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w});
}
