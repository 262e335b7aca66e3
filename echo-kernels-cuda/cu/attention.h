// attention.h — what a block of `tree_attention.cu` holds, and its steps; see there for the order.
#pragma once
#include "echo_cuda.h"

#define THREADS 128u
#define TILE 32u
#define SPLIT 512u

struct Staged {
    const u32 *seq_of, *row_start, *drafted_start, *prefix_len, *slot, *table_start, *table;
    const u64 *ancestors;
    u32 words;
};

// Running softmax of a packed row, for this thread's columns.
template <u32 COLS> struct Running {
    float weight;
    float sums[COLS];
};

// (most, whole) += a split with maximum `most_of`, unless it saw nothing.
template <u32 COLS>
DEVICE void merge(float &most, Running<COLS> &whole, float most_of, const Running<COLS> &part) {
    if (most_of == MINUS_INFINITY) {
        return;
    }
    float top = fmaxf(most, most_of), old = expf(most - top), scale = expf(most_of - top);
    whole.weight = fmaf(part.weight, scale, whole.weight * old);
    for (u32 i = 0; i < COLS; i++) {
        whole.sums[i] = fmaf(part.sums[i], scale, whole.sums[i] * old);
    }
    most = top;
}

DEVICE u32 drafted_seen(const Staged &staged, u32 row) {
    u32 seen = 0;
    for (u32 w = 0; w < staged.words; w++) {
        seen += __popcll(staged.ancestors[(u64)row * staged.words + w]);
    }
    return seen;
}

// Whether `row` sees drafted row `column` of its sequence at a position of `tile`.
DEVICE bool sees(const Staged &staged, u32 row, u32 prefix, u32 column, u32 tile) {
    const u64 *set = staged.ancestors + (u64)row * staged.words;
    u32 word = column / 64, bit = column % 64;
    if (!(set[word] >> bit & 1)) {
        return false;
    }
    u32 position = prefix + __popcll(set[word] & (((u64)1 << bit) - 1));
    for (u32 w = 0; w < word; w++) {
        position += __popcll(set[w]);
    }
    return position / TILE == tile;
}

// sum + x y, the first column first.
DEVICE float dot(float4 x, float4 y, float sum) {
    return fmaf(x.w, y.w, fmaf(x.z, y.z, fmaf(x.y, y.y, fmaf(x.x, y.x, sum))));
}

// What the packed rows of a block read, the same in every thread.
struct Reach {
    u32 longest, prefix_max, tree_begin;
};

