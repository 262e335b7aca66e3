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
// launch: grid (rows, blocks), 128 threads; over the blocks of a row, a thread takes columns
//   4 i to 4 i + 3 of the first half of a head and the same of the second, whether they are q, k
//   or v: so all loads of a row are under way together.
#include "echo_cuda.h"

DEVICE void turn(float &a, float &b, float cosine, float sine) {
    float turned_a = fmaf(a, cosine, -(b * sine));
    b = fmaf(b, cosine, a * sine);
    a = turned_a;
}

KERNEL(128)
rope_store(const u32 *live, const u32 *position, const u32 *slot, const float *rope, float *qkv,
           u32 stride, float *keys, float *values, u32 n_q, u32 n_kv, u32 dim) {
    begin();
    if (pads(live)) {
        return;
    }
    u32 half = dim / 2, quads = div_up(half, 4), at = blockIdx.y * blockDim.x + threadIdx.x;
    u32 head = at / quads, quad = at % quads;
    if (head >= n_q + 2 * n_kv) {
        return;
    }
    // Asked for before anything waits, though the slot is used last.
    u32 at_position = position[blockIdx.x], to_slot = slot[blockIdx.x];
    float *low = qkv + (u64)blockIdx.x * stride + head * dim, *high = low + half;
    float4 a = load_quad(low, half, quad, 0.0f), b = load_quad(high, half, quad, 0.0f);
    if (head < n_q + n_kv) {
        // Cosine and sine of four columns are two quads.
        const float *angles = rope + (u64)at_position * dim;
        float4 first = load_quad(angles, dim, 2 * quad, 0.0f);
        float4 second = load_quad(angles, dim, 2 * quad + 1, 0.0f);
        turn(a.x, b.x, first.x, first.y);
        turn(a.y, b.y, first.z, first.w);
        turn(a.z, b.z, second.x, second.y);
        turn(a.w, b.w, second.z, second.w);
        store_quad(low, half, quad, a);
        store_quad(high, half, quad, b);
    }
    if (head >= n_q) {
        bool is_key = head < n_q + n_kv;
        u32 of = is_key ? head - n_q : head - n_q - n_kv;
        float *cache = is_key ? keys : values;
        float *to = cache + ((u64)to_slot * n_kv + of) * dim;
        store_quad(to, half, quad, a);
        store_quad(to + half, half, quad, b);
    }
}
