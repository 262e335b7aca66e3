// gather_rows — copies chosen rows of a matrix.
// also: `echo-kernels-cpu/src/reference/gather_rows.rs`, `echo-kernels-wgpu/wgsl/gather_rows.wgsl`
//
// in   live   u32        number of rows
// in   index  u32[rows], rows of x, any order, repeats allowed
// in   x      f32[x_rows, width], rows `x_stride` apart
// out  out    f32[rows, width], rows `out_stride` apart, another buffer
// numerics: exact. A row outside x comes out as NaN, which marks what is made of it as faulty.
// launch: grid (rows, ceil(width / 4096)), 256 threads, up to 4 quads each: enough under way to
//   fill the memory's bandwidth behind the wait for the index.
#include "echo_cuda.h"

#define QUADS 4u

KERNEL(256)
gather_rows(const u32 *live, const u32 *index, const float *x, u32 x_stride, u32 x_rows, float *out,
            u32 out_stride, u32 width) {
    begin();
    if (pads(live)) {
        return;
    }
    u32 row = index[blockIdx.x], first = blockIdx.y * QUADS * 256 + threadIdx.x;
    float *to = out + (u64)blockIdx.x * out_stride;
    // A row that is not there is one without columns.
    const float *from = row < x_rows ? x + (u64)row * x_stride : x;
    float4 quads[QUADS];
    load_quads(from, row < x_rows ? width : 0, first, NOT_A_NUMBER, quads);
    for (u32 i = 0; i < QUADS; i++) {
        store_quad(to, width, first + i * 256, quads[i]);
    }
}
