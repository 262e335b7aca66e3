"""Cross-entropy against the target's distributions, a few rows at a time.

A row of logits is as long as the draft vocabulary: thousands of rows of them go through memory
several times over if each operation takes them all, and that takes longer than the products.
"""

import torch
import torch.nn.functional as F

# Rows whose logits fit into a processor's caches; a GPU is better off with more.
ROWS = {"cpu": 128, "cuda": 4096}


class SoftCrossEntropy(torch.autograd.Function):
    """The mean over the rows of `x` `[rows, width]` of the cross-entropy of `softmax(output x)`
    against row `at[row]` of `laws` `[.., vocab]`. Only `x` has a gradient."""

    @staticmethod
    def forward(ctx, x, output, laws, at):
        total = torch.zeros((), device=x.device)
        gradient = torch.empty_like(x)
        rows = ROWS[x.device.type]
        for part, of, into in zip(x.split(rows), at.split(rows), gradient.split(rows)):
            logits = F.linear(part.to(output.dtype), output).float()
            law = laws[of]
            norm = logits.logsumexp(-1, keepdim=True)
            total += norm.sum() - torch.linalg.vecdot(law, logits).sum()
            error = logits.sub_(norm).exp_().sub_(law)
            into.copy_(error.to(output.dtype) @ output)
        ctx.save_for_backward(gradient.div_(len(x)))
        return total / len(x)

    @staticmethod
    def backward(ctx, above):
        (gradient,) = ctx.saved_tensors
        return above * gradient, None, None, None


soft_cross_entropy = SoftCrossEntropy.apply
