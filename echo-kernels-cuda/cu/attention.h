// attention.h — what a block of `tree_attention.cu` holds and copies; see there for the order.
#pragma once
#include "echo_cuda.h"

#define THREADS 128u
#define TILE 64u
#define SPLIT 128u
// Keys or values that are copied at a time: one for each lane to find the slot of.
#define CHUNK WARP

struct Staged {
    const u32 *seq_of, *row_start, *drafted_start, *prefix_len, *slot, *table_start, *table;
    const u64 *ancestors;
    u32 words;

    // Tiles that are left for the merge together, where `shares` blocks share those of a row: one
    // each if there are blocks for all tiles, else a split.
    DEVICE u32 unit(u32 seq, u32 shares) const {
        u32 drafted = row_start[seq + 1] - least(drafted_start[seq], row_start[seq + 1]);
        u32 longest = table_start[seq + 1] - table_start[seq] + drafted;
        return div_up(longest, TILE) <= shares ? 1 : SPLIT / TILE;
    }
};

// Softmax of a packed row over some tiles, for this thread's columns.
template <u32 COLS> struct Running {
    float most, weight;
    float sums[COLS];
    DEVICE Running() : most(MINUS_INFINITY), weight(0.0f), sums{} {}
};

// whole += what comes next, unless that saw nothing.
template <u32 COLS> DEVICE void merge(Running<COLS> &whole, const Running<COLS> &next) {
    if (next.most == MINUS_INFINITY) {
        return;
    }
    float top = fmaxf(whole.most, next.most);
    float old = expf(whole.most - top), scale = expf(next.most - top);
    whole.weight = fmaf(next.weight, scale, whole.weight * old);
#pragma unroll
    for (u32 i = 0; i < COLS; i++) {
        whole.sums[i] = fmaf(next.sums[i], scale, whole.sums[i] * old);
    }
    whole.most = top;
}

// Drafted rows before `column` that `row` sees.
DEVICE u32 seen_before(const Staged &staged, u32 row, u32 column) {
    u32 seen = 0;
#pragma unroll 1
    for (u32 w = 0; w * 64 < column; w++) {
        u64 set = staged.ancestors[(u64)row * staged.words + w];
        u32 rest = column - w * 64;
        seen += __popcll(rest < 64 ? set & (((u64)1 << rest) - 1) : set);
    }
    return seen;
}

// Whether `row` sees drafted row `column` of its sequence at a position of `tile`.
DEVICE bool sees(const Staged &staged, u32 row, u32 prefix, u32 column, u32 tile) {
    u64 set = staged.ancestors[(u64)row * staged.words + column / 64];
    bool seen = set >> column % 64 & 1;
    return seen && (prefix + seen_before(staged, row, column)) / TILE == tile;
}

// sum += x y, column by column.
DEVICE void multiply_add(float4 &sum, float4 x, float4 y) {
    sum = {fmaf(x.x, y.x, sum.x), fmaf(x.y, y.y, sum.y), fmaf(x.z, y.z, sum.z),
           fmaf(x.w, y.w, sum.w)};
}

DEVICE float part(float4 of, u32 i) { return i == 0 ? of.x : i == 1 ? of.y : i == 2 ? of.z : of.w; }

// A chunk to be copied: the `step`-th of its tile, keys first, then values; `slot` is this lane's.
struct Copies {
    u32 tile, step, slot;
};

