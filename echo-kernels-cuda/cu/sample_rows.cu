// sample_rows — the token each row commits, by the law of `echo_core::sampling`.
// also: `echo-kernels-cpu/src/reference/sample_rows.rs`,
//   `echo-kernels-wgpu/wgsl/sample_rows.wgsl`
//
// in   logits   f32[rows, vocab], rows `stride` apart
// in   specs    Spec[rows]
// in   edits    Edit[any]       the ranges of a spec name each token once
// out  answers  u32[rows, 4 + 2 top_stride]: token, faulty, log-probability, alternatives listed,
//               then (token, log-probability) of each, best first
// numerics: token, faulty and the listed tokens exact; log-probabilities 1e-5 absolute. Noise,
//   masses and the sum behind a log-probability are f64, as in the law. The masses of top-p are
//   then whole multiples of 2^-44 of the best token's, so that they add up the same in any order.
// launch: grid (rows), 512 threads. A row takes a pass for its soundness and one for the best
//   token; truncation some more for the digits of its threshold; noise one. An edited token is
//   left out of the pass over the vocabulary by a bit, and visited through the list of edits.
// shared: scratch, bits of edited tokens, histogram u64[2048], keys u64[2 top_stride].
#include "select.h"

struct Spec {
    u32 seed[2], position;
    float temperature;
    u32 top_k;
    float top_p;
    float min_p_log; // -inf for none
    u32 edits[2], path_edits[2];
    u32 alternatives; // ALL_LANES: neither log-probability nor alternatives
};

struct Edit {
    u32 token;
    float bias, repetition, penalty;
};

