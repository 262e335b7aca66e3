// stage — lays the packed rows out where the device reads them.
// No reference: it computes nothing. The host has copied the forward in one piece, the fields of
// `Staged` one after another; what a block of rows must look up is written beside them.
//
// in   row_start  u32[n_seqs + 1]  first row of each sequence, last the number of rows
// out  seq_of     u32[rows]        the sequence of each row
// numerics: exact.
// launch: grid (n_seqs), 64 threads.
#include "echo_cuda.h"

KERNEL(64)
stage(const u32 *row_start, u32 *seq_of) {
    u32 end = row_start[blockIdx.x + 1];
    for (u32 row = row_start[blockIdx.x] + threadIdx.x; row < end; row += blockDim.x) {
        seq_of[row] = blockIdx.x;
    }
}
