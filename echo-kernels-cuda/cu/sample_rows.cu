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
// launch: grid (rows), 1024 threads. One pass finds a fault and the best raw logit, which is the
//   best token where nothing is edited; edits take a pass of their own. Truncation takes some for
//   the digits of its threshold, noise one, log-probabilities one, which also lists the
//   alternatives (see select.h). An edited token is left out of a pass over the vocabulary by a
//   bit, and visited through the list of edits.
// shared: scratch u64[40], histogram u64[2048], keys u64[2 top_stride], bits of edited tokens.
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

// Four words of noise for the four tokens of a quad: Philox4x32-10.
DEVICE void philox(u32 quad, const Spec &spec, u32 (&words)[4]) {
    u32 key0 = spec.seed[0], key1 = spec.seed[1];
    words[0] = quad;
    words[1] = spec.position;
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

    DEVICE float scaled(float logit) const {
        bool as_it_is = spec.temperature == 0.0f || spec.temperature == 1.0f;
        return as_it_is ? logit : logit / spec.temperature;
    }

    // Calls `visit(quad, logits)` for this thread's part of the vocabulary. A quad comes again for
    // each of its edited tokens; tokens that are not meant are -inf.
    template <class Visit> DEVICE void each_quad(Visit visit) const {
        bool any = n_edits() > 0;
        ::each_quad<1>(logits, vocab, [&](u32 quad, float4 x) {
            u32 gone = any ? edited[quad / 8] >> quad % 8 * 4 : 0;
            x.x = gone & 1 ? MINUS_INFINITY : scaled(x.x);
            x.y = gone & 2 ? MINUS_INFINITY : scaled(x.y);
            x.z = gone & 4 ? MINUS_INFINITY : scaled(x.z);
            x.w = gone & 8 ? MINUS_INFINITY : scaled(x.w);
            visit(quad, x);
        });
        for (u32 i = threadIdx.x; i < n_edits(); i += blockDim.x) {
            if (!replaced(i)) {
                u32 token = edit(i).token, at = token % 4;
                float logit = scaled(apply(edit(i)));
                float4 x = {at == 0 ? logit : MINUS_INFINITY, at == 1 ? logit : MINUS_INFINITY,
                            at == 2 ? logit : MINUS_INFINITY, at == 3 ? logit : MINUS_INFINITY};
                visit(token / 4, x);
            }
        }
    }

    // Calls `visit(token, logit)` likewise.
    template <class Visit> DEVICE void each(Visit visit) const {
        each_quad([&](u32 quad, float4 x) { each_of(quad, x, visit); });
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
    if (spec.top_k > 0) {
        auto counted = [&](auto visit) {
            kept([&](u64 key, float) { visit(key, []() { return 1u; }); });
        };
        auto wanted = [&](u32 all) { return least(spec.top_k, all); };
        lowest = select<u32>(wanted, (u32 *)bins, (u32 *)scratch, counted);
    }
    if (spec.top_p < 1.0f) {
        auto mass = [&](float logit) {
            return (u64)(exp((double)(logit - top)) * 17592186044416.0 + 0.5);
        };
        auto weighed = [&](auto visit) {
            kept([&](u64 key, float logit) { visit(key, [&]() { return mass(logit); }); });
        };
        auto wanted = [&](u64 all) {
            u64 part = (u64)ceil((double)spec.top_p * (double)all);
            return part > 0 ? part : 1;
        };
        lowest = select<u64>(wanted, bins, scratch, weighed);
    }
    // What min-p drops has no key of its own: the floor is one.
    u64 floor_key = key_of(floor, ALL_LANES);
    return floor > MINUS_INFINITY && floor_key > lowest ? floor_key : lowest;
}

// The kept token whose logit and noise are largest together.
DEVICE u32 noisiest(const Row &row, u64 best, u64 lowest, u64 *scratch) {
    u32 words[4];
    u64 won = 0;
    auto draw = [&](u32 token, float logit) {
        if (logit == MINUS_INFINITY || key_of(logit, token) < lowest) {
            return;
        }
        u32 bits = words[token % 4];
        if (won > 0 && logit + gumbel_bound(bits) < value_of(won)) {
            return;
        }
        u64 key = key_of(logit + gumbel(bits), token);
        won = key > won ? key : won;
    };
    row.each_quad([&](u32 quad, float4 x) {
        // Most quads lie further behind than any noise makes up for.
        float most = largest_of(x);
        if (most > MINUS_INFINITY && !(won > 0 && most + gumbel_bound(0) < value_of(won))) {
            philox(quad, row.spec, words);
            each_of(quad, x, draw);
        }
    });
    return column_of(block_max(won, scratch));
}

// Log-probabilities under the softmax of the raw logits. `peak` is that of the warp whose number is
// this lane's, `top` the best of all.
DEVICE void log_probs(const Row &row, u64 peak, float top, u32 token, u32 listed, u32 *answer,
                      u64 *bins, u64 *scratch, u64 *list) {
    Offers offers = {bins, (u32 *)(scratch + 39), 0};
    if (threadIdx.x == 0) {
        *offers.n = 0;
    }
    offers.expect(peak, listed > 0 ? listed : ALL_LANES);
    __syncthreads();
    double sum = 0.0;
    each_quad<1>(row.logits, row.vocab, [&](u32 quad, float4 x) {
        each_of(quad, x, [&](u32 column, float logit) {
            sum += exp((double)(logit - top));
            offers.offer(logit, column, row.vocab);
        });
    });
    double log_sum = log(block_sum(sum, (double *)scratch));
    auto log_prob = [&](float logit) { return (float)((double)(logit - top) - log_sum); };
    if (threadIdx.x == 0) {
        answer[2] = float_bits(log_prob(row.logits[token]));
        answer[3] = listed;
    }
    if (listed == 0) {
        return;
    }
    list_best(offers, listed, list, (u32 *)bins, (u32 *)scratch, [&](auto visit) {
        each_quad<1>(row.logits, row.vocab, [&](u32 quad, float4 x) {
            each_of(quad, x, [&](u32 column, float logit) {
                if (column < row.vocab) {
                    visit(key_of(logit, column), []() { return 1u; });
                }
            });
        });
    });
    for (u32 i = threadIdx.x; i < listed; i += blockDim.x) {
        answer[4 + 2 * i] = column_of(list[i]);
        answer[5 + 2 * i] = float_bits(log_prob(value_of(list[i])));
    }
}

// The best of the processed logits of a row with edits, for which it sets their bits.
DEVICE u64 best_edited(const Row &row, u32 *edited, u64 *scratch) {
    for (u32 i = threadIdx.x; i < div_up(row.vocab, 32); i += blockDim.x) {
        edited[i] = 0;
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < row.n_edits(); i += blockDim.x) {
        u32 token = row.edit(i).token;
        atomicOr(edited + token / 32, 1u << token % 32);
    }
    __syncthreads();
    u64 best = 0;
    row.each([&](u32 token, float logit) {
        u64 key = key_of(logit, token);
        best = key > best ? key : best;
    });
    return block_max(best, scratch);
}

KERNEL(1024)
sample_rows(const float *logits, u32 stride, u32 vocab, const Spec *specs, const Edit *edits,
            u32 *answers, u32 top_stride) {
    begin();
    u64 *scratch = (u64 *)shared_memory(), *bins = scratch + 40, *list = bins + BINS;
    u32 *edited = (u32 *)(list + 2 * top_stride);
    u32 *answer = answers + (u64)blockIdx.x * (4 + 2 * top_stride);
    Row row = {logits + (u64)blockIdx.x * stride, edits, edited, specs[blockIdx.x], vocab};
    if (threadIdx.x < 4) {
        answer[threadIdx.x] = 0;
    }

    // A fault outdoes every key.
    const u64 fault = ~(u64)0;
    bool unsound;
    u64 peak = peak_of(row.logits, vocab, unsound);
    peak = of_warps(warp_max(unsound ? fault : peak), (u64)0, scratch);
    u64 raw_best = warp_max(peak), best = 0;
    if (raw_best != fault && row.n_edits() == 0) {
        // Division keeps the order, so the best raw logit is the best token's.
        best = key_of(row.scaled(value_of(raw_best)), top_of(raw_best, row.logits, vocab));
    } else if (raw_best != fault) {
        best = best_edited(row, edited, scratch);
    }
    if (raw_best == fault || value_of(best) == MINUS_INFINITY) {
        if (threadIdx.x == 0) {
            answer[1] = 1;
        }
        return;
    }
    u32 token = column_of(best);
    if (row.spec.temperature != 0.0f) {
        token = noisiest(row, best, truncate(row, best, bins, scratch), scratch);
    }
    if (threadIdx.x == 0) {
        answer[0] = token;
        answer[2] = float_bits(NOT_A_NUMBER);
    }
    if (row.spec.alternatives != ALL_LANES) {
        u32 listed = least(least(row.spec.alternatives, top_stride), vocab);
        log_probs(row, peak, value_of(raw_best), token, listed, answer, bins, scratch, list);
    }
}
