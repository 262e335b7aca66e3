// topk_logprob — what a drafter proposes after each of its rows.
// also: `echo-kernels-cpu/src/reference/topk_logprob.rs`,
//   `echo-kernels-wgpu/wgsl/topk_logprob.wgsl`
//
// in   x     f32[rows, width], rows `stride` apart
// in   k     1..=width
// out  best  (u32, f32)[rows, k]   column and log-probability, best first, ties by lowest column
// NaN counts as -inf, which has log-probability -inf.
// numerics: columns exact; log-probabilities 1e-5 absolute: exponentials are summed in f32 by
//   threads `column / 4 % 1024`, ascending, then in the fixed tree of `block_sum`.
// launch: grid (rows), 1024 threads. The row is read once for the peaks of select.h and once for
//   the sum and the columns that reach the k-th peak. Where those do not do, k above 32 or many
//   ties, it is read about four times more for the digits of the k-th key.
// shared: scratch u64[40], histogram u32[2048], keys u64[2 k].
#include "select.h"

KERNEL(1024)
topk_logprob(const float *x, u32 stride, u32 width, u32 k, u32 *best) {
    begin();
    u64 *scratch = (u64 *)shared_memory(), *bins = scratch + 40, *list = bins + BINS / 2;
    Offers offers = {bins, (u32 *)(scratch + 39), 0};
    const float *row = x + (u64)blockIdx.x * stride;

    if (threadIdx.x == 0) {
        *offers.n = 0;
    }
    bool unsound;
    u64 peak = of_warps(warp_max(peak_of(row, width, unsound)), (u64)0, scratch);
    float top = value_of(warp_max(peak));
    offers.expect(peak, k);
    float sum = 0.0f;
    auto take = [&](u32 column, float value) {
        sum += expf(sound(value) - top);
        offers.offer(sound(value), column, width);
    };
    each_quad<2>(row, width, [&](u32 quad, float4 x) {
        take(4 * quad, x.x);
        take(4 * quad + 1, x.y);
        take(4 * quad + 2, x.z);
        take(4 * quad + 3, x.w);
    });
    float log_sum = logf(block_sum(sum, (float *)scratch));

    list_best(offers, k, list, bins, scratch, row, width);
    for (u32 i = threadIdx.x; i < k; i += blockDim.x) {
        float log_prob = value_of(list[i]) - top - log_sum;
        u32 *to = best + 2 * ((u64)blockIdx.x * k + i);
        to[0] = column_of(list[i]);
        to[1] = float_bits(log_prob == log_prob ? log_prob : MINUS_INFINITY);
    }
}
