// builtins.h — what kernels find on a device, by the names they know it, on the machine of
// `emulation.h`.
#pragma once

#include "emulation.h"

#define threadIdx (emulation::self().thread)
#define blockIdx (emulation::device.block)
#define blockDim (emulation::device.geometry.block)
#define gridDim (emulation::device.geometry.grid)

inline void __syncthreads() { emulation::barrier(); }

inline void __syncwarp() {
    emulation::meet("syncwarp", [](uint32_t, uint32_t) {}, [](uint32_t) {});
}

template <class T> inline T __shfl_xor_sync(uint32_t, T value, uint32_t mask) {
    return emulation::shuffle("shuffle xor", value, emulation::device.current ^ mask);
}

template <class T> inline T __shfl_sync(uint32_t, T value, uint32_t source) {
    return emulation::shuffle("shuffle", value, source);
}

// Fibers share one thread of the host, so nothing can come between.
template <class T> inline T atomicAdd(T *at, T value) {
    T before = *at;
    *at += value;
    return before;
}

// What is written can be seen at once.
inline void __threadfence() {}
static inline float4 load_written(const float4 *from) {
    if ((uintptr_t)from % 16 != 0) {
        emulation::refuse("a load of four floats that is not aligned");
    }
    return *from;
}

inline void atomicOr(uint32_t *at, uint32_t value) { *at |= value; }

inline int __clz(int value) { return value == 0 ? 32 : __builtin_clz((unsigned)value); }
inline int __popc(uint32_t value) { return __builtin_popcount(value); }
inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }

static inline float float_from(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

static inline uint8_t *shared_memory() { return emulation::device.shared + emulation::GUARD; }

static inline uint32_t round_bf16(float value) {
    uint32_t bits = float_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return 0x7fff;
    }
    return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}

static inline uint32_t pack_bf16(float low, float high) {
    return round_bf16(low) | round_bf16(high) << 16;
}

static inline float f16_to_float(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, exponent = bits >> 10 & 31;
    uint32_t fraction = bits & 0x3ffu;
    if (exponent == 31) {
        return float_from(sign | 0x7f800000u | fraction << 13);
    }
    if (exponent == 0) {
        float value = std::ldexp((float)fraction, -24);
        return sign ? -value : value;
    }
    return float_from(sign | (exponent + 112) << 23 | fraction << 13);
}

static inline void mma_bf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    emulation::Warp &warp = emulation::device.warps[emulation::device.current / 32];
    auto put = [&](uint32_t turn, uint32_t lane) {
        emulation::Operands &own = warp.operands[turn][lane];
        memcpy(own.a, a, sizeof own.a);
        memcpy(own.c, c, sizeof own.c);
        own.b[0] = b0;
        own.b[1] = b1;
    };
    auto finish = [&](uint32_t turn) { emulation::multiply(warp.operands[turn]); };
    uint32_t turn = emulation::meet("mma", put, finish);
    memcpy(c, warp.operands[turn][emulation::device.current % 32].c, sizeof c);
}

static inline void await_inputs() { emulation::self().awaited = true; }

static inline void release_next() {}

static inline void copy_async(void *shared, const void *global) {
    emulation::Fiber &fiber = emulation::self();
    if (((uintptr_t)shared | (uintptr_t)global) % 16 != 0) {
        emulation::refuse("an asynchronous copy that is not aligned");
    }
    if (fiber.n_copies == emulation::COPIES_MAX) {
        emulation::refuse("more asynchronous copies under way than the emulation holds");
    }
    fiber.copies[fiber.n_copies++] = {shared, global, fiber.group};
}

static inline void commit_copies() { emulation::self().group++; }

template <int PENDING> static inline void wait_copies() {
    emulation::Fiber &fiber = emulation::self();
    uint32_t kept = 0;
    for (uint32_t i = 0; i < fiber.n_copies; i++) {
        emulation::Copy copy = fiber.copies[i];
        if (copy.group + PENDING < fiber.group) {
            memcpy(copy.to, copy.from, 16);
        } else {
            fiber.copies[kept++] = copy;
        }
    }
    fiber.n_copies = kept;
}
