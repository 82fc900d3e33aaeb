"""Mistakes that a policy-gradient trainer is known for, made one at a time: the tests must notice each.

A mutant is an edit of a copy of the package; the neutral tests of loss, rows and step run on it until the first
that fails. Says nothing of the unchanged package, which the tests themselves are for.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

WORKER = pathlib.Path(__file__).parent.parent
TESTS = ("test_loss.py", "test_rows.py", "test_step_figures.py", "test_train.py")
# Which of them begins with the mutants of a module, to be quick.
FIRST = {"packing.py": "test_train.py", "train.py": "test_train.py", "step_figures.py": "test_step_figures.py"}

# What is wrong: (module, what it says, what the mutant says).
MUTANTS = {
    "sign flipped": ("loss.py", "return TokenLoss(value, slope, clipped)", "return TokenLoss(value, -slope, clipped)"),
    "sign of loss and gradient flipped":
        ("loss.py", "return TokenLoss(value, slope, clipped)", "return TokenLoss(-value, -slope, clipped)"),
    "sign of cross entropy flipped":
        ("train.py", "lambda index, _: -factor[index]", "lambda index, _: factor[index]"),
    "mask dropped": ("rows.py", "self.mask += [False] * len(ids)", "self.mask += [True] * len(ids)"),
    "mask dropped in the tree":
        ("packing.py", "trained = np.flatnonzero(row.mask)\n", "trained = np.arange(1, len(row.ids))\n"),
    "end token not trained":
        ("rows.py", "self.mask += [True] * len(turn.output_ids)",
         "self.mask += [True] * (len(turn.output_ids) - 1) + [False]"),
    "tokens predicted from themselves":
        ("packing.py", "state=grower.places[index][trained - 1]", "state=grower.places[index][trained % row.mask.argmax()]"),
    "mean per micro-batch":
        ("train.py", "factor[index], config, part).slope", "factor[index] / factor[index].sum(), config, part).slope"),
    "normalised by what has an advantage":
        ("train.py", "for row in rows:\n        lengths", "for row in [r for r in rows if r.advantage]:\n        lengths"),
    "ratio inverted": ("loss.py", "logp - _float64(behaviour, xp))", "_float64(behaviour, xp) - logp)"),
    "logp and reference swapped": ("loss.py", "_float64(reference, xp) - logp,", "logp - _float64(reference, xp),"),
    "clip bounds swapped": ("loss.py", "1 - config.eps_low, 1 + config.eps_high", "1 - config.eps_high, 1 + config.eps_low"),
    "bounds of dppo swapped":
        ("loss.py", "moved > config.eps_high, (advantage < 0) & (moved < -config.eps_low)",
         "moved > config.eps_low, (advantage < 0) & (moved < -config.eps_high)"),
    "clip whatever the direction":
        ("loss.py", "-xp.minimum(plain, safe), xp.where(clipped, 0.0, -plain)", "-safe, xp.where(limited != ratio, 0.0, -plain)"),
    "weights beyond the cap of cispo": ("loss.py", "bounded = xp.clip(ratio, None, config.cap)", "bounded = ratio"),
    "correction by the inverse weight": ("loss.py", "config.tis_cap / ratio", "ratio / config.tis_cap"),
    "trajectories dropped token by token":
        ("loss.py", "_trajectory_means(ratio, entries.sequence, xp) > config", "ratio > config"),
    "unknown logp is not on-policy":
        ("loss.py", "xp.where(xp.isnan(behaviour), 0.0, logp", "xp.where(xp.isnan(behaviour), logp, logp"),
    "advantages of other trajectories": ("packing.py", "np.full(count, row.advantage", "np.full(count, rows[0].advantage"),
    "a step far from the sampler is taken": ("step_figures.py", "if mismatch > limit:", "if False:"),
    "staleness the wrong way round":
        ("step_figures.py", "else version) - entries.policy_version)", "else -version) + entries.policy_version)"),
}


@pytest.mark.parametrize("mistake", MUTANTS)
def test_a_mutant_does_not_survive(mistake: str, tmp_path: pathlib.Path) -> None:
    module, right, wrong = MUTANTS[mistake]
    for folder in ("hone_worker", "tests"):
        shutil.copytree(WORKER / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "lightning"))
    shutil.copy(WORKER / "pyproject.toml", tmp_path)
    path = tmp_path / "hone_worker" / module
    source = path.read_text()
    assert source.count(right) == 1, f"{module} no longer says {right!r} once: adapt the mutant"
    path.write_text(source.replace(right, wrong))
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-k", "not worker_warns"]
    tests = [str(tmp_path / "tests" / name) for name in sorted(TESTS, key=lambda name: name != FIRST.get(module))]
    done = subprocess.run(
        [*command, *tests], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode != 0, f"no test noticed: {mistake}"
    # Killed by a test, not by a mistake in the mutant.
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    assert "SyntaxError" not in done.stdout and "NameError" not in done.stdout, done.stdout[-2000:]