template <u32 DIM, u32 ROWS> struct Block {
    static constexpr u32 PITCH = DIM + 4, MINE = ROWS / 8, COLS = DIM / 16;

    // Shared.
    float *q, *k, *v, *scores, *most, *rescale;
    u32 *row_of, *prefix, *length;
    // The same in every thread.
    Staged staged;
    const float *keys, *values;
    u32 dim, width, head, pitch, seq, columns;

    // Divides the shared memory; `columns_max` scores of drafted rows fit into a row.
    DEVICE void divide(u32 columns_max) {
        pitch = TILE + columns_max;
        q = (float *)shared_memory();
        k = q + ROWS * PITCH;
        v = k + TILE * PITCH;
        scores = v + TILE * PITCH;
        most = scores + ROWS * pitch;
        rescale = most + ROWS;
        row_of = (u32 *)(rescale + ROWS);
        prefix = row_of + ROWS;
        length = prefix + ROWS;
    }

    // Takes rows `first..end` of the sequence, `group` heads each, and tells what they read.
    DEVICE Reach take(const float *qkv, u32 qkv_stride, u32 first, u32 end, u32 group) {
        for (u32 i = threadIdx.x; i < ROWS; i += THREADS) {
            bool used = i / group < end - first;
            u32 row = first + i / group;
            row_of[i] = used ? row : ALL_LANES;
            prefix[i] = used ? staged.prefix_len[row] : 0;
            length[i] = used ? prefix[i] + drafted_seen(staged, row) : 0;
        }
        for (u32 i = threadIdx.x; i < ROWS * DIM; i += THREADS) {
            u32 row = i / DIM, d = i % DIM, of = head * group + row % group;
            bool used = row / group < end - first && d < dim;
            const float *from = qkv + (u64)(first + row / group) * qkv_stride + of * dim + d;
            q[row * PITCH + d] = used ? *from : 0.0f;
        }
        __syncthreads();
        Reach reach = {0, 0, ALL_LANES};
        for (u32 i = 0; i < ROWS; i++) {
            reach.longest = length[i] > reach.longest ? length[i] : reach.longest;
            reach.prefix_max = prefix[i] > reach.prefix_max ? prefix[i] : reach.prefix_max;
            bool drafted = length[i] > prefix[i];
            reach.tree_begin = drafted ? least(prefix[i], reach.tree_begin) : reach.tree_begin;
        }
        return reach;
    }

    // Keys of the prefix that lie in `tile`.
    DEVICE u32 in_prefix(const Reach &reach, u32 tile) const {
        u32 first = tile * TILE;
        return reach.prefix_max > first ? least(TILE, reach.prefix_max - first) : 0;
    }

    // The column of a head that this thread's `i`-th sum is of.
    DEVICE static u32 col(u32 i) { return i / 4 * 64 + threadIdx.x % 16 * 4 + i % 4; }

    // Copies `n` keys or values of this head into a tile; commits one group.
    DEVICE void fetch(float *tile, const float *from, const u32 *slots, u32 n) {
        u32 quads = div_up(dim, 4);
        for (u32 i = threadIdx.x; i < n * quads; i += THREADS) {
            u32 key = i / quads, at = i % quads * 4;
            const float *source = from + (u64)slots[key] * width + head * dim + at;
            float *to = tile + key * PITCH + at;
            if (dim % 4 == 0) {
                copy_async(to, source);
                continue;
            }
            for (u32 j = 0; j < 4; j++) {
                to[j] = at + j < dim ? source[j] : 0.0f;
            }
        }
        commit_copies();
    }

    // Scores of the tile in `k`, into columns `column + 0..32`; `visible(row, key)` masks.
    template <class Visible> DEVICE void score(u32 column, float scale, Visible visible) {
        u32 first = threadIdx.x / 16 * MINE, key = threadIdx.x % 16;
        float sums[MINE][2] = {};
        for (u32 d = 0; d < div_up(dim, 4) * 4; d += 4) {
            float4 a = *(const float4 *)(k + key * PITCH + d);
            float4 b = *(const float4 *)(k + (key + 16) * PITCH + d);
#pragma unroll
            for (u32 r = 0; r < MINE; r++) {
                float4 x = *(const float4 *)(q + (first + r) * PITCH + d);
                sums[r][0] = dot(x, a, sums[r][0]);
                sums[r][1] = dot(x, b, sums[r][1]);
            }
        }
        for (u32 r = 0; r < MINE; r++) {
            for (u32 i = 0; i < 2; i++) {
                bool seen = visible(first + r, key + 16 * i);
                float *to = scores + (first + r) * pitch + column + key + 16 * i;
                *to = seen ? sums[r][i] * scale : MINUS_INFINITY;
            }
        }
    }

    // Scores to weights relative to the row's new maximum; a warp takes every fourth row.
    DEVICE void soften(u32 n_columns) {
        for (u32 row = warp(); row < ROWS; row += THREADS / WARP) {
            float *own = scores + row * pitch, top = MINUS_INFINITY;
            for (u32 i = lane(); i < n_columns; i += WARP) {
                top = fmaxf(top, own[i]);
            }
            top = warp_max(top);
            bool any = top != MINUS_INFINITY;
            float before = most[row];
            top = fmaxf(top, before);
            for (u32 i = lane(); i < n_columns; i += WARP) {
                own[i] = any ? expf(own[i] - top) : 0.0f;
            }
            __syncwarp();
            if (lane() == 0) {
                most[row] = top;
                rescale[row] = any ? expf(before - top) : 1.0f;
            }
        }
    }

    // Adds the values in `v` with the weights of columns `column + 0..n`, ascending.
    DEVICE void add(Running<COLS> (&sums)[MINE], u32 column, u32 n) {
        u32 first = threadIdx.x / 16 * MINE, quad = col(0);
        for (u32 key = 0; key < n; key++) {
            float4 value[COLS / 4];
#pragma unroll
            for (u32 i = 0; i < COLS / 4; i++) {
                value[i] = *(const float4 *)(v + key * PITCH + quad + 64 * i);
            }
#pragma unroll
            for (u32 r = 0; r < MINE; r++) {
                float p = scores[(first + r) * pitch + column + key];
                // Hidden values may be anything, NaN included.
                if (p == 0.0f) {
                    continue;
                }
                sums[r].weight += p;
#pragma unroll
                for (u32 i = 0; i < COLS / 4; i++) {
                    float *to = sums[r].sums + 4 * i;
                    to[0] = fmaf(p, value[i].x, to[0]);
                    to[1] = fmaf(p, value[i].y, to[1]);
                    to[2] = fmaf(p, value[i].z, to[2]);
                    to[3] = fmaf(p, value[i].w, to[3]);
                }
            }
        }
    }
};
