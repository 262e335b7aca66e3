// rope_store — rotates q and k by position, then writes k and v into the row's slot.
// also: `echo-kernels-cpu/src/reference/rope_store.rs`, `echo-kernels-wgpu/wgsl/rope_store.wgsl`
//
// in      live      u32                         number of rows
// in      position  u32[rows]
// in      slot      u32[rows]                   no two rows share one
// in      rope      f32[positions, dim / 2, 2]  cosine, sine
// in out  qkv       f32[rows, (n_q + 2 n_kv) dim], rows `stride` apart; q and k are rotated
// out     keys      f32[slots, n_kv, dim]       only the rows' slots are written
// out     values    f32[slots, n_kv, dim]       only the rows' slots are written
// numerics: tolerance 1e-12 NMSE for q and k, two roundings; v is exact.
// launch: grid (rows), 256 threads; a thread takes pairs (i, i + dim / 2) of q and k heads, then
//   columns of v.
#include "echo_cuda.h"

KERNEL(256)
rope_store(const u32 *live, const u32 *position, const u32 *slot, const float *rope, float *qkv,
           u32 stride, float *keys, float *values, u32 n_q, u32 n_kv, u32 dim) {
    begin();
    if (pads(live)) {
        return;
    }
    u32 half = dim / 2, width = n_kv * dim;
    float *row = qkv + (u64)blockIdx.x * stride;
    const float *angles = rope + (u64)position[blockIdx.x] * dim;
    float *key = keys + (u64)slot[blockIdx.x] * width;
    float *value = values + (u64)slot[blockIdx.x] * width;
    for (u32 pair = threadIdx.x; pair < (n_q + n_kv) * half; pair += blockDim.x) {
        u32 head = pair / half, i = pair % half;
        float cosine = angles[2 * i], sine = angles[2 * i + 1];
        float *low = row + head * dim + i;
        float a = low[0], b = low[half];
        float turned_a = fmaf(a, cosine, -(b * sine)), turned_b = fmaf(b, cosine, a * sine);
        low[0] = turned_a;
        low[half] = turned_b;
        if (head >= n_q) {
            key[(head - n_q) * dim + i] = turned_a;
            key[(head - n_q) * dim + half + i] = turned_b;
        }
    }
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        value[i] = row[(n_q + n_kv) * dim + i];
    }
}
