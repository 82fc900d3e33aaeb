"""The head's log-probabilities and their gradient in closed form, and what they leave in memory."""

import pytest
import torch

from hone_worker.lightning import frozen_head


def parts(count=11, vocab=50, dtype=torch.float32):
    torch.manual_seed(0)
    states = torch.randn(count, 8, dtype=dtype, requires_grad=True)
    return states, torch.randint(vocab, (count,)), torch.randn(vocab, 8, dtype=dtype), torch.randn(vocab, dtype=dtype)


@pytest.mark.parametrize("biased", [False, True])
def test_values_and_gradients_are_those_of_log_softmax(monkeypatch, biased):
    monkeypatch.setattr(frozen_head, "CHUNK", 4)
    states, targets, weight, bias = parts()
    bias = bias if biased else None
    logp, entropy = frozen_head.through(states, targets, weight, bias)
    logs = torch.log_softmax(torch.nn.functional.linear(states, weight, bias), -1)
    plain = logs[torch.arange(len(targets)), targets]
    assert (logp - plain).abs().max() < 1e-5
    assert (entropy + (logs.exp() * logs).sum(-1)).abs().max() < 1e-5
    assert not entropy.requires_grad
    slopes = torch.randn(len(targets))
    [left], [right] = (torch.autograd.grad((slopes * value).sum(), states) for value in (logp, plain))
    assert (left - right).abs().max() < 1e-5
    both = frozen_head.of_logits(torch.nn.functional.linear(states, weight, bias), targets)
    assert (both[0] - logp).abs().max() < 1e-5 and (both[1] - entropy).abs().max() < 1e-5


def test_the_gradient_of_a_likely_token_survives_half_precision():
    states, targets, weight, _ = parts(dtype=torch.bfloat16)
    states = (8 * weight[targets]).detach().requires_grad_()
    logp, _ = frozen_head.through(states, targets, weight, None)
    exact = states.detach().double().requires_grad_()
    logs = torch.log_softmax(exact @ weight.double().t(), -1)[torch.arange(len(targets)), targets]
    [left], [right] = (torch.autograd.grad(value.sum(), at) for value, at in ((logp, states), (logs, exact)))
    assert logs.max() > -1e-6
    assert (left.double() - right).norm() < 2e-2 * right.norm()


def test_nothing_as_large_as_the_logits_is_kept_for_the_backward():
    states, targets, weight, _ = parts(count=600, vocab=1000)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        logp, _ = frozen_head.through(states, targets, weight, None)
    assert sum(kept) == states.numel()
