// rms_norm — scales groups of columns to unit mean square, then by a weight.
// also: `echo-kernels-cpu/src/reference/rms_norm.rs`, `echo-kernels-wgpu/wgsl/rms_norm.wgsl`
//
// in   live    u32     number of rows
// in   x       f32[rows, width], rows `x_stride` apart; width is a multiple of group
// in   weight  f32[group]
// in   eps     f32, added to the mean square
// out  out     f32[rows, width], rows `out_stride` apart; may be x itself
// numerics: tolerance 1e-10 NMSE. Squares are summed by threads `i / 4 % blockDim`, ascending, then
//   over the block in the fixed tree of `block_sum`: an order given by the size of the group.
// launch: grid (rows, width / group), a thread for each quad of a group in whole warps, at most
//   1024: a function of the group alone. A thread keeps its first quads, all there are in groups of
//   up to 8192 columns, from one pass to the other. Shared: one float per warp.
#include "echo_cuda.h"

#define KEPT 2u

DEVICE float add_squares(float4 x, float sum) {
    return fmaf(x.w, x.w, fmaf(x.z, x.z, fmaf(x.y, x.y, fmaf(x.x, x.x, sum))));
}

DEVICE float4 scaled(float4 x, float scale, float4 by) {
    return float4{x.x * scale * by.x, x.y * scale * by.y, x.z * scale * by.z, x.w * scale * by.w};
}

// Norms a group: `take(quad)` are four of its columns when they are first read, `from` has them
// later.
template <class Take>
DEVICE void norm(const float *from, const float *weight, u32 group, float eps, float *to,
                 Take take) {
    float *scratch = (float *)shared_memory();
    float4 kept[KEPT], by[KEPT];
    load_quads(weight, group, threadIdx.x, 0.0f, by);
#pragma unroll
    for (u32 i = 0; i < KEPT; i++) {
        kept[i] = take(threadIdx.x + i * blockDim.x);
    }
    float squares = 0.0f;
    for (u32 i = 0; i < KEPT; i++) {
        squares = add_squares(kept[i], squares);
    }
    u32 rest = threadIdx.x + KEPT * blockDim.x;
    for (u32 quad = rest; 4 * quad < group; quad += blockDim.x) {
        squares = add_squares(take(quad), squares);
    }
    // `from` may be written over: a thread writes what only it reads.
    float mean = block_sum(squares, scratch) / (float)group;
    float scale = 1.0f / sqrtf(mean + eps);
    for (u32 i = 0; i < KEPT; i++) {
        store_quad(to, group, threadIdx.x + i * blockDim.x, scaled(kept[i], scale, by[i]));
    }
    for (u32 quad = rest; 4 * quad < group; quad += blockDim.x) {
        float4 columns = load_quad(from, group, quad, 0.0f);
        float4 factors = load_quad(weight, group, quad, 0.0f);
        store_quad(to, group, quad, scaled(columns, scale, factors));
    }
}

KERNEL(1024)
rms_norm(const u32 *live, const float *x, u32 x_stride, const float *weight, u32 group, float eps,
         float *out, u32 out_stride) {
    begin();
    if (pads(live)) {
        return;
    }
    const float *from = x + (u64)blockIdx.x * x_stride + blockIdx.y * group;
    float *to = out + (u64)blockIdx.x * out_stride + blockIdx.y * group;
    auto take = [&](u32 quad) { return load_quad(from, group, quad, 0.0f); };
    norm(from, weight, group, eps, to, take);
}

// `add` of x into a residual stream and `rms_norm` of the whole row of the stream, which takes the
// place of x. Grid (rows).
KERNEL(1024)
add_rms_norm(const u32 *live, float *x, u32 x_stride, float *into, u32 into_stride,
             const float *weight, u32 width, float eps) {
    begin();
    if (pads(live)) {
        return;
    }
    float *row = x + (u64)blockIdx.x * x_stride, *stream = into + (u64)blockIdx.x * into_stride;
    norm(stream, weight, width, eps, row, [&](u32 quad) {
        float4 a = load_quad(stream, width, quad, 0.0f), b = load_quad(row, width, quad, 0.0f);
        float4 sum = {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
        store_quad(stream, width, quad, sum);
        return sum;
    });
}
