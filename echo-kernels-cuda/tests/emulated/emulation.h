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
#define KERNEL_TWICE(threads) KERNEL(threads)


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
    bool awaited;
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
    if (!fiber.awaited) {
        refuse("ended without waiting for what was launched before");
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

} // namespace emulation
