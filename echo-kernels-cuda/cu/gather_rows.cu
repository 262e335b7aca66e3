// gather_rows — copies chosen rows of a matrix.
// also: `echo-kernels-cpu/src/reference/gather_rows.rs`, `echo-kernels-wgpu/wgsl/gather_rows.wgsl`
//
// in   live   u32        number of rows
// in   index  u32[rows], rows of x, any order, repeats allowed
// in   x      f32[x_rows, width], rows `x_stride` apart
// out  out    f32[rows, width], rows `out_stride` apart, another buffer
// numerics: exact. A row outside x comes out as NaN, which marks what is made of it as faulty.
// launch: grid (rows, ceil(width / 1024)), 256 threads, up to 4 columns each.
#include "echo_cuda.h"

KERNEL(256)
gather_rows(const u32 *live, const u32 *index, const float *x, u32 x_stride, u32 x_rows, float *out,
            u32 out_stride, u32 width) {
    begin();
    if (pads(live)) {
        return;
    }
    u32 row = index[blockIdx.x];
    const float *from = x + (u64)row * x_stride;
    float *to = out + (u64)blockIdx.x * out_stride;
    u32 first = blockIdx.y * 1024 + threadIdx.x;
    for (u32 i = first; i < least(width, blockIdx.y * 1024 + 1024); i += 256) {
        to[i] = row < x_rows ? from[i] : NOT_A_NUMBER;
    }
}
