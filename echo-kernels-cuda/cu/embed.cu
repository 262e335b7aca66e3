// embed — looks up each row's token in a stored table.
// also: `echo-kernels-cpu/src/reference/embed.rs`, `echo-kernels-wgpu/wgsl/embed.wgsl`
//
// in   live   u32  number of rows
// in   token  u32[rows]
// in   table  [tokens, width] in the records of weight.h, so that a tied output layer shares it
// out  out    f32[rows, width], rows `out_stride` apart
// numerics: the nearest float to the stored weight's formula. A token outside the table comes out
//   as NaN, which marks the row as faulty.
// launch: grid (rows, ceil(width / 1024)), 128 threads, 8 neighbouring columns each.
#include "weight.h"

template <int FORMAT>
DEVICE void embed(const u32 *live, const u32 *token, const u8 *table, u32 tokens, float *out,
                  u32 out_stride, u32 width) {
    begin();
    if (pads(live)) {
        return;
    }
    u32 row = token[blockIdx.x], col = blockIdx.y * 1024 + threadIdx.x * 8;
    if (col >= width) {
        return;
    }
    float w[8];
    for (u32 i = 0; i < 8; i++) {
        w[i] = NOT_A_NUMBER;
    }
    if (row < tokens) {
        u64 at = (u64)(row / RECORD_ROWS) * div_up(width, RECORD_COLS) + col / RECORD_COLS;
        u32 of = row % 8 * 4 + col % 32 / 8;
        const u8 *record = table + at * record_bytes<FORMAT>();
        unpack<FORMAT>(record, col / 32 % 2, row / 8 % 2, of, w);
    }
    float *to = out + (u64)blockIdx.x * out_stride;
    for (u32 i = 0; i < 8 && col + i < width; i++) {
        to[col + i] = w[i];
    }
}

#define EMBED(name, FORMAT)                                                                        \
    KERNEL(128)                                                                                    \
    name(const u32 *live, const u32 *token, const u8 *table, u32 tokens, float *out,               \
         u32 out_stride, u32 width) {                                                              \
        embed<FORMAT>(live, token, table, tokens, out, out_stride, width);                         \
    }

EMBED(embed_f32, FORMAT_F32)
EMBED(embed_f16, FORMAT_F16)
EMBED(embed_bf16, FORMAT_BF16)
EMBED(embed_q4_0, FORMAT_Q4_0)
EMBED(embed_q4_1, FORMAT_Q4_1)
EMBED(embed_q8_0, FORMAT_Q8_0)
EMBED(embed_q4_k, FORMAT_Q4_K)
EMBED(embed_q6_k, FORMAT_Q6_K)