// Four words of noise for four neighbouring tokens: Philox4x32-10.
DEVICE u32 philox(u32 block, u32 position, u32 key0, u32 key1, u32 word) {
    u32 counter[4] = {block, position, 0, 0};
    for (u32 round = 0; round < 10; round++) {
        u64 left = (u64)0xD2511F53u * counter[0], right = (u64)0xCD9E8D57u * counter[2];
        u32 next[4] = {(u32)(right >> 32) ^ counter[1] ^ key0, (u32)right,
                       (u32)(left >> 32) ^ counter[3] ^ key1, (u32)left};
        for (u32 i = 0; i < 4; i++) {
            counter[i] = next[i];
        }
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return word == 0 ? counter[0] : word == 1 ? counter[1] : word == 2 ? counter[2] : counter[3];
}

DEVICE float gumbel(u32 bits) {
    double u = ((double)bits + 0.5) / 4294967296.0;
    return (float)-log(-log1p(-u));
}

// More than any noise from `bits`: it is below -ln u, and u is at least 2^-(1 + leading zeros).
DEVICE float gumbel_bound(u32 bits) { return 0.6932f * (float)(__clz((int)bits) + 1) + 0.01f; }

// The processed logits of a row.
struct Row {
    const float *logits;
    const Edit *edits;
    const u32 *edited;
    Spec spec;
    u32 vocab;

    DEVICE u32 n_edits() const {
        return spec.edits[1] - spec.edits[0] + spec.path_edits[1] - spec.path_edits[0];
    }

    // The i-th edit: those of the text, then those of the path.
    DEVICE Edit edit(u32 i) const {
        u32 text = spec.edits[1] - spec.edits[0];
        return edits[i < text ? spec.edits[0] + i : spec.path_edits[0] + i - text];
    }

    // Whether an edit of the path replaces the i-th edit.
    DEVICE bool replaced(u32 i) const {
        bool found = false;
        for (u32 p = spec.path_edits[0]; p < spec.path_edits[1]; p++) {
            found |= edits[p].token == edit(i).token;
        }
        return found && i < spec.edits[1] - spec.edits[0];
    }

    DEVICE float apply(const Edit &edit) const {
        float biased = logits[edit.token] + edit.bias;
        float repeated = biased > 0.0f ? biased / edit.repetition : biased * edit.repetition;
        return repeated - edit.penalty;
    }

    // Calls `visit(token, logit)` for this thread's part of the vocabulary.
    template <class Visit> DEVICE void each(Visit visit) const {
        float divisor = spec.temperature == 0.0f ? 1.0f : spec.temperature;
        bool any = n_edits() > 0;
        for (u32 v = threadIdx.x; v < vocab; v += blockDim.x) {
            if (!any || !(edited[v / 32] >> v % 32 & 1)) {
                visit(v, logits[v] / divisor);
            }
        }
        for (u32 i = threadIdx.x; i < n_edits(); i += blockDim.x) {
            if (!replaced(i)) {
                visit(edit(i).token, apply(edit(i)) / divisor);
            }
        }
    }
};

// The lowest key that min-p, top-k and top-p leave; `best` is the highest of all.
DEVICE u64 truncate(const Row &row, u64 best, u64 *bins, u64 *scratch) {
    const Spec &spec = row.spec;
    float top = value_of(best), floor = top + spec.min_p_log;
    u64 lowest = 0;
    auto kept = [&](auto visit) {
        row.each([&](u32 token, float logit) {
            u64 key = key_of(logit, token);
            if (logit > MINUS_INFINITY && logit >= floor && key >= lowest) {
                visit(key, logit);
            }
        });
    };
    u64 n = 0;
    kept([&](u64, float) { n++; });
    n = block_sum(n, scratch);
    if (spec.top_k > 0 && spec.top_k < n) {
        auto counted = [&](auto visit) {
            kept([&](u64 key, float) { visit(key, []() { return 1u; }); });
        };
        lowest = select<u32>(spec.top_k, (u32 *)bins, (u32 *)scratch, counted);
    }
    if (spec.top_p < 1.0f) {
        auto mass = [&](float logit) {
            return (u64)(exp((double)(logit - top)) * 17592186044416.0 + 0.5);
        };
        u64 all = 0;
        kept([&](u64, float logit) { all += mass(logit); });
        all = block_sum(all, scratch);
        u64 wanted = (u64)ceil((double)spec.top_p * (double)all);
        auto weighed = [&](auto visit) {
            kept([&](u64 key, float logit) { visit(key, [&]() { return mass(logit); }); });
        };
        lowest = select<u64>(wanted > 0 ? wanted : 1, bins, scratch, weighed);
    }
    // What min-p drops has no key of its own: the floor is one.
    u64 floor_key = key_of(floor, ALL_LANES);
    return floor > MINUS_INFINITY && floor_key > lowest ? floor_key : lowest;
}

// The kept token whose logit and noise are largest together.
DEVICE u32 noisiest(const Row &row, u64 lowest, u64 *scratch) {
    u64 won = 0;
    row.each([&](u32 token, float logit) {
        if (logit == MINUS_INFINITY || key_of(logit, token) < lowest) {
            return;
        }
        const Spec &spec = row.spec;
        u32 bits = philox(token / 4, spec.position, spec.seed[0], spec.seed[1], token % 4);
        if (won > 0 && logit + gumbel_bound(bits) < value_of(won)) {
            return;
        }
        u64 key = key_of(logit + gumbel(bits), token);
        won = key > won ? key : won;
    });
    return column_of(block_max(won, scratch));
}

// Log-probabilities under the softmax of the raw logits.
DEVICE void log_probs(const Row &row, float top, u32 token, u32 listed, u32 *answer, u64 *bins,
                      u64 *scratch, u64 *list) {
    double sum = 0.0;
    for (u32 v = threadIdx.x; v < row.vocab; v += blockDim.x) {
        sum += exp((double)(row.logits[v] - top));
    }
    double log_sum = log(block_sum(sum, (double *)scratch));
    auto log_prob = [&](float logit) { return (float)((double)(logit - top) - log_sum); };
    if (threadIdx.x == 0) {
        answer[2] = float_bits(log_prob(row.logits[token]));
        answer[3] = listed;
    }
    if (listed == 0) {
        return;
    }
    auto each = [&](auto visit) {
        for (u32 v = threadIdx.x; v < row.vocab; v += blockDim.x) {
            visit(key_of(row.logits[v], v), []() { return 1u; });
        }
    };
    u64 lowest = select<u32>(listed, (u32 *)bins, (u32 *)scratch, each);
    collect(lowest, listed, list, (u32 *)scratch, each);
    for (u32 i = threadIdx.x; i < listed; i += blockDim.x) {
        answer[4 + 2 * i] = column_of(list[i]);
        answer[5 + 2 * i] = float_bits(log_prob(value_of(list[i])));
    }
}

KERNEL(512)
sample_rows(const float *logits, u32 stride, u32 vocab, const Spec *specs, const Edit *edits,
            u32 *answers, u32 top_stride) {
    begin();
    u64 *scratch = (u64 *)shared_memory();
    u64 *bins = scratch + 32;
    u64 *list = bins + BINS;
    u32 *edited = (u32 *)(list + 2 * top_stride);
    u32 *answer = answers + (u64)blockIdx.x * (4 + 2 * top_stride);
    Row row = {logits + (u64)blockIdx.x * stride, edits, edited, specs[blockIdx.x], vocab};
    if (threadIdx.x < 4) {
        answer[threadIdx.x] = 0;
    }

    u32 unsound = 0;
    u64 raw_best = 0;
    for (u32 v = threadIdx.x; v < vocab; v += blockDim.x) {
        unsound |= !(row.logits[v] < float_from(0x7f800000u));
        u64 key = key_of(row.logits[v], v);
        raw_best = key > raw_best ? key : raw_best;
    }
    unsound = block_max(unsound, (u32 *)scratch);
    raw_best = block_max(raw_best, scratch);
    if (row.n_edits() > 0) {
        for (u32 i = threadIdx.x; i < div_up(vocab, 32); i += blockDim.x) {
            edited[i] = 0;
        }
        __syncthreads();
        for (u32 i = threadIdx.x; i < row.n_edits(); i += blockDim.x) {
            u32 token = row.edit(i).token;
            atomicOr(edited + token / 32, 1u << token % 32);
        }
        __syncthreads();
    }
    u64 best = 0;
    row.each([&](u32 token, float logit) {
        u64 key = key_of(logit, token);
        best = key > best ? key : best;
    });
    best = block_max(best, scratch);
    if (unsound || value_of(best) == MINUS_INFINITY) {
        if (threadIdx.x == 0) {
            answer[1] = 1;
        }
        return;
    }
    u32 token = column_of(best);
    if (row.spec.temperature != 0.0f) {
        token = noisiest(row, truncate(row, best, bins, scratch), scratch);
    }
    if (threadIdx.x == 0) {
        answer[0] = token;
        answer[2] = float_bits(NOT_A_NUMBER);
    }
    if (row.spec.alternatives != ALL_LANES) {
        u32 listed = least(least(row.spec.alternatives, top_stride), vocab);
        log_probs(row, value_of(raw_best), token, listed, answer, bins, scratch, list);
    }
}
