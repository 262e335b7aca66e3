// select.h — the best columns of a row, without sorting it; one block per row.
//
// Columns are compared by keys: the value's bits, so turned that they order as integers, above the
// column's complement. Keys differ, larger is better, and among equal values the lowest column has
// the largest key; so the k best are a set without ties, and every step below is exact and in any
// order. -0 counts as 0.
#pragma once
#include "echo_cuda.h"

#define DIGIT_BITS 11u
#define BINS (1u << DIGIT_BITS)

DEVICE u64 key_of(float value, u32 column) {
    u32 bits = float_bits(value == 0.0f ? 0.0f : value);
    bits = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (u64)bits << 32 | ~column;
}

DEVICE u32 column_of(u64 key) { return ~(u32)key; }

DEVICE float value_of(u64 key) {
    u32 bits = (u32)(key >> 32);
    return float_from(bits >> 31 ? bits & 0x7fffffffu : ~bits);
}

// Sum of `value` over the threads before this one; `all` is the sum over the block.
template <class T> DEVICE T block_before(T value, T *scratch, T &all) {
    T sum = value;
    for (u32 step = 1; step < WARP; step *= 2) {
        T other = __shfl_sync(ALL_LANES, sum, lane() - step);
        sum += lane() >= step ? other : 0;
    }
    if (lane() == WARP - 1) {
        scratch[warp()] = sum;
    }
    __syncthreads();
    T before = sum - value;
    all = 0;
    for (u32 w = 0; w < blockDim.x / WARP; w++) {
        before += w < warp() ? scratch[w] : 0;
        all += scratch[w];
    }
    __syncthreads();
    return before;
}

// The largest key such that the keys from it upwards weigh at least `wanted`, which is neither 0
// nor more than all. `each(visit)` calls `visit(key, weight)` for this thread's columns, `weight` a
// function so that it is worked out only where it counts.
//
// A digit a round, from the top: a histogram of the weights of the keys that begin as the answer
// does tells the answer's next digit. `bins` holds BINS weights, `scratch` a weight per warp and
// two more.
template <class T, class Each> DEVICE u64 select(T wanted, T *bins, T *scratch, Each each) {
    u64 answer = 0;
    T *found = scratch + blockDim.x / WARP;
    for (u32 shift = 64; shift > 0;) {
        u64 mask = shift == 64 ? 0 : ~(u64)0 << shift;
        u32 bits = least(DIGIT_BITS, shift);
        shift -= bits;
        for (u32 i = threadIdx.x; i < BINS; i += blockDim.x) {
            bins[i] = 0;
        }
        __syncthreads();
        each([&](u64 key, auto weight) {
            if ((key & mask) == answer) {
                atomicAdd(bins + (u32)(key >> shift & ((1u << bits) - 1)), (T)weight());
            }
        });
        __syncthreads();
        // Thread t has the t-th run of bins from the top.
        u32 run = BINS / blockDim.x, top = BINS - threadIdx.x * run;
        T mine = 0, all;
        for (u32 i = 1; i <= run; i++) {
            mine += bins[top - i];
        }
        T above = block_before(mine, scratch, all);
        if (above < wanted && wanted <= above + mine) {
            u32 digit = top - 1;
            for (; above + bins[digit] < wanted; digit--) {
                above += bins[digit];
            }
            found[0] = above;
            found[1] = digit;
        }
        __syncthreads();
        u32 digit = (u32)found[1];
        T left = wanted - found[0], inside = bins[digit];
        __syncthreads();
        answer |= (u64)digit << shift;
        wanted = left;
        if (inside == wanted) {
            break;
        }
    }
    return answer;
}

// Collects the `n` keys from `lowest` upwards into `list`, best first. `list` holds 2 n keys,
// `counter` is one word; both are shared.
template <class Each> DEVICE void collect(u64 lowest, u32 n, u64 *list, u32 *counter, Each each) {
    if (threadIdx.x == 0) {
        *counter = 0;
    }
    __syncthreads();
    each([&](u64 key, auto) {
        if (key >= lowest) {
            list[n + atomicAdd(counter, 1u)] = key;
        }
    });
    __syncthreads();
    for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
        u32 better = 0;
        for (u32 j = 0; j < n; j++) {
            better += list[n + j] > list[n + i];
        }
        list[better] = list[n + i];
    }
    __syncthreads();
}
