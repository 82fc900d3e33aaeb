"""The three ways to compute attention over a tree, against a product under a mask made row by row."""

import numpy as np
import pytest
import torch

from hone_worker.lightning import tree_attention
from hone_worker.packing import pack
from hone_worker.rows import Row

HEADS, KV_HEADS, SIZE = 6, 2, 16
CPU = torch.device("cpu")


def tree(rng, lengths=(200, 130, 260)):
    """Rows that share a first part, some of them a second, and one that shares nothing."""
    system, task = rng.integers(0, 50, 150), rng.integers(0, 50, 40)
    starts = [system, np.concatenate([system, task]), np.concatenate([system, task])]
    ids = [np.concatenate([start, rng.integers(0, 50, n)]) for start, n in zip(starts, lengths, strict=True)]
    ids.append(rng.integers(0, 50, 33))
    rows = []
    for line in ids:
        mask = np.zeros(len(line), bool)
        mask[-1] = True
        rows.append(Row("r", "g", 1.0, 1.0, line.astype(np.int32), mask, np.zeros(len(line), np.float32)))
    return pack(rows)


def visible(tree):
    """(T, T): what a token sees, from the chain of its segment."""
    seen = np.zeros((len(tree.ids), len(tree.ids)), bool)
    for index, segment in enumerate(tree.segments):
        own = slice(segment.start, segment.stop)
        for above in tree.ancestors(index):
            seen[own, tree.segments[above].start : tree.segments[above].stop] = True
        seen[own, own] = np.tri(segment.stop - segment.start, dtype=bool)
    return seen


def inputs(count, grad):
    torch.manual_seed(3)
    shapes = [(1, count, heads, SIZE) for heads in (HEADS, KV_HEADS, KV_HEADS)]
    return [torch.randn(shape).transpose(1, 2).requires_grad_(grad) for shape in shapes]


def expected(tree, query, key, value):
    key, value = (part.repeat_interleave(HEADS // KV_HEADS, 1) for part in (key, value))
    scores = (query @ key.transpose(-1, -2)) * 0.3
    scores = scores.masked_fill(~torch.as_tensor(visible(tree)), float("-inf"))
    return (scores.softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize("kind", ["split", "masked", "flex"])
def test_every_way_gives_what_the_mask_gives(rng, kind):
    made = tree(rng)
    assert len(made.segments) == 6 and len(made.ids) % 128
    way = {
        "split": lambda: tree_attention.SplitPass(made),
        "masked": lambda: tree_attention.MaskedPass(made, CPU),
        "flex": lambda: tree_attention.FlexPass(made, CPU),
    }[kind]()
    # Torch has no backward of FlexAttention on the CPU.
    values = inputs(len(made.ids), grad=kind != "flex")
    found, wanted = way.attend(0, *values, 0.3), expected(made, *values)
    assert found.shape == (1, len(made.ids), HEADS, SIZE)
    assert (found - wanted).abs().max() < 1e-5
    if kind != "flex":
        direction = torch.randn_like(wanted)
        grads = [torch.autograd.grad((result * direction).sum(), values) for result in (found, wanted)]
        for left, right in zip(*grads, strict=True):
            assert (left - right).abs().max() < 1e-4


def test_blocks_of_flex_attention_are_those_where_something_is_seen(rng):
    made = tree(rng)
    seen = visible(made)
    partial, full = tree_attention._blocks(tree_attention.ends(made), made)
    assert full.any()
    for q in range(len(partial)):
        for k in range(len(partial)):
            block = seen[q * 128 : (q + 1) * 128, k * 128 : (k + 1) * 128]
            assert full[q, k] == block.all(), (q, k)
            assert partial[q, k] == (block.any() and not block.all()), (q, k)


def test_depths_are_positions_in_the_rows(rng):
    made = tree(rng)
    depths = tree_attention.depths(made, CPU)[0]
    assert (depths.numpy() == visible(made).sum(1) - 1).all()


def test_an_attention_that_is_more_than_a_softmax_is_refused():
    class Layer(torch.nn.Module):
        layer_idx = 0

    values = inputs(4, grad=False)
    with pytest.raises(ValueError, match="more than a softmax of scaled products"):
        tree_attention._attend(Layer(), *values, None, hone_pass=object(), softcap=30.0)
