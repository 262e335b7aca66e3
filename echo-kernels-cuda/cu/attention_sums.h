// attention_sums.h — what a block of `tree_attention.cu` makes of a tile: weights, sums of values,
// what it writes, and what the last block makes of what all have written.
#pragma once
#include "attention.h"

// Scores of `n` columns to weights relative to the row's maximum; all threads, some for each row.
template <class Block> DEVICE void soften(const Block &block, u32 n) {
    constexpr u32 EACH = THREADS / Block::HEIGHT;
    u32 row = threadIdx.x / EACH, first = threadIdx.x % EACH;
    float *own = block.scores + row * block.pitch, top = MINUS_INFINITY;
#pragma unroll 4
    for (u32 i = first; i < n; i += EACH) {
        top = fmaxf(top, own[i]);
    }
    for (u32 step = EACH / 2; step > 0; step /= 2) {
        top = fmaxf(top, __shfl_xor_sync(ALL_LANES, top, step));
    }
#pragma unroll 4
    for (u32 i = first; i < n; i += EACH) {
        own[i] = top != MINUS_INFINITY ? expf(own[i] - top) : 0.0f;
    }
    if (first == 0) {
        block.most[row] = top;
    }
}

// Adds the values in `v` with the weights of columns `column + 0..n`, ascending. Columns behind the
// last are hidden, up to the end of the chunk.
template <class Block>
DEVICE void add(const Block &block, const float *v, u32 column, u32 n,
                Running<4> (&sums)[Block::MINE]) {
    const float *weights = block.scores + block.own_row() * block.pitch + column;
#pragma unroll(Block::MINE == 1 ? 2 : 1)
    for (u32 key = 0; key < n; key += 4) {
        float4 values[4], own[Block::MINE];
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            values[i] = *(const float4 *)(v + (key + i) * Block::PITCH + block.own_col());
        }
#pragma unroll
        for (u32 r = 0; r < Block::MINE; r++) {
            own[r] = *(const float4 *)(weights + r * Block::ADDED * block.pitch + key);
        }
#pragma unroll
        for (u32 i = 0; i < 4 * Block::MINE; i++) {
            Running<4> &to = sums[i % Block::MINE];
            float weight = part(own[i % Block::MINE], i / Block::MINE);
            // Hidden values may be anything, NaN included.
            if (weight != 0.0f) {
                to.weight += weight;
                for (u32 d = 0; d < 4; d++) {
                    to.sums[d] = fmaf(weight, part(values[i / Block::MINE], d), to.sums[d]);
                }
            }
        }
    }
}

// Writes the answer of packed row `mine`.
template <class Block>
DEVICE void write(const Block &block, u32 mine, const Running<4> &whole, float *out,
                  u32 out_stride) {
    u32 row = block.row_of[mine], col = block.own_col(), dim = block.dim;
    out += (u64)row * out_stride + block.head_of[mine] * dim;
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
        if (row != ALL_LANES && col + i < dim) {
            out[col + i] = whole.sums[i] / whole.weight;
        }
    }
}

// Floats of a unit that is left: the sums, in fours, then maximum and weight, and a rest.
DEVICE u32 left_floats(u32 dim) { return 4 * (div_up(dim, 4) + 1); }

// Where a unit of packed row `mine` is left, of which `left` is the first.
template <class Block, class T>
DEVICE T *left_of(const Block &block, u32 mine, u32 n_q, T *left) {
    u64 head = (u64)block.row_of[mine] * n_q + block.head_of[mine];
    return left + head * left_floats(block.dim);
}

// Leaves a unit of packed row `mine` for the merge.
template <class Block>
DEVICE void leave(const Block &block, u32 mine, const Running<4> &unit, u32 n_q, float *left) {
    u32 col = block.own_col(), dim = block.dim;
    if (block.row_of[mine] == ALL_LANES || col >= dim) {
        return;
    }
    float4 *to = (float4 *)left_of(block, mine, n_q, left);
    to[col / 4] = {unit.sums[0], unit.sums[1], unit.sums[2], unit.sums[3]};
    if (col == 0) {
        to[div_up(dim, 4)] = {unit.most, unit.weight, 0.0f, 0.0f};
    }
}

