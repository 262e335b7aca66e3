// linear — multiplies each row by a weight matrix.
// also: `echo-kernels-cpu/src/reference/linear.rs`, `echo-kernels-wgpu/wgsl/linear.wgsl`
//
// in   live    u32     number of rows; `rows` is how many there are blocks for
// in   x       f32[rows, cols], rows `x_stride` apart
// in   weight  [n, cols] in the records of weight.h
// out  out     f32[rows, n], rows `out_stride` apart, another buffer than x; or, if the sum over
//              columns is cut into `gridDim.z` > 1 slices, f32[slices, rows, n] for `linear_merge`
//
// numerics: tolerance 1e-10 NMSE for float weights, 1e-5 for quantised ones. Tensor cores take
//   bf16, so x goes in as the sum of two bf16, which keeps 16 bits of it. A BF16 weight is exact;
//   F16 and F32 weights are split too and take a third product; a quantised weight is rounded to
//   bf16 (2^-9, less than its own step). Each 64 columns are summed in the tensor core from zero,
//   then added in f32: what the core's adder cuts off does not pile up over columns.
// order: columns ascending within a slice, slices ascending. The number of slices is a function of
//   [n, cols] alone, so a row's bits know nothing of the other rows.
//
// launch: grid (ceil(rows / ROWS), ceil(n / 64), slices), 128 threads. A warp has 16 rows of the
//   weight as the *left* operand and ROWS rows of x, in tiles of 8, as the right one: 1 to 8 rows
//   cost one product of 16 x 8 x 16, and up to ROWS rows read the weights once. ROWS is 8, 32 or
//   64 and changes no order. Weights stream through a ring of records that each warp fills ahead
//   with cp.async, contiguous and past the registers. No ldmatrix: records are in fragment order,
//   and columns are permuted within 32 alike in both operands, so a lane's fragments are
//   neighbouring words.
// shared: x as two bf16, double-buffered, 320 bytes per row (256 and a pad that spreads rows over
//   banks); then 4 rings.
#include "weight.h"

#define THREADS 128u
#define STEP 64u      // columns of one record
#define X_WORDS 80u   // words of one row of x in shared memory

template <int FORMAT> DEVICE constexpr u32 ring_length() { return FORMAT == FORMAT_F32 ? 2 : 4; }

// Begins copying one record, the whole warp together.
template <int FORMAT> DEVICE void fetch(u8 *slot, const u8 *record) {
    for (u32 at = lane() * 16; at < record_bytes<FORMAT>(); at += WARP * 16) {
        copy_async(slot + at, record + at);
    }
}

// This thread's share of 64 columns of x: neighbouring pairs, zeros beyond the matrix.
template <u32 ROWS> struct Share {
    float values[ROWS * STEP / THREADS];

    DEVICE void load(const float *x, u32 x_stride, u32 rows, u32 cols, u32 first_col) {
        for (u32 i = 0; i < ROWS * STEP / THREADS / 2; i++) {
            u32 row = (i * THREADS + threadIdx.x) / 32, col = first_col + threadIdx.x % 32 * 2;
            const float *from = x + (u64)row * x_stride + col;
            values[2 * i] = row < rows && col < cols ? from[0] : 0.0f;
            values[2 * i + 1] = row < rows && col + 1 < cols ? from[1] : 0.0f;
        }
    }

    // Words of a row: per chunk of 32 columns 16 of first parts, then 16 of second parts.
    DEVICE void store(u32 *into) const {
        for (u32 i = 0; i < ROWS * STEP / THREADS / 2; i++) {
            u32 row = (i * THREADS + threadIdx.x) / 32, pair = threadIdx.x % 32;
            u32 *to = into + row * X_WORDS + pair / 16 * 32 + pair % 16;
            split_bf16(values[2 * i], values[2 * i + 1], to[0], to[16]);
        }
    }
};

// Left operands of the two products that cover 32 columns: [product][part][fragment].
template <int FORMAT> DEVICE void load_left(const u8 *record, u32 chunk, u32 (&a)[2][2][4]) {
    for (u32 half = 0; half < 2; half++) {
        if (FORMAT == FORMAT_BF16) {
            uint4 w = ((const uint4 *)record)[(chunk * 2 + half) * 32 + lane()];
            a[0][0][half] = w.x;
            a[0][0][half + 2] = w.y;
            a[1][0][half] = w.z;
            a[1][0][half + 2] = w.w;
            continue;
        }
        float w[8];
        unpack<FORMAT>(record, chunk, half, lane(), w);
        for (u32 i = 0; i < 4; i++) {
            u32 &first = a[i / 2][0][half + i % 2 * 2], &second = a[i / 2][1][half + i % 2 * 2];
            if (FORMAT == FORMAT_F32 || FORMAT == FORMAT_F16) {
                split_bf16(w[2 * i], w[2 * i + 1], first, second);
            } else {
                first = pack_bf16(w[2 * i], w[2 * i + 1]);
            }
        }
    }
}

