"""One training step, from a batch file to new adapter weights: the worker's own code, and a program.

    python -m hone_worker.train BATCH --model smollm2-135m --kind rl --loss cispo --learning-rate 2e-4

Read it from top to bottom. ``main`` makes what a step works on: a frozen model in some engine, an adapter, an
optimiser. ``supervise`` and ``train_step`` are the two kinds of step, which the worker's methods of these names
call too; then come the parts of a step, in the order in which it takes them.

An engine that is a ``Learner`` takes the update itself (``lightning.module``), from the same rows, factors and loss, and
answers with the same figures.

A step is blind to algorithms and to engines: it gets rows with advantages and weights, asks ``loss`` for
∂L/∂logp, an ``Engine`` for gradients, and replaces the adapter's arrays. A step that was done is answered from
memory, so that a caller may repeat it after a crash. The same batch on the same state gives the same bits.

Errors: WorkerError BATCH_EMPTY (nothing to train), OFF_POLICY (the tokens have another logp than they were
sampled with), STEP_DIVERGED (the gradient is not finite), BATCH_INVALID (ids outside the vocabulary). Nothing was
changed then.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hone_worker import checkpoint, lora, loss, optimizer, process_memory, step_figures
from hone_worker.checkpoint import TrainState
from hone_worker.config import PRESETS, LoraConfig, LossConfig, OptimConfig
from hone_worker.engine import Engine, Learner, Objective, Plan, Slope
from hone_worker.engine_choice import open_engine
from hone_worker.errors import WorkerError
from hone_worker.loading.model_files import open_model
from hone_worker.optimizer import Optimizer
from hone_worker.protocol import dumps
from hone_worker.rows import Row, Trajectory, read_batch, to_rows

Report = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Takes one step and prints its report as JSON. 0: done; 1: refused, with the reason on stderr."""
    options = _parser().parse_args(argv)
    try:
        print(dumps(_step_of(options)))
    except WorkerError as error:
        print(f"{error.code}: {error.message} {error.hint}".rstrip(), file=sys.stderr)
        return 1
    return 0


def _step_of(options: argparse.Namespace) -> Report:
    # The model is frozen; what is trained is a low-rank update of its linear maps.
    engine = open_engine(open_model(options.model, options.cache_dir), options.engine)
    config = LoraConfig(options.rank, options.alpha, options.last_layers)
    adapter = lora.create(engine.linears, engine.layers, config, options.seed)
    engine.adapt(adapter)
    adamw = new_optimizer(engine, OptimConfig(learning_rate=options.learning_rate))
    state = TrainState(options.model, adapter, adamw, options.seed, fresh_optimizer=not options.keep_optimizer)
    if options.adapter:
        checkpoint.resume(state, options.adapter)

    # A batch is one trajectory a line: the turns of a rollout with its advantage and its weight.
    trajectories = read_batch(options.batch)
    if options.kind == "supervised":
        number = 1 + sum(name.startswith("supervise:") for name in state.results)
        report = supervise(engine, state, number, trajectories)
    else:
        config = LossConfig.from_json({"preset": options.loss})
        report = train_step(engine, state, state.step + 1, trajectories, config)

    if options.out:
        checkpoint.save(state, options.out)
    return report


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hone_worker.train", description="Takes one training step.")
    add = parser.add_argument
    add("batch", help="a batch.v1 file")
    add("--model", default="smollm2-135m", help="the built-in model, a folder, or a hub id (%(default)s)")
    cache = os.environ.get("HONE_CACHE_DIR") or str(pathlib.Path.home() / ".cache" / "hone")
    add("--cache-dir", default=cache, help="for downloads (%(default)s)")
    add("--engine", help="which engine computes; the fastest that fits when left out")
    add("--kind", choices=("rl", "supervised"), default="rl", help="(%(default)s)")
    add("--loss", choices=sorted(PRESETS), default="cispo", help="of an RL step (%(default)s)")
    add("--learning-rate", type=float, default=OptimConfig.learning_rate, help="(%(default)s)")
    add("--rank", type=int, default=LoraConfig.rank, help="of the adapter (%(default)s)")
    add("--alpha", type=float, default=LoraConfig.alpha, help="scale of the adapter, as alpha / rank (%(default)s)")
    add("--last-layers", type=int, default=LoraConfig.last_layers, help="that carry an adapter; 0 is all")
    add("--seed", type=int, default=0, help="of the adapter's first weights (%(default)s)")
    add("--adapter", metavar="DIR", help="a checkpoint to go on from")
    keep = "continue with the optimiser of the supervised steps at the first RL step"
    add("--keep-optimizer", action="store_true", help=keep)
    add("--out", metavar="DIR", help="where the checkpoint after the step goes")
    return parser


