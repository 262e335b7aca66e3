// launch.h — runs a kernel over its grid, block after block, on the machine of `emulation.h`.
#pragma once

#include "emulation.h"

namespace emulation {

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
        fiber.awaited = false;
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
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) {
        snprintf(error, 256, "a grid without blocks");
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
