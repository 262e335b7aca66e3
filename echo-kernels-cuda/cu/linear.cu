// linear — multiplies each row by a weight matrix.
// also: `echo-kernels-cpu/src/reference/linear.rs`, `echo-kernels-wgpu/wgsl/linear.wgsl`
//
// in   live    u32     number of rows
// in   x       f32[rows, cols], rows `x_stride` apart
// in   weight  [n, cols] in the records of weight.h
// out  out     f32[rows, n], rows `out_stride` apart, another buffer than x; or, where blocks share
//              the slices of a row, f32[slices, rows, n] for `linear_merge`
//
// numerics: tensor cores take bf16. BF16 and quantised weights: x is rounded to bf16, and so is a
//   quantised weight (2^-9, less than its own step); tolerance 1e-5 NMSE. F32 and F16 weights: x
//   and the weight go in as sums of two bf16, which keeps 16 bits of each; tolerance 1e-10.
// order: columns are cut into `slices`, a function of [n, cols] alone; the columns of a slice are
//   summed ascending, in the tensor core, and the slices are added to zero ascending. A row's bits
//   know nothing of the other rows, of the kernel that had it, or of what shares the slices.
//
// launch: 256 threads. A warp has 16 rows of the weight as the *left* operand and rows of x, in
//   tiles of 8, as the right one: 1 to 8 rows cost one product of 16 x 8 x 16. Weights stream
//   through a ring of records that each warp fills ahead with cp.async, from before the launch
//   ahead has ended. No ldmatrix: records are in fragment order, and columns are permuted within 32
//   alike in both operands, so a lane's fragments are neighbouring words.
//   _8, _16: grid (1, ceil(n / 16 / (8 / slices))). The 8 warps of a block share the slices of
//     8 / slices tiles and need no barrier before they add them; x goes straight to registers. _16
//     is for weights so small that reading x for every tile costs little.
//   _32, _64: grid (ceil(rows / ROWS), ceil(n / 128), 1 or slices). A warp has a tile of the weight
//     for all rows of the block, one slice or all in turn; x is shared.
// shared: 8 rings; _32, _64 before them: x as bf16, double-buffered, per row 128 bytes a part and a
//   pad of 64 that spreads rows over banks.
#include "linear.h"

DEVICE u32 bound(u32 steps, u32 slice, u32 slices) { return steps * slice / slices; }

// Writes this lane's sums of a tile of the weight, whose first row is `first_col`.
template <u32 TILES>
DEVICE void leave(const float (&total)[TILES][4], float *out, u32 out_stride, u32 rows,
                  u32 first_col, u32 n) {
#pragma unroll
    for (u32 i = 0; i < TILES * 4; i++) {
        u32 row = i / 4 * 8 + lane() % 4 * 2 + i % 2, col = first_col + lane() / 4 + i % 4 / 2 * 8;
        if (row < rows && col < n) {
            out[(u64)row * out_stride + col] = total[i / 4][i % 4];
        }
    }
}

