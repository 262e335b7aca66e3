// emulation.h — a CUDA device in software, as much of it as the kernels use.
//
// A block's threads are fibers on one thread of the host. A fiber runs until it needs others: at a
// barrier, or at an operation of its warp (shuffle, matrix product, warp barrier). Whose turn is
// next follows a seed, so kernels whose answer depends on the order of threads, for want of a
// barrier, answer differently under different seeds. Further it refuses: a warp whose lanes meet at
// different operations, a barrier that some threads never reach, writes beside the shared memory.
// Fresh shared memory holds NaN. Asynchronous copies happen only when they are waited for.
#pragma once

#include <cmath>
#include <math.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#define ECHO_EMULATED
#define DEVICE inline
#define KERNEL(threads) extern "C" void


struct alignas(16) uint4 { uint32_t x, y, z, w; };
struct alignas(8) uint2 { uint32_t x, y; };
struct alignas(16) float4 { float x, y, z, w; };

namespace emulation {

constexpr int LANES = 32, THREADS_MAX = 1024, COPIES_MAX = 256;
constexpr size_t STACK = 64 << 10, GUARD = 4096;

struct Three { uint32_t x, y, z; };

struct Geometry {
    Three grid, block;
    uint32_t shared_bytes;
    uint64_t seed;
};

enum State : uint8_t { READY, AT_BARRIER, AT_WARP, DONE };

struct Copy {
    void *to;
    const void *from;
    uint32_t group;
};

struct Fiber {
    void *stack_pointer;
    State state;
    Three thread;
    uint32_t n_copies, group;
    Copy copies[COPIES_MAX];
};

// What a lane brings to a matrix product.
struct Operands { float c[4]; uint32_t a[4], b[2]; };

struct Warp {
    uint32_t arrived, live;
    uint64_t turn;
    const char *operation;
    uint64_t values[2][LANES];
    Operands operands[2][LANES];
};

// The device's state; one block runs at a time.
struct Device {
    Geometry geometry;
    Three block;
    Fiber *fibers;
    Warp warps[THREADS_MAX / LANES];
    uint32_t n_threads, current, at_barrier, done;
    uint8_t *stacks, *shared;
    void *scheduler;
    void (*body)(void *);
    void *arguments;
    char *error;
    bool failed;
};

inline thread_local Device device;

inline Fiber &self() { return device.fibers[device.current]; }

// Saves the registers a call must keep, and goes on where `to` was left.
extern "C" void emulation_switch(void **from, void *to);
#if defined(__x86_64__)
asm(".text\n.weak emulation_switch\n.type emulation_switch,@function\nemulation_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");
constexpr int SAVED = 6;
#elif defined(__aarch64__)
asm(".text\n.weak emulation_switch\n.type emulation_switch,@function\nemulation_switch:\n"
    "sub sp, sp, #160\nstp x19, x20, [sp]\nstp x21, x22, [sp, #16]\nstp x23, x24, [sp, #32]\n"
    "stp x25, x26, [sp, #48]\nstp x27, x28, [sp, #64]\nstp x29, x30, [sp, #80]\n"
    "stp d8, d9, [sp, #96]\nstp d10, d11, [sp, #112]\nstp d12, d13, [sp, #128]\n"
    "stp d14, d15, [sp, #144]\nmov x2, sp\nstr x2, [x0]\nmov sp, x1\n"
    "ldp x19, x20, [sp]\nldp x21, x22, [sp, #16]\nldp x23, x24, [sp, #32]\n"
    "ldp x25, x26, [sp, #48]\nldp x27, x28, [sp, #64]\nldp x29, x30, [sp, #80]\n"
    "ldp d8, d9, [sp, #96]\nldp d10, d11, [sp, #112]\nldp d12, d13, [sp, #128]\n"
    "ldp d14, d15, [sp, #144]\nadd sp, sp, #160\nret\n");
#else
#error "the emulation switches fibers on x86-64 and aarch64 only"
#endif

inline void yield() { emulation_switch(&self().stack_pointer, device.scheduler); }

// Ends the launch with a message; never returns to the kernel.
[[noreturn]] inline void refuse(const char *what) {
    Fiber &fiber = self();
    snprintf(device.error, 256, "block (%u, %u, %u), thread %u: %s", device.block.x,
             device.block.y, device.block.z, fiber.thread.x, what);
    device.failed = true;
    for (;;) {
        yield();
    }
}

inline void enter() {
    device.body(device.arguments);
    Fiber &fiber = self();
    Warp &warp = device.warps[device.current / LANES];
    if (warp.arrived > 0) {
        refuse("ended while lanes of its warp wait for it");
    }
    fiber.state = DONE;
    device.done++;
    warp.live--;
    for (;;) {
        yield();
    }
}

inline void barrier() {
    Fiber &fiber = self();
    device.at_barrier++;
    fiber.state = AT_BARRIER;
    if (device.at_barrier == device.n_threads) {
        device.at_barrier = 0;
        for (uint32_t i = 0; i < device.n_threads; i++) {
            device.fibers[i].state = READY;
        }
        return;
    }
    yield();
}

// Meets the other lanes of the warp at `operation`; `put` leaves this lane's operands in the buffer
// of this turn, `finish` runs once all are there. Gives the buffer's index.
template <class Put, class Finish>
inline uint32_t meet(const char *operation, Put put, Finish finish) {
    Warp &warp = device.warps[device.current / LANES];
    uint32_t first = device.current / LANES * LANES;
    if (warp.live != LANES && warp.live != device.n_threads) {
        refuse("an operation of the warp after some of its lanes have ended");
    }
    if (warp.arrived == 0) {
        warp.operation = operation;
    } else if (strcmp(warp.operation, operation) != 0) {
        refuse("lanes of one warp are at different operations");
    }
    uint32_t turn = warp.turn % 2;
    put(turn, device.current % LANES);
    if (++warp.arrived == warp.live) {
        warp.arrived = 0;
        warp.turn++;
        finish(turn);
        for (uint32_t i = first; i < first + warp.live; i++) {
            device.fibers[i].state = READY;
        }
    } else {
        self().state = AT_WARP;
        yield();
    }
    return turn;
}

template <class T> inline T shuffle(const char *operation, T value, uint32_t source) {
    static_assert(sizeof(T) <= 8, "a shuffle moves up to eight bytes");
    Warp &warp = device.warps[device.current / LANES];
    auto put = [&](uint32_t turn, uint32_t lane) {
        memcpy(&warp.values[turn][lane], &value, sizeof value);
    };
    uint32_t turn = meet(operation, put, [](uint32_t) {});
    T answer;
    memcpy(&answer, &warp.values[turn][source % LANES], sizeof answer);
    return answer;
}

inline float half_of(uint32_t packed, int high) {
    uint32_t bits = high ? packed & 0xffff0000u : packed << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

// The nearest float towards zero: tensor cores may cut what does not fit.
inline float cut(double value) {
    float near = (float)value;
    return std::fabs((double)near) > std::fabs(value) ? std::nextafterf(near, 0.0f) : near;
}

// The product of a whole warp, in the layout of mma.m16n8k16.
inline void multiply(Operands *all) {
    float a[16][16], b[16][8];
    for (int lane = 0; lane < LANES; lane++) {
        int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 2; i++) {
            a[g][2 * t + i] = half_of(all[lane].a[0], i);
            a[g + 8][2 * t + i] = half_of(all[lane].a[1], i);
            a[g][2 * t + 8 + i] = half_of(all[lane].a[2], i);
            a[g + 8][2 * t + 8 + i] = half_of(all[lane].a[3], i);
            b[2 * t + i][g] = half_of(all[lane].b[0], i);
            b[2 * t + 8 + i][g] = half_of(all[lane].b[1], i);
        }
    }
    double sums[16][8] = {};
    for (int i = 0; i < 16; i++) {
        for (int k = 0; k < 16; k++) {
            for (int j = 0; j < 8; j++) {
                sums[i][j] += (double)(a[i][k] * b[k][j]);
            }
        }
    }
    for (int lane = 0; lane < LANES; lane++) {
        int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 4; i++) {
            double sum = sums[g + i / 2 * 8][2 * t + i % 2] + all[lane].c[i];
            all[lane].c[i] = cut(sum);
        }
    }
}

