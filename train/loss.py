"""Cross-entropy against the target's distributions, a few rows at a time.

A row of logits is as long as the draft vocabulary: thousands of rows of them go through memory
several times over if each operation takes them all, and that takes longer than the products. Nor
is a distribution kept: its mean row of the output head tells the cross-entropy and the gradient.
"""

import torch
import torch.nn.functional as F

# Rows whose logits fit into a processor's caches; a GPU is better off with more.
ROWS = {"cpu": 128, "cuda": 4096}


def mean_rows(x, output):
    """Per row of `x` `[rows, width]`, under `softmax(output x)`: the logarithm of what the softmax
    divides by, and the mean of the rows of `output`."""
    norms, means = [], []
    for part in x.split(ROWS[x.device.type]):
        logits = F.linear(part.to(output.dtype), output)
        law = logits.softmax(-1, dtype=logits.dtype)
        # The likeliest token has the largest logit and the largest probability.
        norms.append(logits.amax(-1).float() - law.amax(-1).float().log())
        means.append((law @ output).float())
    return torch.cat(norms), torch.cat(means)


class SoftCrossEntropy(torch.autograd.Function):
    """The mean over the rows of `x` `[rows, width]` of the cross-entropy of `softmax(output x)`
    against a law whose mean row of `output` is that row of `wanted`. Only `x` has a gradient."""

    @staticmethod
    def forward(ctx, x, output, wanted):
        norms, means = mean_rows(x, output)
        ctx.save_for_backward((means - wanted) / len(x))
        return norms.mean() - (x * wanted).sum(-1).mean()

    @staticmethod
    def backward(ctx, above):
        (gradient,) = ctx.saved_tensors
        return above * gradient, None, None


soft_cross_entropy = SoftCrossEntropy.apply
