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
//   best token where nothing is edited; edits take a pass of their own, truncation some for the
//   digits of its threshold, noise one, log-probabilities one, which also finds the alternatives.
//   An edited token is left out of a pass by a bit, and visited through the list of edits.
// shared: Shared, keys u64[2 top_stride], bits of edited tokens.
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

struct Shared {
    u64 bins[BINS], scratch[40], peaks[WARP]; // the peaks of the raw logits
    Spec spec;
    u32 n_offers, none;
};

// The processed logits of a row.
struct Row {
    const float *logits;
    const Edit *edits;
    u32 *edited; // shared
    const Spec &spec;
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
        return (biased > 0.0f ? biased / edit.repetition : biased * edit.repetition) - edit.penalty;
    }

    DEVICE float scaled(float logit) const {
        return spec.temperature == 0.0f ? logit : logit / spec.temperature;
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
                u32 token = edit(i).token;
                float logit = scaled(apply(edit(i)));
                auto at = [&](u32 i) { return token % 4 == i ? logit : MINUS_INFINITY; };
                visit(token / 4, float4{at(0), at(1), at(2), at(3)});
            }
        }
    }

    template <class Visit> DEVICE void each(Visit visit) const {
        each_quad([&](u32 quad, float4 x) { each_of(quad, x, visit); });
    }
};

// The lowest key that min-p, top-k and top-p leave; `best` is the highest of all. -inf is not left.
DEVICE u64 truncate(const Row &row, u64 best, Shared &shared) {
    const Spec &spec = row.spec;
    float top = value_of(best), least_finite = float_from(0xff7fffffu);
    u64 lowest = key_of(fmaxf(top + spec.min_p_log, least_finite), ALL_LANES);
    auto cut = [&](auto want, auto weight) {
        using T = decltype(weight(0.0f));
        auto each = [&](auto visit) {
            row.each([&](u32 token, float logit) {
                u64 key = key_of(logit, token);
                if (key >= lowest) {
                    visit(key, [&]() { return weight(logit); });
                }
            });
        };
        u64 found = select<T>(want, (T *)shared.bins, (T *)shared.scratch, each);
        lowest = found > lowest ? found : lowest;
    };
    if (spec.top_k > 0) {
        cut([&](u32 all) { return least(spec.top_k, all); }, [](float) { return 1u; });
    }
    if (spec.top_p < 1.0f) {
        auto mass = [&](float logit) {
            // Infinite logits have no difference: the law's sum is no number then, so it cuts
            // nothing and the lowest of them wins. Here they weigh alike, and the lowest is left.
            float behind = logit == top ? 0.0f : logit - top; // e^-32 is less than half a step
            return behind < -32.0f ? 0 : (u64)(exp((double)behind) * 17592186044416.0 + 0.5);
        };
        cut([&](u64 all) { return (u64)fmax(1.0, ceil((double)spec.top_p * (double)all)); }, mass);
    }
    return lowest;
}

// The kept token whose logit and noise are largest together.
DEVICE u32 noisiest(const Row &row, u64 lowest, Shared &shared) {
    const Spec &spec = row.spec;
    u64 won = 0;
    row.each_quad([&](u32 quad, float4 x) {
        // Most quads lie further behind than any noise makes up for.
        auto behind = [&](float most) { return won > 0 && most < value_of(won); };
        if (largest_of(x) == MINUS_INFINITY || behind(largest_of(x) + gumbel_bound(0))) {
            return;
        }
        u32 words[4];
        philox(quad, spec.position, spec.seed[0], spec.seed[1], words);
        each_of(quad, x, [&](u32 token, float logit) {
            u32 even = token & 2 ? words[2] : words[0], odd = token & 2 ? words[3] : words[1];
            u32 bits = token & 1 ? odd : even;
            if (key_of(logit, token) >= lowest && !behind(logit + gumbel_bound(bits))) {
                u64 key = key_of(logit + gumbel(bits), token);
                won = key > won ? key : won;
            }
        });
    });
    return column_of(block_max(won, shared.scratch));
}

