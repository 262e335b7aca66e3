// rms_norm — scales groups of columns to unit mean square, then by a weight.
// also: `echo-kernels-cpu/src/reference/rms_norm.rs`, `echo-kernels-wgpu/wgsl/rms_norm.wgsl`
//
// in   live    u32     number of rows
// in   x       f32[rows, width], rows `x_stride` apart; width is a multiple of group
// in   weight  f32[group]
// in   eps     f32, added to the mean square
// out  out     f32[rows, width], rows `out_stride` apart; may be x itself
// numerics: tolerance 1e-10 NMSE. Squares are summed by threads `i % blockDim`, ascending, then
//   over the block in the fixed tree of `block_sum`: an order given by the size of the group.
// launch: grid (rows, width / group), 32 threads for groups up to 128 columns (the norms of heads),
//   else 256. Shared: one float per warp.
#include "echo_cuda.h"

KERNEL(256)
rms_norm(const u32 *live, const float *x, u32 x_stride, const float *weight, u32 group, float eps,
         float *out, u32 out_stride) {
    begin();
    if (pads(live)) {
        return;
    }
    float *scratch = (float *)shared_memory();
    const float *from = x + (u64)blockIdx.x * x_stride + blockIdx.y * group;
    float *to = out + (u64)blockIdx.x * out_stride + blockIdx.y * group;
    float squares = 0.0f;
    for (u32 i = threadIdx.x; i < group; i += blockDim.x) {
        squares = fmaf(from[i], from[i], squares);
    }
    // Everybody has read x before anybody writes: block_sum ends in a barrier.
    float mean = block_sum(squares, scratch) / (float)group;
    float scale = 1.0f / sqrtf(mean + eps);
    for (u32 i = threadIdx.x; i < group; i += blockDim.x) {
        to[i] = from[i] * scale * weight[i];
    }
}