inline uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

// The numbers below n in the order of the seed: 0 ascending, 1 descending, else at random.
inline void order(uint32_t n, uint64_t seed, uint64_t salt, uint32_t *into) {
    for (uint32_t i = 0; i < n; i++) {
        into[i] = seed == 1 ? n - 1 - i : i;
    }
    for (uint32_t i = n; seed > 1 && i > 1; i--) {
        std::swap(into[i - 1], into[mix(seed + salt * 1000 + i) % i]);
    }
}

inline void start_block() {
    memset(device.shared, 0xff, device.geometry.shared_bytes + 2 * GUARD);
    device.at_barrier = device.done = 0;
    for (uint32_t i = 0; i < device.n_threads; i++) {
        Fiber &fiber = device.fibers[i];
        Three size = device.geometry.block;
        fiber.thread = {i % size.x, i / size.x % size.y, i / size.x / size.y};
        fiber.state = READY;
        fiber.n_copies = fiber.group = 0;
        void **top = (void **)(device.stacks + (i + 1) * STACK) - 3;
#if defined(__x86_64__)
        *top = nullptr;
        *--top = (void *)enter;
        top -= SAVED;
#else
        top -= 20;
        top[11] = (void *)enter;
#endif
        fiber.stack_pointer = top;
    }
    for (uint32_t w = 0; w * LANES < device.n_threads; w++) {
        uint32_t rest = device.n_threads - w * LANES;
        device.warps[w].arrived = 0;
        device.warps[w].turn = 0;
        device.warps[w].live = rest < LANES ? rest : LANES;
    }
}

