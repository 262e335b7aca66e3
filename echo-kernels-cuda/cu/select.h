// select.h — the best columns of a row, without sorting it, and the noise that chooses among them;
// one block of 1024 threads per row.
//
// Columns are compared by keys: the value's bits, so turned that they order as integers, above the
// column's complement. Keys differ, larger is better, and among equal values the lowest column has
// the largest key; so the k best are a set without ties, and every step below is exact and in any
// order. -0 counts as 0.
//
// A pass over the row for its largest value leaves a peak per warp: a key that some column of the
// warp reaches. The k-th best peak is then reached by k columns, so the k best columns reach it,
// and in most rows few others do: the next pass offers them, and they are ranked. Where too many
// are offered, or k is more than there are warps, the digits of the k-th key are found one by one.
#pragma once
#include "echo_cuda.h"

#define DIGIT_BITS 11u
#define BINS (1u << DIGIT_BITS)
#define OFFERS_MAX 1024u

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

// Calls `visit(column, value)` for the columns of a quad, in one place of the program.
template <class Visit> DEVICE void each_of(u32 quad, float4 x, Visit visit) {
    ROLLED for (u32 i = 0; i < 4; i++) {
        visit(4 * quad + i, x.x);
        x = float4{x.y, x.z, x.w, x.x};
    }
}

DEVICE float sound(float value) { return value == value ? value : MINUS_INFINITY; }

DEVICE float largest_of(float4 x) { return fmaxf(fmaxf(x.x, x.y), fmaxf(x.z, x.w)); }

// The largest value of this thread's columns, NaN passed over, as the key of the last column of the
// first quad that has it. `unsound` tells of a NaN or +inf.
DEVICE u64 peak_of(const float *row, u32 width, bool &unsound) {
    const float infinity = float_from(0x7f800000u);
    float best = MINUS_INFINITY;
    u32 at = ALL_LANES / 4;
    unsound = false;
    each_quad<4>(row, width, [&](u32 quad, float4 x) {
        float most = largest_of(x);
        at = most > best ? quad : at;
        best = most > best ? most : best;
        unsound |= !(x.x < infinity) | !(x.y < infinity) | !(x.z < infinity) | !(x.w < infinity);
    });
    return key_of(best, 4 * at + 3);
}

// The first column with the value of the best peak.
DEVICE u32 top_of(u64 peak, const float *row, u32 width) {
    u32 quad = column_of(peak) / 4;
    float4 x = load_quad(row, width, quad, MINUS_INFINITY);
    float top = value_of(peak);
    return 4 * quad + (x.x == top ? 0 : x.y == top ? 1 : x.z == top ? 2 : 3);
}

// Columns that may be among the k best. All but `bound` is shared.
struct Offers {
    u64 *keys; // OFFERS_MAX
    u32 *n;    // 0 before, and a barrier between
    u64 bound;

    // `peak` is the peak of the warp whose number is this lane's.
    DEVICE void expect(u64 peak, u32 k) {
        u32 reached = 0;
        for (u32 w = 0; w < WARP; w++) {
            reached += __shfl_sync(ALL_LANES, peak, w) >= peak;
        }
        bound = warp_max(reached >= k ? peak : (u64)0);
        bound = k > WARP ? ~(u64)0 : bound;
    }

    DEVICE void offer(float value, u32 column, u32 width) const {
        if (value >= value_of(bound) && column < width && key_of(value, column) >= bound) {
            u32 i = atomicAdd(n, 1u);
            if (i < OFFERS_MAX) {
                keys[i] = key_of(value, column);
            }
        }
    }
};

