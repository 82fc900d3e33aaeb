"""Log-probabilities through a frozen head, without its weight's gradient and without keeping logits.

The gradient of logp by the hidden state is in closed form, (onehot − p) W, so the forward makes it together with logp
and entropy, a chunk of tokens at a time, and the backward only scales it. Memory is linear in the tokens; the logits
of one chunk are all that exists of (tokens × vocabulary).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from hone_worker.lightning import frozen_linear

# Logits of so many tokens exist at a time.
CHUNK = 256


def through(
    states: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """logp of targets (n,) and the entropy, fp32 (n,), after states (n, hidden) and the head ``weight``
    (vocab, hidden). Gradients reach ``states`` through logp alone."""
    return _FrozenHead.apply(states, targets, weight, bias)


def of_logits(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same from logits (n, vocab) that a model made itself."""
    logs = torch.log_softmax(logits.float(), -1)
    return logs.gather(-1, targets[:, None])[:, 0], -(logs.detach().exp() * logs.detach()).sum(-1)


class _FrozenHead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        count = len(states)
        plain = states.device.type == "cpu" and states.dtype == torch.float32 and torch.backends.mkldnn.is_available()
        multiply = frozen_linear.product if plain else functional.linear
        logp, entropy = (torch.empty(count, dtype=torch.float32, device=states.device) for _ in range(2))
        slopes = torch.empty_like(states) if ctx.needs_input_grad[0] else None
        for start in range(0, count, CHUNK):
            part = slice(start, start + CHUNK)
            logits = multiply(states[part], weight, bias).float()
            norm = torch.logsumexp(logits, -1)
            target = targets[part, None]
            logp[part] = logits.gather(-1, target)[:, 0] - norm
            chances = torch.exp(logits - norm[:, None])
            entropy[part] = norm - (chances * logits).sum(-1)
            if slopes is not None:
                # onehot − p in fp32, before any rounding: for likely tokens it is a small difference.
                chances.neg_().scatter_add_(-1, target, torch.ones_like(target, dtype=chances.dtype))
                slopes[part] = multiply(chances.to(weight.dtype), weight.t(), None)
        if slopes is not None:
            ctx.save_for_backward(slopes)
        ctx.mark_non_differentiable(entropy)
        return logp, entropy

    @staticmethod
    def backward(ctx: Any, logp: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return (slopes * logp[:, None]).to(slopes.dtype), None, None, None