// Runs the block to its end, or until a thread refuses.
inline void run_block(uint64_t salt) {
    uint32_t warps[THREADS_MAX / LANES], lanes[LANES];
    uint32_t n_warps = (device.n_threads + LANES - 1) / LANES;
    start_block();
    for (uint64_t round = 0; device.done < device.n_threads; round++) {
        bool moved = false;
        order(n_warps, device.geometry.seed, salt + round, warps);
        for (uint32_t w = 0; w < n_warps; w++) {
            order(LANES, device.geometry.seed, salt + round + warps[w], lanes);
            for (bool ran = true; ran;) {
                ran = false;
                for (uint32_t l = 0; l < LANES; l++) {
                    uint32_t i = warps[w] * LANES + lanes[l];
                    if (i < device.n_threads && device.fibers[i].state == READY) {
                        device.current = i;
                        emulation_switch(&device.scheduler, device.fibers[i].stack_pointer);
                        if (device.failed) {
                            return;
                        }
                        ran = moved = true;
                    }
                }
            }
        }
        if (!moved) {
            snprintf(device.error, 256, "block (%u, %u, %u): threads wait for ever: %u at a "
                     "barrier, %u ended, of %u", device.block.x, device.block.y, device.block.z,
                     device.at_barrier, device.done, device.n_threads);
            device.failed = true;
            return;
        }
    }
    for (size_t i = 0; i < GUARD; i++) {
        if (device.shared[i] != 0xff ||
            device.shared[GUARD + device.geometry.shared_bytes + i] != 0xff) {
            snprintf(device.error, 256, "block (%u, %u, %u): a write beside the shared memory",
                     device.block.x, device.block.y, device.block.z);
            device.failed = true;
            return;
        }
    }
}

template <class... A> struct Call {
    void (*kernel)(A...);
    void **values;

    template <size_t... I> void spread(std::index_sequence<I...>) { kernel(*(A *)values[I]...); }
    static void run(void *call) { ((Call *)call)->spread(std::index_sequence_for<A...>()); }
};

// Runs `kernel` over the grid; 0, or 1 with a message of up to 255 bytes in `error`.
template <class... A>
int launch(void (*kernel)(A...), const Geometry &geometry, void **values, size_t n, char *error) {
    if (n != sizeof...(A)) {
        snprintf(error, 256, "%zu arguments, the kernel takes %zu", n, sizeof...(A));
        return 1;
    }
    Three block = geometry.block, grid = geometry.grid;
    Call<A...> call = {kernel, values};
    device.geometry = geometry;
    device.n_threads = block.x * block.y * block.z;
    if (device.n_threads == 0 || device.n_threads > THREADS_MAX) {
        snprintf(error, 256, "a block of %u threads", device.n_threads);
        return 1;
    }
    device.stacks = (uint8_t *)realloc(device.stacks, THREADS_MAX * STACK);
    device.fibers = (Fiber *)realloc((void *)device.fibers, THREADS_MAX * sizeof(Fiber));
    device.shared = (uint8_t *)aligned_alloc(4096, (geometry.shared_bytes + 2 * GUARD + 4095) /
                                                       4096 * 4096);
    device.body = Call<A...>::run;
    device.arguments = &call;
    device.error = error;
    device.failed = false;
    uint64_t n_blocks = (uint64_t)grid.x * grid.y * grid.z;
    for (uint64_t i = 0; i < n_blocks && !device.failed; i++) {
        // Blocks run in any order too.
        uint64_t b = geometry.seed == 0 ? i : n_blocks - 1 - i;
        device.block = {(uint32_t)(b % grid.x), (uint32_t)(b / grid.x % grid.y),
                        (uint32_t)(b / grid.x / grid.y)};
        run_block(i);
    }
    free(device.shared);
    return device.failed;
}

} // namespace emulation

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
