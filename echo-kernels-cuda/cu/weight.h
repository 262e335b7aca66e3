// weight.h — how a stored matrix lies in the device's memory, and what its values are.
//
// The host (`weight.rs`) cuts a matrix [n, k] into records of 16 rows and 64 columns, padded with
// zeros, `[ceil(n / 16)][ceil(k / 64)]`. A record holds the weights in the order in which the lanes
// of a warp feed them to `mma.m16n8k16`, then the scales:
//
//   weights  [chunk 2][half 2][lane 32][8 weights]   row half * 8 + lane / 4,
//                                                    column chunk * 32 + lane % 4 * 8 ..
//   pairs    [chunk 2][half 2][lane 32] u16          Q6_K only: bits 4 and 5 of those 8 weights
//   scales   [chunk 2][row 16]                       none for float weights
//
// A nibble format packs 8 weights into a word, weight i at bit 4 i; pairs likewise at bit 2 i.
#pragma once
#include "echo_cuda.h"

#define RECORD_ROWS 16u
#define RECORD_COLS 64u

#define FORMAT_F32 0
#define FORMAT_F16 1
#define FORMAT_BF16 2
#define FORMAT_Q4_0 3
#define FORMAT_Q4_1 4
#define FORMAT_Q8_0 5
#define FORMAT_Q4_K 6
#define FORMAT_Q6_K 7

// Bytes of 8 weights.
template <int FORMAT> DEVICE constexpr u32 eight_bytes() {
    return FORMAT == FORMAT_F32                          ? 32
           : FORMAT == FORMAT_F16 || FORMAT == FORMAT_BF16 ? 16
           : FORMAT == FORMAT_Q8_0                         ? 8
                                                           : 4;
}

// Bytes of the scales of 32 weights.
template <int FORMAT> DEVICE constexpr u32 scale_bytes() {
    return FORMAT == FORMAT_Q4_K                          ? 8
           : FORMAT == FORMAT_Q4_1 || FORMAT == FORMAT_Q6_K ? 4
           : FORMAT == FORMAT_Q4_0 || FORMAT == FORMAT_Q8_0 ? 2
                                                            : 0;
}

template <int FORMAT> DEVICE constexpr u32 record_bytes() {
    return 128 * eight_bytes<FORMAT>() + (FORMAT == FORMAT_Q6_K ? 256 : 0) +
           32 * scale_bytes<FORMAT>();
}

// The 8 weights of `half` of `chunk` that belong to lane `of`, as the nearest floats.
template <int FORMAT>
DEVICE void unpack(const u8 *record, u32 chunk, u32 half, u32 of, float (&w)[8]) {
    u32 place = (chunk * 2 + half) * 32 + of;
    const u8 *own = record + place * eight_bytes<FORMAT>();
    const u8 *scales = record + record_bytes<FORMAT>() - 32 * scale_bytes<FORMAT>();
    const u8 *scale = scales + (chunk * 16 + half * 8 + of / 4) * scale_bytes<FORMAT>();
    if (FORMAT == FORMAT_F32) {
        for (u32 i = 0; i < 8; i++) {
            w[i] = ((const float *)own)[i];
        }
    } else if (FORMAT == FORMAT_F16) {
        for (u32 i = 0; i < 8; i++) {
            w[i] = f16_to_float(((const u16 *)own)[i]);
        }
    } else if (FORMAT == FORMAT_BF16) {
        for (u32 i = 0; i < 8; i++) {
            w[i] = bf16_to_float(((const u16 *)own)[i]);
        }
    } else if (FORMAT == FORMAT_Q8_0) {
        float d = f16_to_float(*(const u16 *)scale);
        for (u32 i = 0; i < 8; i++) {
            w[i] = d * (float)((const i8 *)own)[i];
        }
    } else if (FORMAT == FORMAT_Q4_0) {
        float d = f16_to_float(*(const u16 *)scale);
        u32 nibbles = *(const u32 *)own;
        for (u32 i = 0; i < 8; i++) {
            w[i] = d * (float)((int)(nibbles >> 4 * i & 15) - 8);
        }
    } else if (FORMAT == FORMAT_Q4_1) {
        float d = f16_to_float(((const u16 *)scale)[0]);
        float m = f16_to_float(((const u16 *)scale)[1]);
        u32 nibbles = *(const u32 *)own;
        for (u32 i = 0; i < 8; i++) {
            w[i] = fmaf(d, (float)(nibbles >> 4 * i & 15), m);
        }
    } else if (FORMAT == FORMAT_Q4_K) {
        // d, dmin, then the scale and the minimum of the 32 weights. Their products are exact.
        float d = f16_to_float(((const u16 *)scale)[0]) * (float)scale[4];
        float m = f16_to_float(((const u16 *)scale)[1]) * (float)scale[5];
        u32 nibbles = *(const u32 *)own;
        for (u32 i = 0; i < 8; i++) {
            w[i] = fmaf(d, (float)(nibbles >> 4 * i & 15), -m);
        }
    } else {
        // d, then a scale for each 16 weights: lanes 0 and 1 of four have the first.
        float d = f16_to_float(((const u16 *)scale)[0]) * (float)(i8)scale[2 + of % 4 / 2];
        u32 nibbles = *(const u32 *)own;
        u32 pairs = ((const u16 *)(record + 128 * eight_bytes<FORMAT>()))[place];
        for (u32 i = 0; i < 8; i++) {
            int q = (int)((nibbles >> 4 * i & 15) | (pairs >> 2 * i & 3) << 4) - 32;
            w[i] = d * (float)q;
        }
    }
}