// total += the products over the 64 columns of one record.
template <int FORMAT, u32 ROWS>
DEVICE void multiply(const u8 *record, const u32 *x, float (&total)[ROWS / 8][4]) {
    float sums[ROWS / 8][4] = {};
    for (u32 chunk = 0; chunk < 2; chunk++) {
        u32 a[2][2][4];
        load_left<FORMAT>(record, chunk, a);
#pragma unroll
        for (u32 tile = 0; tile < ROWS / 8; tile++) {
            const u32 *row = x + (tile * 8 + lane() / 4) * X_WORDS + chunk * 32 + lane() % 4 * 4;
            uint4 first = *(const uint4 *)row, second = *(const uint4 *)(row + 16);
            if (FORMAT == FORMAT_F32 || FORMAT == FORMAT_F16) {
                mma_bf16(sums[tile], a[0][1], first.x, first.y);
                mma_bf16(sums[tile], a[1][1], first.z, first.w);
            }
            mma_bf16(sums[tile], a[0][0], second.x, second.y);
            mma_bf16(sums[tile], a[1][0], second.z, second.w);
            mma_bf16(sums[tile], a[0][0], first.x, first.y);
            mma_bf16(sums[tile], a[1][0], first.z, first.w);
        }
    }
    for (u32 tile = 0; tile < ROWS / 8; tile++) {
        for (u32 i = 0; i < 4; i++) {
            total[tile][i] += sums[tile][i];
        }
    }
}

template <int FORMAT, u32 ROWS>
DEVICE void linear(const u32 *live, const u8 *weight, const float *x, u32 x_stride, float *out,
                   u32 out_stride, u32 rows, u32 n, u32 cols) {
    constexpr u32 LENGTH = ring_length<FORMAT>(), BYTES = record_bytes<FORMAT>();
    u32 *x_shared = (u32 *)shared_memory();
    u8 *ring = shared_memory() + 2 * ROWS * X_WORDS * 4 + warp() * LENGTH * BYTES;

    u32 first_row = blockIdx.x * ROWS, rows_live = *live;
    // There is at least one row: the first blocks need not wait for the number.
    if (first_row > 0 && first_row >= rows_live) {
        await_inputs();
        return;
    }
    u32 rows_here = least(ROWS, rows_live - first_row);
    x += (u64)first_row * x_stride;
    u32 steps = div_up(cols, STEP), slice = div_up(steps, gridDim.z);
    u32 begin = least(blockIdx.z * slice, steps), end = least(begin + slice, steps);
    // Warps beyond the matrix multiply its last rows again and write nothing.
    u32 tile_row = blockIdx.y * 4 + warp(), tiles = div_up(n, RECORD_ROWS);
    const u8 *records = weight + (u64)least(tile_row, tiles - 1) * steps * BYTES;

    for (u32 i = 0; i < LENGTH - 1; i++) {
        if (begin + i < end) {
            fetch<FORMAT>(ring + i * BYTES, records + (u64)(begin + i) * BYTES);
        }
        commit_copies();
    }
    await_inputs();
    release_next();
    Share<ROWS> share;
    share.load(x, x_stride, rows_here, cols, begin * STEP);
    share.store(x_shared);
    float total[ROWS / 8][4] = {};
    for (u32 step = begin; step < end; step++) {
        u32 turn = step - begin;
        wait_copies<(int)LENGTH - 2>();
        // Record and x of this step are there; whatever the step before read may be overwritten.
        __syncthreads();
        if (step + LENGTH - 1 < end) {
            fetch<FORMAT>(ring + (turn + LENGTH - 1) % LENGTH * BYTES,
                          records + (u64)(step + LENGTH - 1) * BYTES);
        }
        commit_copies();
        if (step + 1 < end) {
            share.load(x, x_stride, rows_here, cols, (step + 1) * STEP);
        }
        const u32 *x_now = x_shared + turn % 2 * ROWS * X_WORDS;
        multiply<FORMAT, ROWS>(ring + turn % LENGTH * BYTES, x_now, total);
        if (step + 1 < end) {
            share.store(x_shared + (turn + 1) % 2 * ROWS * X_WORDS);
        }
    }

    if (gridDim.z > 1) {
        out += (u64)blockIdx.z * rows * n;
        out_stride = n;
    }
    for (u32 tile = 0; tile < ROWS / 8; tile++) {
        for (u32 i = 0; i < 4; i++) {
            u32 row = tile * 8 + lane() % 4 * 2 + i % 2;
            u32 col = tile_row * RECORD_ROWS + lane() / 4 + i / 2 * 8;
            if (row < rows_here && col < n) {
                out[(u64)(first_row + row) * out_stride + col] = total[tile][i];
            }
        }
    }
}

#define LINEAR(name, FORMAT, ROWS)                                                                 \
    KERNEL(THREADS)                                                                                \
    name(const u32 *live, const u8 *weight, const float *x, u32 x_stride, float *out,              \
         u32 out_stride, u32 rows, u32 n, u32 cols) {                                              \
        linear<FORMAT, ROWS>(live, weight, x, x_stride, out, out_stride, rows, n, cols);           \
    }

#define LINEARS(name, FORMAT)                                                                      \
    LINEAR(linear_##name##_8, FORMAT, 8)                                                           \
    LINEAR(linear_##name##_32, FORMAT, 32)                                                         \
    LINEAR(linear_##name##_64, FORMAT, 64)

LINEARS(f32, FORMAT_F32)
LINEARS(f16, FORMAT_F16)
LINEARS(bf16, FORMAT_BF16)
LINEARS(q4_0, FORMAT_Q4_0)
LINEARS(q4_1, FORMAT_Q4_1)
LINEARS(q8_0, FORMAT_Q8_0)
LINEARS(q4_k, FORMAT_Q4_K)
LINEARS(q6_k, FORMAT_Q6_K)

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
    for (u32 slice = 0; slice < slices; slice++) {
        sum += partial[((u64)slice * rows + blockIdx.x) * n + col];
    }
    out[(u64)blockIdx.x * out_stride + col] = sum;
}
