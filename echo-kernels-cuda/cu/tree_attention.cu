// tree_attention — softmax attention of each row over its prefix and its ancestors.
// also: `echo-kernels-cpu/src/reference/tree_attention.rs`,
//   `echo-kernels-wgpu/wgsl/tree_attention.wgsl`
//
// in   live    u32     number of rows
// in   staged  rows with prefix_len, ancestor sets and slots, as echo_core::PackedView has them
// in   qkv     f32[rows, (n_q + 2 n_kv) dim], rows `qkv_stride` apart; only q is read, rotated
// in   keys    f32[slots, n_kv, dim]          only slots of the row's own sequence are read
// in   values  f32[slots, n_kv, dim]          only slots of the row's own sequence are read
// out  out     f32[rows, n_q dim], rows `out_stride` apart; or partial answers, see below
//
// numerics: tolerance 1e-9 NMSE, f32 throughout: keys and values are f32 and read once per block,
//   so at the lengths that matter their bytes are the bound, not the products.
// order: positions ascending in tiles of 32, with an online softmax from tile to tile; 16 tiles are
//   a split, splits are summed from nothing and merged ascending. Tiles and splits are cut at
//   absolute positions. The j-th key a row sees is at position j whether it comes from the prefix
//   or from the tree, so for a tree column that place is counted per row, and a column that is
//   hidden or belongs to another tile is skipped, not added as zero. A row's bits therefore know
//   nothing of where its prefix ends, of its siblings, or of how the work was divided.
//
// launch: grid (rows, n_kv, blocks that share the splits), 128 threads. Packed rows are the
//   n_q / n_kv query heads that share a key head, for ROWS * n_kv / n_q rows of one sequence; a
//   block whose first row does not begin such a run ends at once, so the grid needs no list of
//   runs. ROWS is 8 or 32 and changes no order. With gridDim.z > 1 a block does every gridDim.z-th
//   split and leaves each to `tree_attention_merge` in `partial`, f32[splits, rows, n_q, dim + 2]
//   (sums, maximum, weight); else it does them all and merges as it goes, with the same arithmetic.
//   How many splits a row has, the blocks find out; the launch knows no length.
// shared: q, a tile of keys, a tile of values (rows of DIM + 4 floats, which spreads them over
//   banks), scores f32[ROWS, 32 + columns]; copies of the next tile run behind the products.
#include "attention.h"

template <u32 DIM, u32 ROWS>
DEVICE void attend_tile(Block<DIM, ROWS> &block, const Reach &reach, u32 tile, u32 last,
                        float scale, Running<DIM / 16> (&sums)[ROWS / 8]) {
    const Staged &staged = block.staged;
    const u32 *table = staged.table + staged.table_start[block.seq];
    const u32 *drafted = staged.slot + staged.drafted_start[block.seq];
    u32 first = tile * TILE;
    u32 n = block.in_prefix(reach, tile);
    u32 columns = reach.tree_begin < first + TILE ? block.columns : 0;

    block.fetch(block.v, block.values, table + first, n);
    wait_copies<1>();
    __syncthreads();
    block.score(0, scale, [&](u32 row, u32 key) { return first + key < block.prefix[row]; });
    __syncthreads();
    for (u32 column = 0; column < columns; column += TILE) {
        block.fetch(block.k, block.keys, drafted + column, least(TILE, columns - column));
        wait_copies<0>();
        __syncthreads();
        block.score(TILE + column, scale, [&](u32 row, u32 key) {
            return block.row_of[row] != ALL_LANES && column + key < columns &&
                   sees(staged, block.row_of[row], block.prefix[row], column + key, tile);
        });
        __syncthreads();
    }
    u32 ahead = tile < last ? block.in_prefix(reach, tile + 1) : 0;
    block.fetch(block.k, block.keys, table + first + TILE, ahead);
    block.soften(TILE + div_up(columns, TILE) * TILE);
    wait_copies<1>();
    __syncthreads();
    for (u32 r = 0; r < ROWS / 8; r++) {
        float factor = block.rescale[threadIdx.x / 16 * (ROWS / 8) + r];
        sums[r].weight *= factor;
        for (u32 i = 0; i < DIM / 16; i++) {
            sums[r].sums[i] *= factor;
        }
    }
    block.add(sums, 0, n);
    for (u32 column = 0; column < columns; column += TILE) {
        __syncthreads();
        block.fetch(block.v, block.values, drafted + column, least(TILE, columns - column));
        wait_copies<0>();
        __syncthreads();
        block.add(sums, TILE + column, least(TILE, columns - column));
    }
    __syncthreads();
}

// Leaves one split's answers for `tree_attention_merge`.
template <u32 DIM, u32 ROWS>
DEVICE void leave(const Block<DIM, ROWS> &block, const Running<DIM / 16> (&sums)[ROWS / 8],
                  float *partial, u32 split, u32 n_q, u32 group) {
    for (u32 r = 0; r < ROWS / 8; r++) {
        u32 mine = threadIdx.x / 16 * (ROWS / 8) + r, row = block.row_of[mine];
        if (row == ALL_LANES) {
            continue;
        }
        u64 place = ((u64)split * gridDim.x + row) * n_q + block.head * group + mine % group;
        float *to = partial + place * (block.dim + 2);
        for (u32 i = 0; i < DIM / 16; i++) {
            if (block.col(i) < block.dim) {
                to[block.col(i)] = sums[r].sums[i];
            }
        }
        if (block.col(0) == 0) {
            to[block.dim] = block.most[mine];
            to[block.dim + 1] = sums[r].weight;
        }
    }
}

