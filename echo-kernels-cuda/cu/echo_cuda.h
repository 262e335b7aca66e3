// echo_cuda.h — the words the kernels of this folder are written in.
//
// No toolkit header is needed: the run-time compiler brings the built-in types and the mathematics,
// the few instructions without a built-in are inline PTX here. Everything below runs on sm_80 and
// later. Under ECHO_EMULATED the instructions come from the emulation of the tests instead; what is
// arithmetic is shared.
//
// Rules every kernel keeps:
// - The order of a sum is fixed by positions and sizes of the operands, never by the number of rows.
// - No contraction by the compiler (`--fmad=false`): a fused multiply-add is written `fmaf`.
// - No floating-point atomics; integer atomics only where the order cannot be seen.
// - All shared memory is one dynamic region per block, `shared_memory()`.
// - A kernel begins with `begin`, or with `await_inputs` before its first access to what another
//   launch reads or writes: every block does, also one that has nothing to do.
// - Where rows are counted by `live`, a launch has blocks for at least `*live` rows, and those for
//   the others, which pad it, read and write nothing: so one launch serves every smaller number.
#pragma once

typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define WARP 32u
#define ALL_LANES 0xffffffffu
#define MINUS_INFINITY (float_from(0xff800000u))
#define NOT_A_NUMBER (float_from(0x7fc00000u))

#ifndef ECHO_EMULATED

#define DEVICE __device__ __forceinline__
// One block a multiprocessor is enough to ask for: else the compiler spills to fit more. Where it
// need not, two hide more of the memory's latency.
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads, 1)
#define KERNEL_TWICE(threads) extern "C" __global__ void __launch_bounds__(threads, 2)

// Before a loop whose body is too large to repeat.
#define ROLLED _Pragma("unroll 1")

DEVICE float float_from(u32 bits) { return __uint_as_float(bits); }
DEVICE u32 float_bits(float value) { return __float_as_uint(value); }

// The block's shared memory, of the size the launch asked for.
DEVICE u8 *shared_memory() {
    extern __shared__ __align__(16) u8 echo_shared[];
    return echo_shared;
}