template <u32 DIM, u32 ROWS, u32 LENGTH> struct Block {
    static constexpr u32 PITCH = DIM + 4, QUADS = DIM / 4, HEIGHT = ROWS, RING = LENGTH;
    // The products with keys: a warp has 8 keys of a chunk, and a thread every `SCORED`-th row.
    static constexpr u32 SCORED = ROWS == 8 ? 4 : 8;
    // The sums of values: a warp has a quarter of the columns, a thread 4 of every `ADDED`-th row.
    static constexpr u32 ADDED = WARP / (QUADS / 4), MINE = ROWS / ADDED;

    // The same in every thread.
    Staged staged;
    const float *keys, *values;
    u32 dim, width, head, columns, unit;
    const u32 *table, *drafted;
    // What the packed rows read.
    u32 tiles, prefix_max, tree_begin;
    // Shared.
    u32 pitch;
    float *q, *ring, *scores, *most;
    u32 *row_of, *head_of, *prefix;

    // Divides the shared memory; a row has room for the scores of `columns_max` drafted rows.
    DEVICE void divide(u32 columns_max) {
        pitch = TILE + columns_max + 4;
        q = (float *)shared_memory();
        ring = q + ROWS * PITCH;
        scores = ring + LENGTH * CHUNK * PITCH;
        most = scores + ROWS * pitch;
        row_of = (u32 *)(most + ROWS);
        head_of = row_of + ROWS;
        prefix = head_of + ROWS;
    }

    // Finds what rows `first..end` of the sequence read, `group` heads each; a lane takes a row.
    DEVICE void take(u32 first, u32 end, u32 group) {
        u32 at = lane(), row = first + at / group;
        bool used = at < ROWS && row < end;
        u32 before = used ? staged.prefix_len[row] : 0;
        u32 seen = used ? before + seen_before(staged, row, staged.words * 64) : 0;
        if (warp() == 0 && at < ROWS) {
            row_of[at] = used ? row : ALL_LANES;
            head_of[at] = head * group + at % group;
            prefix[at] = before;
        }
        tiles = div_up(warp_max(seen), TILE);
        prefix_max = warp_max(before);
        // The least, and none if there is none.
        tree_begin = ~warp_max(seen > before ? ~before : 0u);
    }

    // Loads the queries, all at once: a store that came between would make loads wait.
    DEVICE void load_queries(const float *qkv, u32 qkv_stride) {
        constexpr u32 EACH = ROWS * DIM / THREADS;
        float held[EACH];
#pragma unroll
        for (u32 j = 0; j < EACH; j++) {
            u32 i = threadIdx.x + j * THREADS, row = i / DIM, d = i % DIM;
            bool used = row_of[row] != ALL_LANES && d < dim;
            const float *from = qkv + (u64)row_of[row] * qkv_stride + head_of[row] * dim + d;
            held[j] = used ? *from : 0.0f;
        }
#pragma unroll
        for (u32 j = 0; j < EACH; j++) {
            u32 i = threadIdx.x + j * THREADS;
            q[i / DIM * PITCH + i % DIM] = held[j];
        }
        // Columns that no copy fills are multiplied by zeros of q.
        u32 quads = div_up(dim, 4);
        for (u32 i = threadIdx.x; i < LENGTH * CHUNK * (QUADS - quads); i += THREADS) {
            u32 key = i / (QUADS - quads), quad = quads + i % (QUADS - quads);
            *(float4 *)(ring + key * PITCH + 4 * quad) = {0.0f, 0.0f, 0.0f, 0.0f};
        }
    }

    // The first of the rows, every `ADDED`-th, and of the four columns that this thread sums up.
    DEVICE static u32 own_row() { return lane() / (QUADS / 4); }
    DEVICE static u32 own_col() { return (warp() * (QUADS / 4) + lane() % (QUADS / 4)) * 4; }

    // Keys of the prefix that lie in `tile`.
    DEVICE u32 in_prefix(u32 tile) const {
        u32 first = tile * TILE;
        return prefix_max > first ? least(TILE, prefix_max - first) : 0;
    }

    // Keys that lie in `tile` for some row: those of the prefix, then all drafted columns.
    DEVICE u32 in_tile(u32 tile) const {
        return in_prefix(tile) + (tree_begin < (tile + 1) * TILE ? columns : 0);
    }

    // The tile after `tile` that this block has, and `tiles` or more behind the last.
    DEVICE u32 after(u32 tile) const {
        bool inside = (tile + 1) % unit != 0 && tile + 1 < tiles;
        return inside ? tile + 1 : (tile / unit + gridDim.z) * unit;
    }

    // The chunk `step` of `tile`, or the first of the next tile if that was the last.
    DEVICE Copies chunk(u32 tile, u32 step) const {
        if (tile < tiles && step == 2 * div_up(in_tile(tile), CHUNK)) {
            tile = after(tile);
            step = 0;
        }
        Copies copies = {tile, step, 0};
        if (tile < tiles) {
            u32 n = in_prefix(tile), m = in_tile(tile), chunks = div_up(m, CHUNK);
            u32 at = (step < chunks ? step : step - chunks) * CHUNK + lane();
            const u32 *from = at < n ? table + tile * TILE + at : drafted + at - n;
            copies.slot = at < m ? *from : ALL_LANES;
        }
        return copies;
    }

    // Begins the copies of a chunk into place `at` of the ring; commits one group, be it empty.
    DEVICE void copy(const Copies &copies, u32 at) {
        constexpr u32 EACH = CHUNK * QUADS / THREADS, APART = THREADS / QUADS;
        u32 key = threadIdx.x / QUADS, d = threadIdx.x % QUADS * 4;
        if (copies.tile < tiles) {
            bool of_keys = copies.step < div_up(in_tile(copies.tile), CHUNK);
            const float *from = (of_keys ? keys : values) + head * dim + d;
            float *to = ring + (at * CHUNK + key) * PITCH + d;
            u32 slots[EACH];
#pragma unroll
            for (u32 j = 0; j < EACH; j++) {
                slots[j] = __shfl_sync(ALL_LANES, copies.slot, key + j * APART);
            }
#pragma unroll
            for (u32 j = 0; j < EACH && dim % 4 == 0; j++) {
                if (slots[j] != ALL_LANES && d < dim) {
                    copy_async(to + j * APART * PITCH, from + (u64)slots[j] * width);
                }
            }
#pragma unroll 1
            for (u32 j = 0; j < 4 * EACH && dim % 4 != 0; j++) {
                u32 slot = __shfl_sync(ALL_LANES, copies.slot, key + j / 4 * APART), i = j % 4;
                bool there = slot != ALL_LANES && d + i < dim;
                to[j / 4 * APART * PITCH + i] = there ? from[(u64)slot * width + i] : 0.0f;
            }
        }
        commit_copies();
    }

    // Scores of the keys in `k`, into columns `column + 0..32`; `visible(row, i)` masks column i.
    template <class See> DEVICE void score(const float *k, u32 column, float scale, See visible) {
        constexpr u32 KEYS = SCORED / 4, APART = WARP / SCORED;
        u32 first = lane() % SCORED, key = warp() * 8 + lane() / SCORED;
        float4 sums[ROWS / SCORED][KEYS] = {};
#pragma unroll 4
        for (u32 d = 0; d < DIM; d += 4) {
#pragma unroll
            for (u32 i = 0; i < ROWS / SCORED * KEYS; i++) {
                float4 x = *(const float4 *)(q + (first + i / KEYS * SCORED) * PITCH + d);
                float4 y = *(const float4 *)(k + (key + i % KEYS * APART) * PITCH + d);
                multiply_add(sums[i / KEYS][i % KEYS], x, y);
            }
        }
#pragma unroll
        for (u32 i = 0; i < ROWS / SCORED * KEYS; i++) {
            u32 row = first + i / KEYS * SCORED, to = column + key + i % KEYS * APART;
            float4 sum = sums[i / KEYS][i % KEYS];
            float whole = ((sum.x + sum.y) + (sum.z + sum.w)) * scale;
            scores[row * pitch + to] = visible(row, to) ? whole : MINUS_INFINITY;
        }
    }
};