// Log-probabilities under the softmax of the raw logits, and the `listed` best of them.
DEVICE void log_probs(const Row &row, u32 token, u32 listed, u32 *answer, Shared &shared) {
    u64 peak = shared.peaks[lane()], *list = (u64 *)(&shared + 1);
    float top = value_of(warp_max(peak));
    Offers offers = {shared.bins, &shared.n_offers, 0};
    offers.expect(peak, listed > 0 ? listed : ALL_LANES);
    double sum = 0.0;
    each_quad<1>(row.logits, row.vocab, [&](u32 quad, float4 x) {
        each_of(quad, x, [&](u32 column, float logit) {
            sum += exp((double)(logit - top));
            offers.offer(logit, column, row.vocab);
        });
    });
    double log_sum = log(block_sum(sum, (double *)shared.scratch));
    auto log_prob = [&](float logit) { return (float)((double)(logit - top) - log_sum); };
    if (threadIdx.x == 0) {
        answer[2] = float_bits(log_prob(row.logits[token]));
        answer[3] = listed;
    }
    list_best(offers, listed, list, shared.bins, shared.scratch, row.logits, row.vocab);
    for (u32 i = threadIdx.x; i < listed; i += blockDim.x) {
        answer[4 + 2 * i] = column_of(list[i]);
        answer[5 + 2 * i] = float_bits(log_prob(value_of(list[i])));
    }
}

// The best of the processed logits of a row with edits, for which it sets their bits.
DEVICE u64 best_edited(const Row &row, Shared &shared) {
    for (u32 i = threadIdx.x; i < div_up(row.vocab, 32); i += blockDim.x) {
        row.edited[i] = 0;
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < row.n_edits(); i += blockDim.x) {
        u32 token = row.edit(i).token;
        atomicOr(row.edited + token / 32, 1u << token % 32);
    }
    __syncthreads();
    u64 best = 0;
    row.each([&](u32 token, float logit) {
        u64 key = key_of(logit, token);
        best = key > best ? key : best;
    });
    return block_max(best, shared.scratch);
}

KERNEL(1024)
sample_rows(const float *logits, u32 stride, u32 vocab, const Spec *specs, const Edit *edits,
            u32 *answers, u32 top_stride) {
    begin();
    Shared &shared = *(Shared *)shared_memory();
    const Spec &spec = shared.spec;
    u32 *edited = (u32 *)(&shared + 1) + 4 * top_stride;
    Row row = {logits + (u64)blockIdx.x * stride, edits, edited, spec, vocab};
    u32 *answer = answers + (u64)blockIdx.x * (4 + 2 * top_stride);
    if (threadIdx.x == 0) {
        shared.spec = specs[blockIdx.x];
        shared.n_offers = 0;
    }
    // A fault is the key of a NaN, and outdoes every other.
    const u64 fault = ~(u64)0;
    bool unsound;
    u64 peak = peak_of(row.logits, vocab, unsound);
    peak = warp_max(unsound ? fault : peak);
    if (lane() == 0) {
        shared.peaks[warp()] = peak;
    }
    __syncthreads();
    peak = warp_max(shared.peaks[lane()]);
    u64 best = peak;
    if (peak != fault && row.n_edits() > 0) {
        best = best_edited(row, shared);
    } else if (peak != fault) {
        // Division keeps the order, so the best raw logit is the best token's.
        best = key_of(row.scaled(value_of(peak)), top_of(peak, row.logits, vocab));
    }
    if (!(value_of(best) > MINUS_INFINITY)) {
        answer[1] = 1;
        return;
    }
    u32 token = column_of(best);
    if (spec.temperature != 0.0f) {
        token = noisiest(row, truncate(row, best, shared), shared);
    }
    if (threadIdx.x == 0) {
        answer[0] = token;
        answer[1] = answer[3] = 0;
        answer[2] = float_bits(NOT_A_NUMBER);
    }
    if (spec.alternatives != ALL_LANES) {
        log_probs(row, token, least(least(spec.alternatives, top_stride), vocab), answer, shared);
    }
}
