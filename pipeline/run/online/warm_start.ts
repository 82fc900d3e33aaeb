/**
 * The supervised rung: reference solutions are replayed on the real server, those that the judges find successful
 * become demonstrations, and the trainer learns exactly the ids that its endpoint would have seen and produced.
 * @module
 */
import type { BatchRow } from "../../store/batch_file.ts";
import { offeredTools } from "../../chat/conversation.ts";
import { HoneError, runner as messages } from "../../diagnostics/mod.ts";
import type { Outcome, Scenario, ToolCallRecord, TurnRecord } from "../../events.ts";
import type { CallResult, Demonstration, Environment, OnlineTrainer, Policy, RolloutRecord } from "../../plugin.ts";
import type { RunContext } from "../context.ts";
import type { Judged } from "../rollouts.ts";
import { runGroups } from "../groups.ts";
import { shuffled, stream } from "../../common/random.ts";
import { takeStep, type TrainingState } from "./training.ts";

/** Replays the solutions and takes the supervised steps that are still missing. */
export async function warmStart(ctx: RunContext, trainer: OnlineTrainer, state: TrainingState, base: Policy) {
  const demonstrations = await verifiedDemonstrations(ctx, base);
  const rows = await demonstrationRows(trainer, demonstrations);
  const { epochs, batch_size, learning_rate } = ctx.config.warm_start;
  const batches = Array.from(
    { length: epochs },
    (_, epoch) => chunks(shuffled(rows, stream(ctx.config.seed, `warm start ${epoch}`)), batch_size),
  ).flat();
  ctx.progress.begin("warm start", batches.length);
  for (const [index, batch] of batches.entries()) {
    if (index >= state.step) {
      ctx.signal.throwIfAborted();
      const report = await takeStep(ctx, trainer, state, {
        kind: "supervised",
        rows: batch,
        dropped: {},
        learning_rate,
      });
      ctx.progress.stepped();
      ctx.log.info(
        `warm start ${index + 1}/${batches.length}: loss ${report.loss.toFixed(4)}, ${report.seconds.toFixed(1)} s`,
      );
    }
    ctx.progress.advance();
  }
}

async function verifiedDemonstrations(ctx: RunContext, base: Policy): Promise<Demonstration[]> {
  const demonstrate = ctx.roles.rollout.role.demonstrate;
  if (!demonstrate) throw new HoneError(messages.rollout_cannot_demonstrate(ctx.roles.rollout.id));
  const scenarios = demonstrated(ctx);
  ctx.progress.begin("replay solutions", scenarios.length, { phase: "replay" });
  const make = (scenario: Scenario, results: CallResult[]) =>
    demonstrate({
      scenario,
      agent: ctx.agent,
      policy: base,
      tools: offeredTools(scenario, ctx.catalog.tools),
      results,
    });
  const groups = await runGroups(
    ctx,
    scenarios.map((scenario) => ({
      group_id: `demo-${scenario.id}`,
      scenario,
      policy: base,
      agent: ctx.agent,
      purpose: "demonstration",
      split: scenario.split,
      step: -1,
      size: 1,
      timeout_secs: ctx.config.train.group_timeout_secs,
      drive: (environment) => replay(environment, scenario, make),
    })),
  );
  const verified = groups.flat().filter(({ success }) => success);
  ctx.log.info(`${verified.length} of ${scenarios.length} reference solutions reach their goal on the real server`);
  if (verified.length === 0) {
    throw new HoneError(messages.no_demonstration(scenarios.length, firstReason(groups.flat())));
  }
  const byId = new Map(scenarios.map((scenario) => [scenario.id, scenario]));
  return verified.map(({ trajectory }) => make(byId.get(trajectory.scenario_id)!, trajectory.tool_calls));
}

/** The training scenarios that carry a solution: all, or as many as `warm_start.demonstrations` says, families in turn. */
export function demonstrated(ctx: RunContext): Scenario[] {
  const solved = ctx.scenarios.filter(({ split, solution }) => split === "train" && solution);
  const families = new Map<string, Scenario[]>();
  for (const scenario of shuffled(solved, stream(ctx.config.seed, "demonstrations"))) {
    const family = scenario.tags[0] ?? "";
    families.set(family, [...families.get(family) ?? [], scenario]);
  }
  const order = Array.from({ length: solved.length }, (_, turn) => [...families.values()].map((f) => f[turn]))
    .flat().filter((scenario) => scenario !== undefined);
  return order.slice(0, ctx.config.warm_start.demonstrations || order.length);
}

async function* replay(
  environment: Environment,
  scenario: Scenario,
  make: (scenario: Scenario, results: CallResult[]) => Demonstration,
): AsyncGenerator<RolloutRecord, Outcome> {
  const solution = scenario.solution!;
  const results: CallResult[] = [];
  for (const call of solution.calls) {
    const tool = environment.tools.find((t) =>
      (t.name === call.tool || t.model_name === call.tool) && (!call.server || t.server === call.server)
    );
    results.push(await environment.call(tool?.model_name ?? call.tool, call.arguments));
  }
  const texts = make(scenario, results).messages.filter(({ role }) => role === "assistant").slice(
    -solution.calls.length - 1,
  );
  for (const [index, call] of solution.calls.entries()) {
    yield turn(index, texts[index]?.content ?? "", [{
      id: `call-${index}`,
      name: call.tool,
      arguments: call.arguments,
    }]);
    yield record(index, call, environment, results[index]!);
  }
  yield turn(solution.calls.length, solution.answer, []);
  return { end: "answered", answer: solution.answer };
}

function turn(index: number, text: string, tool_calls: TurnRecord["tool_calls"]): TurnRecord {
  const base = { prompt_tokens: 0, output_tokens: 0, seconds: 0 };
  return { type: "turn", index, input: [], text, tool_calls, finish_reason: "stop", ...base };
}

function record(
  index: number,
  call: NonNullable<Scenario["solution"]>["calls"][number],
  environment: Environment,
  result: CallResult,
): ToolCallRecord {
  const server = call.server ?? environment.tools.find((tool) => tool.name === call.tool)?.server ?? "";
  return {
    type: "tool_call",
    turn: index,
    index: 0,
    server,
    tool: call.tool,
    arguments: call.arguments,
    truncated: false,
    ...result,
  };
}

async function demonstrationRows(trainer: OnlineTrainer, demonstrations: Demonstration[]): Promise<BatchRow[]> {
  const encoded = await trainer.demonstrate(demonstrations);
  return encoded.map(({ id, turns }) => ({
    rollout_id: id,
    group_id: id,
    policy_version: 0,
    advantage: 1,
    weight: 1,
    turns: turns.map((ids) => ({ ...ids, logprobs: null, finish_reason: "stop" as const })),
  }));
}

function firstReason(judged: Judged[]): string {
  const first = judged.find(({ reward }) => "invalid" in reward);
  return first && "invalid" in first.reward ? first.reward.invalid : "the judges scored every replay below success";
}

function chunks<T>(items: T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}