def supervise(
    engine: Engine, state: TrainState, step: int, trajectories: Sequence[Trajectory], learning_rate: float | None = None
) -> Report:
    """One step of cross entropy on the sampled tokens; advantages are ignored."""

    def work() -> Report:
        config = LossConfig.from_json({"preset": "ce"})
        batch = _select(engine, trajectories, config)
        if not batch.rows:
            raise WorkerError("BATCH_EMPTY", "The batch has no token to train on.", "Give rows with weight > 0.")
        objective = Objective("supervised", batch.factor, config)
        return {"step": step, "tokens": batch.tokens, **_update(engine, state, batch.rows, objective, learning_rate)}

    return _once(state, f"supervise:{step}", work)


def train_step(
    engine: Engine,
    state: TrainState,
    step: int,
    trajectories: Sequence[Trajectory],
    config: LossConfig,
    learning_rate: float | None = None,
    version: int | None = None,
) -> Report:
    """One step of policy gradient. With the version of the weights, it also reports the mismatch by staleness."""

    def work() -> Report:
        if state.fresh_optimizer and state.step == 0:
            # The gradients of supervised steps are larger: with their second moments the updates would be too small.
            state.optimizer = new_optimizer(engine, state.optimizer.config)
        batch = _select(engine, trajectories, config)
        outcome = {"step": step, "tokens": batch.tokens, "rows": batch.all_rows, "forks": batch.forks}
        if not batch.rows:
            # Nothing has an advantage: a step without effect, not an error.
            return {**outcome, **step_figures.NO_SIGNAL, "learning_rate": state.optimizer.rate(learning_rate)}
        objective = Objective("rl", batch.factor, config, version)
        return {**outcome, **_update(engine, state, batch.rows, objective, learning_rate)}

    report = _once(state, f"train_step:{step}", work)
    state.step = max(state.step, step)
    return report


def _once(state: TrainState, name: str, work: Callable[[], Report]) -> Report:
    known = state.results.get(name)
    if known is not None:
        return known
    started = time.perf_counter()
    report = work()
    report["seconds"] = time.perf_counter() - started
    if report.get("logical_tokens"):
        # An engine may have measured them on its devices.
        report = {**_cost(report["logical_tokens"], report["seconds"]), **report}
    state.results[name] = report
    return report


def _cost(logical_tokens: int, seconds: float) -> Report:
    """Tokens a second, as if rows shared no prefix, and the process's largest memory so far."""
    peak = process_memory.peak_bytes()
    memory = {} if peak is None else {"memory_peak_bytes": peak}
    return {"tokens_per_second": logical_tokens / seconds, **memory}


@dataclass
class _Batch:
    """Rows to compute; factor: of each trajectory's tokens in the loss; tokens, all_rows: those that are not
    computed included; forks: rows that begin where a history was changed."""

    rows: list[Row]
    factor: np.ndarray
    tokens: int
    all_rows: int
    forks: int


def _select(engine: Engine, trajectories: Sequence[Trajectory], config: LossConfig) -> _Batch:
    """Chains turns into rows, such that every sampled token is trained once, after the ids that it followed."""
    rows = to_rows(trajectories)
    size = engine.vocab_size
    if size is not None and any(int(row.ids.max()) >= size for row in rows):
        raise WorkerError(
            "BATCH_INVALID",
            f"The batch has ids outside the model's vocabulary of {size}.",
            "Give ids that this model's endpoint returned.",
        )
    lengths = np.zeros(len(trajectories))
    for row in rows:
        lengths[row.sequence] += row.mask.sum()
    weights = np.array([t.weight for t in trajectories])
    return _Batch(
        # A row without a gradient is not computed; it still counts in the normaliser.
        rows=[row for row in rows if row.advantage != 0] if config.needs_advantage else rows,
        factor=loss.factors(weights, lengths, config) if len(weights) else weights,
        tokens=int(lengths.sum()),
        all_rows=len(rows),
        forks=sum(row.origin != "CLEAN" for row in rows),
    )