// Few rows: TILES times 8.
template <int FORMAT, u32 TILES>
DEVICE void narrow(const u32 *live, const u8 *weight, const float *x, u32 x_stride, float *out,
                   u32 out_stride, u32 rows_most, u32 n, u32 cols, u32 slices) {
    constexpr u32 PARTS = parts<FORMAT>();
    u32 steps = div_up(cols, STEP), tiles = div_up(n, RECORD_ROWS), slice = warp() % slices;
    u32 tile = blockIdx.y * (WARPS / slices) + warp() / slices;
    u32 begin = bound(steps, slice, slices);
    u32 end = tile < tiles ? bound(steps, slice + 1, slices) : begin;
    Ring<FORMAT> ring = {nullptr, weight + (u64)tile * steps * record_bytes<FORMAT>(), begin, end};
    ring.slots = shared_memory() + warp() * ring.LENGTH * ring.BYTES;
    ring.start();
    u32 rows = least(rows_most, *live);
    await_inputs();
    release_next();

    bool whole = are_whole(x, x_stride);
    Columns<PARTS> columns[TILES];
    auto load = [&](u32 step) {
#pragma unroll
        for (u32 t = 0; t < TILES; t++) {
            u32 row = t * 8 + lane() / 4;
            const float *from = x + (u64)row * x_stride;
            columns[t].load(from, row < rows && step < end, step, cols, whole);
        }
    };
    load(begin);
    float total[TILES][4] = {};
    for (u32 step = begin; step < end; step++) {
        uint4 right[TILES][2][PARTS];
#pragma unroll
        for (u32 t = 0; t < TILES; t++) {
            columns[t].pack(right[t]);
        }
        load(step + 1);
        ring.wait();
        // The record is there; whatever the step before read may be overwritten.
        __syncwarp();
        ring.fetch(step + ring.LENGTH - 1);
        auto of = [&](u32 t, u32 chunk, u32 part) { return right[t][chunk][part]; };
        multiply<FORMAT, TILES>(ring.at(step), of, total);
    }
    if (slices > 1) {
        wait_copies<0>();
        __syncthreads();
        float4 *sums = (float4 *)shared_memory() + threadIdx.x;
#pragma unroll
        for (u32 t = 0; t < TILES; t++) {
            sums[t * THREADS] = {total[t][0], total[t][1], total[t][2], total[t][3]};
        }
        __syncthreads();
#pragma unroll
        for (u32 t = 0; t < TILES; t++) {
            float4 whole_sum = {0.0f, 0.0f, 0.0f, 0.0f};
            for (u32 s = 0; slice == 0 && s < slices; s++) {
                float4 sum = sums[t * THREADS + s * WARP];
                whole_sum = {whole_sum.x + sum.x, whole_sum.y + sum.y, whole_sum.z + sum.z,
                             whole_sum.w + sum.w};
            }
            total[t][0] = whole_sum.x;
            total[t][1] = whole_sum.y;
            total[t][2] = whole_sum.z;
            total[t][3] = whole_sum.w;
        }
    }
    if (slice == 0) {
        leave<TILES>(total, out, out_stride, rows, tile * RECORD_ROWS, n);
    }
}

// More rows.
template <int FORMAT, u32 ROWS>
DEVICE void wide(const u32 *live, const u8 *weight, const float *x, u32 x_stride, float *out,
                 u32 out_stride, u32 rows, u32 n, u32 cols, u32 slices) {
    constexpr u32 PARTS = parts<FORMAT>(), TILES = ROWS / 8, PITCH = Share<ROWS, PARTS>::PITCH;
    u32 *x_shared = (u32 *)shared_memory();
    u32 steps = div_up(cols, STEP), tiles = div_up(n, RECORD_ROWS);
    u32 slice = blockIdx.z, last = gridDim.z > 1 ? slice : slices - 1;
    u32 begin = bound(steps, slice, slices), end = bound(steps, last + 1, slices);
    // Warps beyond the matrix multiply its last rows again and write nothing.
    u32 tile = blockIdx.y * WARPS + warp(), from = least(tile, tiles - 1);
    Ring<FORMAT> ring = {nullptr, weight + (u64)from * steps * record_bytes<FORMAT>(), begin, end};
    ring.slots = shared_memory() + 2 * ROWS * PITCH * 4 + warp() * ring.LENGTH * ring.BYTES;
    u32 first_row = blockIdx.x * ROWS, rows_live = *live;
    if (first_row >= rows_live) {
        await_inputs();
        return;
    }
    ring.start();
    await_inputs();
    release_next();

    u32 rows_here = least(ROWS, rows_live - first_row);
    bool whole = are_whole(x, x_stride);
    x += (u64)first_row * x_stride;
    Share<ROWS, PARTS> share;
    share.load(x, x_stride, rows_here, begin, cols, whole);
    share.store(x_shared);
    float total[TILES][4] = {}, sums[TILES][4] = {};
    u32 slice_end = bound(steps, slice + 1, slices);
    for (u32 step = begin; step < end; step++) {
        u32 turn = step - begin;
        ring.wait();
        // Record and x of this step are there; whatever the step before read may be overwritten.
        __syncthreads();
        ring.fetch(step + ring.LENGTH - 1);
        if (step + 1 < end) {
            share.load(x, x_stride, rows_here, step + 1, cols, whole);
        }
        const u32 *x_now = x_shared + turn % 2 * ROWS * PITCH + lane() / 4 * PITCH + lane() % 4 * 4;
        auto right = [&](u32 t, u32 chunk, u32 part) {
            return *(const uint4 *)(x_now + t * 8 * PITCH + (chunk * PARTS + part) * 16);
        };
        multiply<FORMAT, TILES>(ring.at(step), right, sums);
        if (step + 1 < end) {
            share.store(x_shared + (turn + 1) % 2 * ROWS * PITCH);
        }
        if (step + 1 < slice_end) {
            continue;
        }
        for (u32 t = 0; t < TILES; t++) {
            for (u32 i = 0; i < 4; i++) {
                total[t][i] += sums[t][i];
                sums[t][i] = 0.0f;
            }
        }
        slice_end = bound(steps, ++slice + 1, slices);
    }

    out += (u64)blockIdx.z * rows * n + (u64)first_row * out_stride;
    leave<TILES>(total, out, out_stride, rows_here, tile * RECORD_ROWS, n);
}

