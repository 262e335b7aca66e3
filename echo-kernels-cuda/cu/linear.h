// linear.h — the steps of `linear.cu`: streaming a weight's records, and products with them.
#pragma once
#include "weight.h"

#define THREADS 256u
#define WARPS (THREADS / WARP)
#define STEP RECORD_COLS

// Parts that x and the weight are split into: bf16 holds a BF16 weight, and what quantised weights
// are worth.
template <int FORMAT> DEVICE constexpr u32 parts() {
    return FORMAT == FORMAT_F32 || FORMAT == FORMAT_F16 ? 2 : 1;
}

// Records of a warp's ring: what is under way hides the latency of the memory.
template <int FORMAT> DEVICE constexpr u32 ring_length() {
    return FORMAT == FORMAT_F32                            ? 2
           : FORMAT == FORMAT_F16 || FORMAT == FORMAT_BF16 ? 4
           : FORMAT == FORMAT_Q8_0                         ? 6
                                                           : 8;
}

// A warp's records on their way through shared memory, from the `begin`-th before the `end`-th.
template <int FORMAT> struct Ring {
    static constexpr u32 LENGTH = ring_length<FORMAT>(), BYTES = record_bytes<FORMAT>();
    u8 *slots;
    const u8 *records;
    u32 begin, end;

    // Begins copying one record, if there is one, the whole warp together.
    DEVICE void fetch(u32 step) {
        if (step < end) {
            u8 *slot = slots + (step - begin) % LENGTH * BYTES;
            const u8 *record = records + (u64)step * BYTES;
            for (u32 at = lane() * 16; at < BYTES; at += WARP * 16) {
                copy_async(slot + at, record + at);
            }
        }
        commit_copies();
    }

    DEVICE void start() {
        for (u32 i = 0; i < LENGTH - 1; i++) {
            fetch(begin + i);
        }
    }

    // The record of `step`, once the warp, or the block, has met after `wait`.
    DEVICE void wait() const { wait_copies<(int)LENGTH - 2>(); }
    DEVICE const u8 *at(u32 step) const { return slots + (step - begin) % LENGTH * BYTES; }
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
            if (parts<FORMAT>() == 2) {
                split_bf16(w[2 * i], w[2 * i + 1], first, second);
            } else {
                first = pack_bf16(w[2 * i], w[2 * i + 1]);
            }
        }
    }
}

// total += the products over the 64 columns of one record, for TILES times 8 rows of x:
// `right(tile, chunk, part)` are this lane's eight columns of 32 as bf16. Where parts keep more
// than bf16 does, the tensor core sums 64 columns from zero, so that what its adder cuts off does
// not pile up.
template <int FORMAT, u32 TILES, class Right>
DEVICE void multiply(const u8 *record, Right right, float (&total)[TILES][4]) {
    constexpr bool SPLIT = parts<FORMAT>() == 2;
    float own[TILES][4] = {};
    float(&sums)[TILES][4] = SPLIT ? own : total;
#pragma unroll
    for (u32 chunk = 0; chunk < 2; chunk++) {
        u32 a[2][2][4];
        load_left<FORMAT>(record, chunk, a);
#pragma unroll
        for (u32 tile = 0; tile < TILES; tile++) {
            uint4 first = right(tile, chunk, 0);
            if (SPLIT) {
                uint4 second = right(tile, chunk, 1);
                mma_bf16(sums[tile], a[0][1], first.x, first.y);
                mma_bf16(sums[tile], a[1][1], first.z, first.w);
                mma_bf16(sums[tile], a[0][0], second.x, second.y);
                mma_bf16(sums[tile], a[1][0], second.z, second.w);
            }
            mma_bf16(sums[tile], a[0][0], first.x, first.y);
            mma_bf16(sums[tile], a[1][0], first.z, first.w);
        }
    }
    for (u32 tile = 0; SPLIT && tile < TILES; tile++) {
        for (u32 i = 0; i < 4; i++) {
            total[tile][i] += own[tile][i];
        }
    }
}

// Four neighbouring columns of a row from `col` on, zeros beyond `cols`.
DEVICE float4 load_four(const float *row, u32 col, u32 cols, bool whole) {
    if (whole && col + 4 <= cols) {
        return *(const float4 *)(row + col);
    }
    float4 x = {0.0f, 0.0f, 0.0f, 0.0f};
    x.x = col < cols ? row[col] : 0.0f;
    x.y = col + 1 < cols ? row[col + 1] : 0.0f;
    x.z = col + 2 < cols ? row[col + 2] : 0.0f;
    x.w = col + 3 < cols ? row[col + 3] : 0.0f;
    return x;
}

// Whether rows begin at addresses that take four floats at once.
DEVICE bool are_whole(const float *x, u32 stride) { return (u64)x % 16 == 0 && stride % 4 == 0; }

// This lane's columns of 64 of a row of x: eight of each 32.
template <u32 PARTS> struct Columns {
    float4 values[4];

    DEVICE void load(const float *row, bool used, u32 step, u32 cols, bool whole) {
        for (u32 i = 0; i < 4; i++) {
            u32 col = step * STEP + i / 2 * 32 + lane() % 4 * 8 + i % 2 * 4;
            values[i] = used ? load_four(row, col, cols, whole) : float4{0, 0, 0, 0};
        }
    }

    DEVICE void pack(uint4 (&into)[2][PARTS]) const {
        for (u32 chunk = 0; chunk < 2; chunk++) {
            float4 a = values[2 * chunk], b = values[2 * chunk + 1];
            uint4 &first = into[chunk][0], &second = into[chunk][PARTS - 1];
            if (PARTS == 2) {
                split_bf16(a.x, a.y, first.x, second.x);
                split_bf16(a.z, a.w, first.y, second.y);
                split_bf16(b.x, b.y, first.z, second.z);
                split_bf16(b.z, b.w, first.w, second.w);
            } else {
                first = {pack_bf16(a.x, a.y), pack_bf16(a.z, a.w), pack_bf16(b.x, b.y),
                         pack_bf16(b.z, b.w)};
            }
        }
    }
};

// This thread's share of 64 columns of the block's rows of x: four columns of every 16th row.
template <u32 ROWS, u32 PARTS> struct Share {
    static constexpr u32 PITCH = PARTS * 32 + 16; // words of a row in shared memory
    float4 values[ROWS / 16];

    DEVICE void load(const float *x, u32 x_stride, u32 rows, u32 step, u32 cols, bool whole) {
        for (u32 i = 0; i < ROWS / 16; i++) {
            u32 row = i * 16 + threadIdx.x / 16, col = step * STEP + threadIdx.x % 16 * 4;
            const float *from = x + (u64)row * x_stride;
            values[i] = row < rows ? load_four(from, col, cols, whole) : float4{0, 0, 0, 0};
        }
    }

    // Words of a row: per chunk of 32 columns 16 words of each part.
    DEVICE void store(u32 *into) const {
        for (u32 i = 0; i < ROWS / 16; i++) {
            u32 row = i * 16 + threadIdx.x / 16, pair = threadIdx.x % 16 * 2;
            uint2 *to = (uint2 *)(into + row * PITCH + pair / 16 * 16 * PARTS + pair % 16);
            float4 x = values[i];
            if (PARTS == 2) {
                split_bf16(x.x, x.y, to[0].x, to[8].x);
                split_bf16(x.z, x.w, to[0].y, to[8].y);
            } else {
                *to = {pack_bf16(x.x, x.y), pack_bf16(x.z, x.w)};
            }
        }
    }
};