// Noise for the four tokens of a quad: Philox4x32-10.
DEVICE void philox(u32 quad, u32 position, u32 key0, u32 key1, u32 (&words)[4]) {
    words[0] = quad;
    words[1] = position;
    words[2] = words[3] = 0;
    for (u32 round = 0; round < 10; round++) {
        u64 left = (u64)0xD2511F53u * words[0], right = (u64)0xCD9E8D57u * words[2];
        words[0] = (u32)(right >> 32) ^ words[1] ^ key0;
        words[1] = (u32)right;
        words[2] = (u32)(left >> 32) ^ words[3] ^ key1;
        words[3] = (u32)left;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

DEVICE float gumbel(u32 bits) {
    double u = ((double)bits + 0.5) / 4294967296.0;
    return (float)-log(-log1p(-u));
}

// More than any noise from `bits`: it is below -ln u, and u is at least 2^-(1 + leading zeros).
DEVICE float gumbel_bound(u32 bits) { return 0.6932f * (float)(__clz((int)bits) + 1) + 0.01f; }

// The `k` best of `n` keys into `list`, best first.
DEVICE void rank(const u64 *keys, u32 n, u64 *list, u32 k) {
    for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
        u32 better = 0;
        for (u32 j = 0; j < n; j++) {
            better += keys[j] > keys[i];
        }
        if (better < k) {
            list[better] = keys[i];
        }
    }
    __syncthreads();
}

// Sum of `value` over the threads before this one; `all` is the sum over the block.
template <class T> DEVICE T block_before(T value, T *scratch, T &all) {
    T sum = value;
    for (u32 step = 1; step < WARP; step *= 2) {
        T other = __shfl_sync(ALL_LANES, sum, lane() - step);
        sum += lane() >= step ? other : 0;
    }
    T of_warp = of_warps(__shfl_sync(ALL_LANES, sum, WARP - 1), (T)0, scratch);
    all = warp_sum(of_warp);
    return sum - value + warp_sum(lane() < warp() ? of_warp : (T)0);
}

// Adds to a weight in shared memory.
DEVICE void add_weight(u32 *bin, u32 weight) { atomicAdd(bin, weight); }

// No instruction adds 64 bits there: the compiler makes a loop that threads at one bin go through
// one after the other. Two of 32 bits come to the same in any order: whoever sees the low half wrap
// carries. Most weights are small and need only the first.
DEVICE void add_weight(u64 *bin, u64 weight) {
    u32 low = (u32)weight, high = (u32)(weight >> 32), *halves = (u32 *)bin;
    high += atomicAdd(halves, low) > ~low;
    if (high > 0) {
        atomicAdd(halves + 1, high);
    }
}

// The largest key such that the keys from it upwards weigh at least what `want` makes of the weight
// of all; it is neither 0 nor more than all. `each(visit)` calls `visit(key, weight)` for this
// thread's columns, `weight` a function so that it is worked out only where it counts.
//
// A digit a round, from the top: a histogram of the weights of the keys that begin as the answer
// does tells the answer's next digit. `bins` holds BINS weights, `scratch` a weight per warp and
// two more.
template <class T, class Want, class Each>
DEVICE u64 select(Want want, T *bins, T *scratch, Each each) {
    u64 answer = 0;
    T wanted = 0, *found = scratch + blockDim.x / WARP;
    for (u32 shift = 64; shift > 0;) {
        u64 mask = shift == 64 ? 0 : ~(u64)0 << shift;
        u32 bits = least(DIGIT_BITS, shift);
        shift -= bits;
        for (u32 i = threadIdx.x; i < BINS; i += blockDim.x) {
            bins[i] = 0;
        }
        // Nothing is found where nothing weighs: then this is a bin nonetheless.
        if (threadIdx.x == 0) {
            found[0] = found[1] = 0;
        }
        __syncthreads();
        each([&](u64 key, auto weight) {
            if ((key & mask) == answer) {
                T weighs = (T)weight();
                if (weighs > 0) {
                    add_weight(bins + (u32)(key >> shift & ((1u << bits) - 1)), weighs);
                }
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
        wanted = mask == 0 ? want(all) : wanted;
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

// The `k` largest keys of a row into `list`, best first, NaN as -inf, once all offers are made and a
// barrier was passed. `list` holds 2 k keys; `bins` and `scratch` are as for `select`, and the
// offers' keys may lie in `bins`.
DEVICE void list_best(const Offers &offers, u32 k, u64 *list, void *bins, void *scratch,
                      const float *row, u32 width) {
    u32 n = *offers.n;
    if (k <= n && n <= OFFERS_MAX) {
        rank(offers.keys, n, list, k);
        return;
    }
    auto each = [&](auto visit) {
        each_quad<1>(row, width, [&](u32 quad, float4 x) {
            each_of(quad, x, [&](u32 column, float value) {
                if (column < width) {
                    visit(key_of(sound(value), column), []() { return 1u; });
                }
            });
        });
    };
    // Everybody has seen how many offers there were before it counts anew.
    u64 lowest = select<u32>([&](u32) { return k; }, (u32 *)bins, (u32 *)scratch, each);
    if (threadIdx.x == 0) {
        *offers.n = 0;
    }
    __syncthreads();
    each([&](u64 key, auto) {
        if (key >= lowest) {
            list[k + atomicAdd(offers.n, 1u)] = key;
        }
    });
    __syncthreads();
    rank(list + k, k, list, k);
}
