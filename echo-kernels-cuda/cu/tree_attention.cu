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
// order: a score is four sums over columns d = 0..3 mod 4, added as (0 + 1) + (2 + 3). A tile is 64
//   positions: one maximum, then weights and values summed ascending. Two tiles are a split: they
//   are merged ascending, from nothing, and so are the splits. Both are cut at absolute positions.
//   The j-th key a row sees is at position j whether it comes from the prefix or from the tree, so
//   for a tree column that place is counted per row, and a column that is hidden or belongs to
//   another tile is skipped, not added as zero. A row's bits therefore know nothing of where its
//   prefix ends, of its siblings, or of how the work was divided.
//
// launch: grid (rows, n_kv, blocks that share the tiles), 128 threads. Packed rows are the
//   n_q / n_kv query heads that share a key head, for ROWS * n_kv / n_q rows of one sequence; a
//   block whose first row begins no such run ends at once, so the grid needs no list of runs. ROWS
//   is 8 or 32 and changes no order. With gridDim.z > 1 a block does every gridDim.z-th unit, tile
//   or split (`Staged::unit`), leaves each in `partial`, f32[units, rows, n_q, 4 n] (sums up
//   to a whole four, then maximum, weight and two zeros), and takes one of the `tickets`,
//   u32[rows, n_kv], which are zero before and after: who takes the last merges all. With
//   gridDim.z = 1 a block does and merges all, with the same arithmetic. How many units a row has,
//   blocks find out; the launch knows no length.
// shared: q, a ring of LENGTH chunks (rows of DIM + 4 floats, which spreads them over banks),
//   scores f32[ROWS, 64 + columns + 4]. A chunk is 32 keys or values. Those of all tiles, keys
//   before values, pass through the ring ahead of the products: a block waits for memory once.
#include "attention_sums.h"

template <class Block>
DEVICE void tree_attention(Block &block, const u32 *live, const float *qkv, u32 qkv_stride,
                           float *out, u32 out_stride, float *partial, u32 *tickets, u32 n_q,
                           u32 n_kv, float scale, u32 columns_max) {
    begin();
    if (pads(live)) {
        return;
    }
    const Staged &staged = block.staged;
    u32 group = n_q / n_kv, run = Block::HEIGHT / group, first = blockIdx.x;
    u32 seq = staged.seq_of[first];
    u32 end = least(first + run, staged.row_start[seq + 1]), drafted = staged.drafted_start[seq];
    if ((first - staged.row_start[seq]) % run != 0) {
        return;
    }
    block.table = staged.table + staged.table_start[seq];
    block.drafted = staged.slot + drafted;
    // Parents come before children, so nobody here sees a column behind the last of these rows.
    block.columns = end > drafted ? end - drafted : 0;
    block.unit = staged.unit(seq, gridDim.z);
    block.divide(columns_max);
    block.take(first, end, group);
    u32 tile = blockIdx.z * block.unit;
    if (tile >= block.tiles) {
        return;
    }
    constexpr u32 AHEAD = Block::RING - 1, MINE = Block::MINE;
    Copies next = block.chunk(tile, 0);
#pragma unroll 1
    for (u32 i = 0; i < AHEAD; i++) {
        Copies now = next;
        next = block.chunk(now.tile, now.step + 1);
        block.copy(now, i);
    }
    __syncthreads();
    block.load_queries(qkv, qkv_stride);

    Running<4> split[MINE], whole[MINE];
    for (u32 turn = 0; tile < block.tiles;) {
        u32 n = block.in_prefix(tile), m = block.in_tile(tile), chunks = div_up(m, CHUNK);
        Running<4> sums[MINE];
        for (u32 step = 0; step < 2 * chunks; step++) {
            wait_copies<(int)AHEAD - 1>();
            __syncthreads();
            block.copy(next, (turn + AHEAD) % Block::RING);
            next = block.chunk(next.tile, next.step + 1);
            const float *chunk = block.ring + turn * CHUNK * block.PITCH;
            turn = (turn + 1) % Block::RING;
            if (step < chunks) {
                block.score(chunk, step * CHUNK, scale, [&](u32 row, u32 i) {
                    u32 prefix = block.prefix[row];
                    return i < n ? tile * TILE + i < prefix
                                 : i < m && block.row_of[row] != ALL_LANES &&
                                       sees(staged, block.row_of[row], prefix, i - n, tile);
                });
                continue;
            }
            if (step == chunks) {
                soften(block, chunks * CHUNK);
                __syncthreads();
            }
            u32 column = (step - chunks) * CHUNK;
            add(block, chunk, column, least(CHUNK, m - column), sums);
        }
        tile = close(block, tile, sums, split, whole, partial, n_q, out, out_stride);
    }
    conclude(block, tickets + first * n_kv + blockIdx.y, partial, n_q, out, out_stride);
}

#define TREE_ATTENTION(name, DIM, ROWS, LENGTH)                                                    \
    KERNEL(THREADS)                                                                                \
    name(const u32 *live, const u32 *seq_of, const u32 *row_start, const u32 *drafted_start,       \
         const u32 *prefix_len, const u32 *slot, const u32 *table_start, const u32 *table,         \
         const u64 *ancestors, u32 words, const float *qkv, u32 qkv_stride, const float *keys,     \
         const float *values, float *out, u32 out_stride, float *partial, u32 *tickets, u32 n_q,   \
         u32 n_kv, u32 dim, float scale, u32 columns_max) {                                        \
        Block<DIM, ROWS, LENGTH> block = {                                                         \
            {seq_of, row_start, drafted_start, prefix_len, slot, table_start, table, ancestors,    \
             words}, keys, values, dim, n_kv * dim, blockIdx.y};                                   \
        tree_attention(block, live, qkv, qkv_stride, out, out_stride, partial, tickets, n_q, n_kv, \
                       scale, columns_max);                                                        \
    }

TREE_ATTENTION(tree_attention_64_8, 64, 8, 4)
TREE_ATTENTION(tree_attention_64_32, 64, 32, 4)
TREE_ATTENTION(tree_attention_128_8, 128, 8, 4)
TREE_ATTENTION(tree_attention_128_32, 128, 32, 3)
