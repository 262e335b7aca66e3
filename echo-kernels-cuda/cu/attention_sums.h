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

// Writes the sums of packed row `mine` over `weight`, and behind them, if there is room, the rest.
template <class Block>
DEVICE void write(const Block &block, u32 mine, const Running<4> &sums, float weight, float *to,
                  u64 stride, u32 head_stride) {
    u32 row = block.row_of[mine], col = block.own_col(), dim = block.dim;
    to += row * stride + block.head_of[mine] * head_stride;
    if (row == ALL_LANES) {
        return;
    }
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
        if (col + i < dim) {
            to[col + i] = sums.sums[i] / weight;
        }
    }
    if (col == 0 && head_stride > dim) {
        to[dim] = sums.most;
        to[dim + 1] = sums.weight;
    }
}

// Takes the sums of `tile` into its split, and a split that ends with it into the whole; writes what
// is then complete. Returns the tile that the block goes on with.
template <class Block>
DEVICE u32 close(const Block &block, u32 tile, Running<4> (&sums)[Block::MINE],
                 Running<4> (&split)[Block::MINE], Running<4> (&whole)[Block::MINE],
                 float *partial, u32 n_q, float *out, u32 out_stride) {
    u32 following = block.after(tile), pitch = block.dim + 2;
    float *left = partial + (u64)(tile / block.unit) * gridDim.x * n_q * pitch;
    bool ends = (tile + 1) % block.unit == 0 || following >= block.tiles;
#pragma unroll
    for (u32 r = 0; r < Block::MINE; r++) {
        u32 mine = block.own_row() + r * Block::ADDED;
        sums[r].most = block.most[mine];
        merge(split[r], sums[r]);
        if (ends) {
            merge(whole[r], split[r]);
            if (gridDim.z > 1) {
                write(block, mine, split[r], 1.0f, left, n_q * pitch, pitch);
            } else if (following >= block.tiles) {
                write(block, mine, whole[r], whole[r].weight, out, out_stride, block.dim);
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
    constexpr u32 LOADED = 4, TILES = SPLIT / TILE;
    u32 units = div_up(block.tiles, block.unit), each = TILES / block.unit;
    u32 dim = block.dim, col = block.own_col();
    u64 apart = (u64)gridDim.x * n_q * (dim + 2);
#pragma unroll 1
    for (u32 r = 0; r < Block::MINE; r++) {
        u32 mine = block.own_row() + r * Block::ADDED, row = block.row_of[mine];
        if (row == ALL_LANES || col >= dim) {
            continue;
        }
        const float *from = partial + ((u64)row * n_q + block.head_of[mine]) * (dim + 2);
        Running<4> whole;
        // A thread asks for several splits at once.
        for (u32 first = 0; first < units; first += LOADED * each) {
            Running<4> parts[LOADED * TILES];
#pragma unroll
            for (u32 i = 0; i < LOADED * TILES; i++) {
                u32 unit = first + i / TILES * each + i % TILES;
                if (i % TILES < each && unit < units) {
                    const float *part = from + unit * apart;
#pragma unroll
                    for (u32 d = 0; d < 4; d++) {
                        parts[i].sums[d] = load_written(part + least(col + d, dim - 1));
                    }
                    parts[i].most = load_written(part + dim);
                    parts[i].weight = load_written(part + dim + 1);
                }
            }
#pragma unroll
            for (u32 s = 0; s < LOADED; s++) {
                Running<4> split;
#pragma unroll
                for (u32 i = 0; i < TILES; i++) {
                    merge(split, parts[s * TILES + i]);
                }
                merge(whole, split);
            }
        }
        write(block, mine, whole, whole.weight, out, out_stride, dim);
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