// Writes the answers of all splits together.
template <u32 DIM, u32 ROWS>
DEVICE void answer(const Block<DIM, ROWS> &block, const Running<DIM / 16> (&whole)[ROWS / 8],
                   float *out, u32 out_stride, u32 group) {
    for (u32 r = 0; r < ROWS / 8; r++) {
        u32 mine = threadIdx.x / 16 * (ROWS / 8) + r, row = block.row_of[mine];
        u32 head = block.head * group + mine % group;
        for (u32 i = 0; i < DIM / 16; i++) {
            if (row != ALL_LANES && block.col(i) < block.dim) {
                float share = whole[r].sums[i] / whole[r].weight;
                out[(u64)row * out_stride + head * block.dim + block.col(i)] = share;
            }
        }
    }
}

template <u32 DIM, u32 ROWS>
DEVICE void tree_attention(const u32 *live, const Staged &staged, const float *qkv, u32 qkv_stride,
                           const float *keys, const float *values, float *out, u32 out_stride,
                           float *partial, u32 n_q, u32 n_kv, u32 dim, float scale,
                           u32 columns_max) {
    constexpr u32 MINE = ROWS / 8;
    begin();
    if (pads(live)) {
        return;
    }
    u32 group = n_q / n_kv, run = ROWS / group;
    u32 first = blockIdx.x, seq = staged.seq_of[first];
    if ((first - staged.row_start[seq]) % run != 0) {
        return;
    }
    u32 end = least(first + run, staged.row_start[seq + 1]), drafted = staged.drafted_start[seq];

    Block<DIM, ROWS> block;
    block.staged = staged;
    block.keys = keys;
    block.values = values;
    block.dim = dim;
    block.width = n_kv * dim;
    block.head = blockIdx.y;
    block.seq = seq;
    // Parents come before children, so nobody here sees a column behind the last of these rows.
    block.columns = end > drafted ? end - drafted : 0;
    block.divide(columns_max);
    Reach reach = block.take(qkv, qkv_stride, first, end, group);

    u32 splits = div_up(reach.longest, SPLIT);
    float most[MINE];
    Running<DIM / 16> whole[MINE] = {};
    for (u32 r = 0; r < MINE; r++) {
        most[r] = MINUS_INFINITY;
    }
    for (u32 split = blockIdx.z; split < splits; split += gridDim.z) {
        u32 tile = split * (SPLIT / TILE);
        u32 last = least(tile + SPLIT / TILE, div_up(reach.longest, TILE)) - 1;
        Running<DIM / 16> sums[MINE] = {};
        for (u32 row = threadIdx.x; row < ROWS; row += THREADS) {
            block.most[row] = MINUS_INFINITY;
        }
        const u32 *table = staged.table + staged.table_start[seq] + tile * TILE;
        block.fetch(block.k, keys, table, block.in_prefix(reach, tile));
        for (; tile <= last; tile++) {
            attend_tile<DIM, ROWS>(block, reach, tile, last, scale, sums);
        }
        if (gridDim.z > 1) {
            leave<DIM, ROWS>(block, sums, partial, split, n_q, group);
        }
        for (u32 r = 0; r < MINE; r++) {
            merge(most[r], whole[r], block.most[threadIdx.x / 16 * MINE + r], sums[r]);
        }
        __syncthreads();
    }
    if (gridDim.z == 1) {
        answer<DIM, ROWS>(block, whole, out, out_stride, group);
    }
}

#define TREE_ATTENTION(name, DIM, ROWS)                                                            \
    KERNEL(THREADS)                                                                                \
    name(const u32 *live, const u32 *seq_of, const u32 *row_start, const u32 *drafted_start,       \
         const u32 *prefix_len, const u32 *slot, const u32 *table_start, const u32 *table,         \
         const u64 *ancestors, u32 words, const float *qkv, u32 qkv_stride, const float *keys,     \
         const float *values, float *out, u32 out_stride, float *partial, u32 n_q, u32 n_kv,       \
         u32 dim, float scale, u32 columns_max) {                                                  \
        Staged staged = {seq_of, row_start, drafted_start, prefix_len, slot,                       \
                         table_start, table, ancestors, words};                                    \
        tree_attention<DIM, ROWS>(live, staged, qkv, qkv_stride, keys, values, out, out_stride,    \
                                  partial, n_q, n_kv, dim, scale, columns_max);                    \
    }

TREE_ATTENTION(tree_attention_64_8, 64, 8)
TREE_ATTENTION(tree_attention_64_32, 64, 32)
TREE_ATTENTION(tree_attention_128_8, 128, 8)
TREE_ATTENTION(tree_attention_128_32, 128, 32)

// Merges the splits a row has, ascending. Grid (rows, n_q), 128 threads, one column each.
KERNEL(128)
tree_attention_merge(const u32 *live, const u32 *prefix_len, const u64 *ancestors, u32 words,
                     const float *partial, float *out, u32 out_stride, u32 dim) {
    u32 row = blockIdx.x, head = blockIdx.y, d = threadIdx.x;
    begin();
    if (pads(live) || d >= dim) {
        return;
    }
    Staged staged = {};
    staged.ancestors = ancestors;
    staged.words = words;
    u32 splits = div_up(prefix_len[row] + drafted_seen(staged, row), SPLIT);
    float most = MINUS_INFINITY;
    Running<1> whole = {};
    for (u32 split = 0; split < splits; split++) {
        u64 place = ((u64)split * gridDim.x + row) * gridDim.y + head;
        const float *from = partial + place * (dim + 2);
        Running<1> part = {from[dim + 1], {from[d]}};
        merge(most, whole, from[dim], part);
    }
    out[(u64)row * out_stride + head * dim + d] = whole.sums[0] / whole.weight;
}
