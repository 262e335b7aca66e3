// topk_logprob — what a drafter proposes after each of its rows.
// also: `echo-kernels-cpu/src/reference/topk_logprob.rs`,
//   `echo-kernels-wgpu/wgsl/topk_logprob.wgsl`
//
// in   x     f32[rows, width], rows `stride` apart
// in   k     1..=width
// out  best  (u32, f32)[rows, k]   column and log-probability, best first, ties by lowest column
// NaN counts as -inf, which has log-probability -inf.
// numerics: columns exact; log-probabilities 1e-5 absolute: exponentials are summed in f32 by
//   threads `column % 512`, ascending, then in the fixed tree of `block_sum`.
// launch: grid (rows), 512 threads. The row is read once for the maximum, once for the sum, and
//   about three times for the digits of the k-th key; it stays in the L2 cache.
// shared: scratch, histogram u32[2048], keys u64[2 k].
#include "select.h"

KERNEL(512)
topk_logprob(const float *x, u32 stride, u32 width, u32 k, u32 *best) {
    begin();
    u32 *scratch = (u32 *)shared_memory();
    u32 *bins = scratch + 32;
    u64 *list = (u64 *)(bins + BINS);
    const float *row = x + (u64)blockIdx.x * stride;
    auto value = [&](u32 i) { return row[i] == row[i] ? row[i] : MINUS_INFINITY; };
    auto each = [&](auto visit) {
        for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
            visit(key_of(value(i), i), []() { return 1u; });
        }
    };

    float top = MINUS_INFINITY;
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        top = fmaxf(top, value(i));
    }
    top = block_max(top, (float *)scratch);
    float sum = 0.0f;
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        sum += expf(value(i) - top);
    }
    float log_sum = logf(block_sum(sum, (float *)scratch));

    u64 lowest = select<u32>(k, bins, scratch, each);
    collect(lowest, k, list, scratch, each);
    for (u32 i = threadIdx.x; i < k; i += blockDim.x) {
        float log_prob = value_of(list[i]) - top - log_sum;
        u32 *to = best + 2 * ((u64)blockIdx.x * k + i);
        to[0] = column_of(list[i]);
        to[1] = float_bits(log_prob == log_prob ? log_prob : MINUS_INFINITY);
    }
}