// Takes the sums of `tile` into its split, and a split that ends with it into the whole; writes what
// is then complete. Returns the tile that the block goes on with.
template <class Block>
DEVICE u32 close(const Block &block, u32 tile, Running<4> (&sums)[Block::MINE],
                 Running<4> (&split)[Block::MINE], Running<4> (&whole)[Block::MINE],
                 float *partial, u32 n_q, float *out, u32 out_stride) {
    u32 following = block.after(tile);
    float *left = partial + (u64)(tile / block.unit) * gridDim.x * n_q * left_floats(block.dim);
    bool ends = (tile + 1) % block.unit == 0 || following >= block.tiles;
#pragma unroll
    for (u32 r = 0; r < Block::MINE; r++) {
        u32 mine = block.own_row() + r * Block::ADDED;
        sums[r].most = block.most[mine];
        merge(split[r], sums[r]);
        if (ends) {
            merge(whole[r], split[r]);
            if (gridDim.z > 1) {
                leave(block, mine, split[r], n_q, left);
            } else if (following >= block.tiles) {
                write(block, mine, whole[r], out, out_stride);
            }
            split[r] = {};
        }
    }
    return following;
}

// Whether this block is the last of `blocks` that take a ticket, with all that the others wrote
// before in sight; it puts the tickets back. `shared` is a word that nobody needs any more.
DEVICE bool comes_last(u32 *ticket, u32 blocks, u32 *shared) {
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        u32 before = atomicAdd(ticket, 1u);
        *shared = before + 1 == blocks;
        if (before + 1 == blocks) {
            *ticket = 0;
        }
        __threadfence();
    }
    __syncthreads();
    return *shared != 0;
}

// Merges all units of the rows, in their order, and writes the answers.
template <class Block>
DEVICE void merge_all(const Block &block, const float *partial, u32 n_q, float *out,
                      u32 out_stride) {
    constexpr u32 LOADED = 8, TILES = SPLIT / TILE;
    u32 units = div_up(block.tiles, block.unit), dim = block.dim, col = block.own_col();
    u64 apart = (u64)gridDim.x * n_q * left_floats(dim) / 4;
#pragma unroll 1
    for (u32 r = 0; r < Block::MINE; r++) {
        u32 mine = block.own_row() + r * Block::ADDED;
        if (block.row_of[mine] == ALL_LANES || col >= dim) {
            continue;
        }
        const float4 *from = (const float4 *)left_of(block, mine, n_q, partial);
        Running<4> whole, split;
        // A thread asks for several units at once, whole splits.
        for (u32 first = 0; first < units; first += LOADED) {
            Running<4> parts[LOADED];
#pragma unroll
            for (u32 i = 0; i < LOADED; i++) {
                if (first + i < units) {
                    const float4 *unit = from + (first + i) * apart;
                    float4 sums = load_written(unit + col / 4);
                    float4 rest = load_written(unit + div_up(dim, 4));
                    parts[i].most = rest.x;
                    parts[i].weight = rest.y;
#pragma unroll
                    for (u32 d = 0; d < 4; d++) {
                        parts[i].sums[d] = part(sums, d);
                    }
                }
            }
#pragma unroll
            for (u32 i = 0; i < LOADED; i++) {
                merge(split, parts[i]);
                if (block.unit == TILES || i % TILES == TILES - 1) {
                    merge(whole, split);
                    split = {};
                }
            }
        }
        write(block, mine, whole, out, out_stride);
    }
}

// Ends the rows, if their tiles were shared and all other blocks have left theirs.
template <class Block>
DEVICE void conclude(const Block &block, u32 *ticket, const float *partial, u32 n_q, float *out,
                     u32 out_stride) {
    u32 sharing = least(gridDim.z, div_up(block.tiles, block.unit));
    if (gridDim.z > 1 && comes_last(ticket, sharing, (u32 *)block.most)) {
        merge_all(block, partial, n_q, out, out_stride);
    }
}