def new_optimizer(engine: Engine, config: OptimConfig) -> Optimizer:
    """The optimiser of an engine's adapter: the engine's own, or NumPy's."""
    return engine.new_optimizer(config) if isinstance(engine, Learner) else optimizer.AdamW(config)


def _update(
    engine: Engine, state: TrainState, rows: list[Row], objective: Objective, learning_rate: float | None
) -> Report:
    """Moves the adapter once, and says how it went."""
    if isinstance(engine, Learner):
        return engine.update(rows, objective, state.adapter, state.optimizer, learning_rate)
    plan = engine.plan(rows)
    factor = objective.factor[plan.tree.entries.sequence]
    if objective.kind == "supervised":
        found = engine.run(plan, state.adapter.params, lambda index, _: -factor[index])
        figures = {"loss": float(loss.cross_entropy(found.logp, factor).value.sum())}
    else:
        config = objective.loss
        reference = engine.run(plan, None).logp if config.beta > 0 else None
        slope = _slope(engine, state, plan, factor, config, reference)
        found = engine.run(plan, state.adapter.params, slope)
        entries, version = plan.tree.entries, objective.version
        step_figures.refuse_off_policy(entries, found.logp, version)
        figures = step_figures.of_policy(entries, found.logp, found.entropy, factor, config, reference, version)
        figures["kl_base"] = step_figures.kl_to_base(engine, plan, state.adapter.params, found.logp, reference)
    tokens = {"logical_tokens": plan.tree.logical, "physical_tokens": plan.physical}
    norm, rate = _move(state, found.grads, learning_rate)
    return {**figures, **tokens, "grad_norm": norm, "learning_rate": rate}


def _slope(
    engine: Engine,
    state: TrainState,
    plan: Plan,
    factor: np.ndarray,
    config: LossConfig,
    reference: np.ndarray | None,
) -> Slope:
    """∂L/∂logp of entries, as the engine asks for it: when it knows their logp, and before its backward."""
    entries = plan.tree.entries
    if config.by_trajectory:
        # What depends on all tokens of a trajectory needs them before any gradient.
        logp = engine.run(plan, state.adapter.params).logp
        fixed = loss.policy(logp, entries, factor, config, reference).slope
        return lambda index, _: fixed[index]

    def slope(index: np.ndarray, logp: np.ndarray) -> np.ndarray:
        part = None if reference is None else reference[index]
        return loss.policy(logp, entries.take(index), factor[index], config, part).slope

    return slope


def _move(state: TrainState, grads: optimizer.Arrays, learning_rate: float | None) -> tuple[float, float]:
    """Clips the gradient, moves the adapter along it, and answers (its norm before, the learning rate)."""
    norm = optimizer.global_norm(grads)
    step_figures.refuse_divergence(norm)
    rate = state.optimizer.rate(learning_rate)
    clipped = optimizer.clip(grads, norm, state.optimizer.config.grad_clip)
    state.adapter.params = state.optimizer.update(state.adapter.params, clipped, learning_rate)
    return norm, rate


def logprobs(engine: Engine, state: TrainState, trajectories: Sequence[Trajectory]) -> Report:
    """Under the current adapter, logp of every sampled token, in the order sampled: {rows: [...]}."""
    rows = to_rows(trajectories)
    out: dict[int, dict[tuple[int, int], float]] = {i: {} for i in range(len(trajectories))}
    if rows:
        plan = engine.plan(rows)
        logp = engine.run(plan, state.adapter.params).logp
        for index, row in enumerate(rows):
            values = logp[plan.tree.entries.row == index].tolist()
            out[row.sequence].update(zip(row.source, values, strict=True))
    return {
        "rows": [
            {"rollout_id": t.rollout_id, "logprobs": [out[i][place] for place in sorted(out[i])]}
            for i, t in enumerate(trajectories)
        ]
    }


if __name__ == "__main__":
    sys.exit(main())