// Two floats rounded to nearest-even bf16, `low` in the low half.
DEVICE u32 pack_bf16(float low, float high) {
    u32 packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

DEVICE float f16_to_float(u16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

// c += a b for one warp: a is 16 x 16 (row), b is 16 x 8 (column), c is 16 x 8.
DEVICE void mma_bf16(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Waits until the launches before this one have ended and what they wrote can be seen. From sm_90 on
// a launch may begin before that, with what no launch writes: weights, and the number of rows.
DEVICE void await_inputs() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the next launch begin where there is room; it waits for this one's end by itself.
DEVICE void release_next() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Loads what another block of this launch wrote, past the cache that does not know of it.
DEVICE float4 load_written(const float4 *from) {
    float4 value;
    asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
                 : "l"(from)
                 : "memory");
    return value;
}

// Begins a copy of 16 aligned bytes into shared memory, past the registers.
DEVICE void copy_async(void *shared, const void *global) {
    u32 to = (u32)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
}

// Closes this thread's group of copies begun so far.
DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most PENDING of this thread's groups are under way.
template <int PENDING> DEVICE void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

#else
#define ROLLED
#endif

DEVICE float bf16_to_float(u16 bits) { return float_from((u32)bits << 16); }

// A float as the sum of two bf16: what is left is below 2^-17 of the value.
DEVICE void split_bf16(float low, float high, u32 &first, u32 &second) {
    first = pack_bf16(low, high);
    float low_rest = low - float_from(first << 16);
    float high_rest = high - float_from(first & 0xffff0000u);
    second = pack_bf16(low_rest, high_rest);
}

DEVICE u32 lane() { return threadIdx.x % WARP; }
DEVICE u32 warp() { return threadIdx.x / WARP; }
DEVICE u32 div_up(u32 a, u32 b) { return (a + b - 1) / b; }
DEVICE u32 least(u32 a, u32 b) { return a < b ? a : b; }

// What a kernel does first.
DEVICE void begin() {
    await_inputs();
    release_next();
}

// Whether the block is for a row that is not there.
DEVICE bool pads(const u32 *live) { return blockIdx.x >= *live; }

// Whether a row can be moved in quads, four columns at once: it starts at 16 bytes and has no rest.
// Else a quad is moved in single columns. Which columns a thread has is the same either way, so
// that the order of a sum knows nothing of where a row lies.
DEVICE bool in_quads(const float *row, u32 width) {
    return ((u64)row % 16 | width % 4) == 0;
}

// Columns 4 quad to 4 quad + 3 of a row, `beyond` for those that it does not have.
DEVICE float4 load_quad(const float *row, u32 width, u32 quad, float beyond) {
    u32 col = 4 * quad, left = col < width ? width - col : 0;
    float4 x = {beyond, beyond, beyond, beyond};
    if (in_quads(row, width)) {
        return left > 0 ? ((const float4 *)row)[quad] : x;
    }
    x.x = left > 0 ? row[col] : beyond;
    x.y = left > 1 ? row[col + 1] : beyond;
    x.z = left > 2 ? row[col + 2] : beyond;
    x.w = left > 3 ? row[col + 3] : beyond;
    return x;
}

// Quads `first`, `first + blockDim.x`, ... of a row: all of them are asked for at once.
template <u32 N>
DEVICE void load_quads(const float *row, u32 width, u32 first, float beyond, float4 (&x)[N]) {
    if (!in_quads(row, width)) {
        for (u32 i = 0; i < N; i++) {
            x[i] = load_quad(row, width, first + i * blockDim.x, beyond);
        }
        return;
    }
    for (u32 i = 0; i < N; i++) {
        u32 quad = first + i * blockDim.x;
        x[i] = float4{beyond, beyond, beyond, beyond};
        if (4 * quad < width) {
            x[i] = ((const float4 *)row)[quad];
        }
    }
}

// Calls `visit(quad, columns)` for this thread's quads of a row, of which AHEAD are asked for at
// once. Columns that the row does not have are -inf.
template <u32 AHEAD, class Visit> DEVICE void each_quad(const float *row, u32 width, Visit visit) {
    for (u32 quad = threadIdx.x; 4 * quad < width; quad += AHEAD * blockDim.x) {
        float4 x[AHEAD];
        load_quads(row, width, quad, MINUS_INFINITY, x);
        for (u32 i = 0; i < AHEAD; i++) {
            visit(quad + i * blockDim.x, x[i]);
        }
    }
}

// Writes what the row has of the quad.
DEVICE void store_quad(float *row, u32 width, u32 quad, float4 x) {
    u32 col = 4 * quad, left = col < width ? width - col : 0;
    if (left > 3 && in_quads(row, width)) {
        ((float4 *)row)[quad] = x;
        return;
    }
    float columns[4] = {x.x, x.y, x.z, x.w};
    for (u32 i = 0; i < 4; i++) {
        if (i < left) {
            row[col + i] = columns[i];
        }
    }
}

// Sum over the warp, the same in every lane, by a fixed butterfly.
template <class T> DEVICE T warp_sum(T value) {
    for (u32 step = WARP / 2; step > 0; step /= 2) {
        value += __shfl_xor_sync(ALL_LANES, value, step);
    }
    return value;
}

template <class T> DEVICE T warp_max(T value) {
    for (u32 step = WARP / 2; step > 0; step /= 2) {
        T other = __shfl_xor_sync(ALL_LANES, value, step);
        value = other > value ? other : value;
    }
    return value;
}

// Passes over a NaN.
DEVICE float warp_max(float value) {
    for (u32 step = WARP / 2; step > 0; step /= 2) {
        value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, step));
    }
    return value;
}

// What the warps of the block hold, the w-th in lane w of every warp, `none` in lanes left over.
// `scratch` holds one value per warp and is free again after the call.
template <class T> DEVICE T of_warps(T value, T none, T *scratch) {
    if (lane() == 0) {
        scratch[warp()] = value;
    }
    __syncthreads();
    T of_warp = lane() < blockDim.x / WARP ? scratch[lane()] : none;
    __syncthreads();
    return of_warp;
}

// Sum over the block, the same in every thread: within warps, then over warps, by the same
// butterfly. `scratch` as above.
template <class T> DEVICE T block_sum(T value, T *scratch) {
    return warp_sum(of_warps(warp_sum(value), (T)0, scratch));
}

// Largest value over the block, the same in every thread.
template <class T> DEVICE T block_max(T value, T *scratch) {
    value = warp_max(value);
    return warp_max(of_warps(value, value, scratch));
}