#define LINEAR(KERNEL, name, ...)                                                                  \
    KERNEL(THREADS)                                                                                \
    name(const u32 *live, const u8 *weight, const float *x, u32 x_stride, float *out,              \
         u32 out_stride, u32 rows, u32 n, u32 cols, u32 slices) {                                  \
        __VA_ARGS__(live, weight, x, x_stride, out, out_stride, rows, n, cols, slices);            \
    }

#define LINEARS(name, FORMAT)                                                                      \
    LINEAR(KERNEL_TWICE, linear_##name##_8, narrow<FORMAT, 1>)                                     \
    LINEAR(KERNEL_TWICE, linear_##name##_16, narrow<FORMAT, 2>)                                    \
    LINEAR(KERNEL_TWICE, linear_##name##_32, wide<FORMAT, 32>)

LINEARS(f32, FORMAT_F32)
LINEARS(f16, FORMAT_F16)
LINEARS(bf16, FORMAT_BF16)
LINEARS(q4_0, FORMAT_Q4_0)
LINEARS(q4_1, FORMAT_Q4_1)
LINEARS(q8_0, FORMAT_Q8_0)
LINEARS(q4_k, FORMAT_Q4_K)
LINEARS(q6_k, FORMAT_Q6_K)

// Two parts of so many rows do not fit beside the rings.
LINEAR(KERNEL_TWICE, linear_bf16_64, wide<FORMAT_BF16, 64>)
LINEAR(KERNEL, linear_q4_0_64, wide<FORMAT_Q4_0, 64>)
LINEAR(KERNEL, linear_q4_1_64, wide<FORMAT_Q4_1, 64>)
LINEAR(KERNEL, linear_q8_0_64, wide<FORMAT_Q8_0, 64>)
LINEAR(KERNEL, linear_q4_k_64, wide<FORMAT_Q4_K, 64>)
LINEAR(KERNEL, linear_q6_k_64, wide<FORMAT_Q6_K, 64>)

// Adds the slices, ascending. Grid (rows, ceil(n / 256)), 256 threads, one column each.
KERNEL(256)
linear_merge(const u32 *live, const float *partial, u32 slices, u32 rows, u32 n, float *out,
             u32 out_stride) {
    begin();
    u32 col = blockIdx.y * 256 + threadIdx.x;
    if (pads(live) || col >= n) {
        return;
    }
    float sum = 0.0f;
#pragma unroll 8
    for (u32 slice = 0; slice < slices; slice++) {
        sum += partial[((u64)slice * rows + blockIdx.x) * n + col];
    }
    out[(u64)blockIdx.x * out_stride + col] = sum;
}
