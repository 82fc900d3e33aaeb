/**
 * scenarios.completed → ladder → … → ladder.completed: a small state machine over events. Its rungs run one after the
 * other (evaluate base, prompt, warm start, evaluate it, RL, select the tuned policy, evaluate it). A rung starts with
 * a request event and ends on the event that answers it. Recorded requests are answered from the record, so that a
 * resumed run goes through the same rungs. Before the first rung, the model is opened and the tool lists are chosen:
 * these are plain calls, because they are not recorded and every rung needs them.
 * @module
 */
import type { Out, Publish } from "../../bus.ts";
import { HoneError, runner as messages } from "../../diagnostics/mod.ts";
import type { Envelope, EventMap, EventName, Interval } from "../../events.ts";
import { fitTools } from "../../scenario/tool_lists.ts";
import { evaluationKey } from "../../store/recorded.ts";
import type { Bound } from "../bindings.ts";
import type { Measured, Run } from "../context.ts";
import { basePolicy, setPrompt } from "../policies.ts";
import { searchesPrompt } from "../prompting/extent.ts";
import { searchPrompt } from "../prompting/search.ts";
import { closing, hasPrompt, ladderPhases, measurements, untrained } from "../progress/phases.ts";
import { evaluation, type Measurement, measurementsOf, temperatureOf } from "./bind_measure.ts";
import { firstPolicy, probing } from "../online/difficulty.ts";
import { firstVersion } from "../online/sampler.ts";
import { demonstrated } from "../online/warm_start.ts";

/** One rung: its request, and the event that ends it. */
interface Rung {
  begin(publish: Publish): Promise<void>;
  /** Whether the event ends it; otherwise it may publish what it does next. */
  ends(event: Envelope, publish: Publish): boolean | Promise<boolean>;
  /** Evaluated when the rung is next: true if it can be skipped. */
  skipped?(): boolean;
}

/** Binds the ladder. */
export function bind(run: Run): Bound[] {
  let rungs: Rung[] = [];
  const validated = new Map<string, Interval>();
  const climb = async ({ publish }: Out) => {
    while (rungs[0]?.skipped?.()) rungs.shift();
    if (rungs[0]) return await rungs[0].begin(publish);
    run.to_export = exported(run, validated);
    await publish("ladder.completed", run.to_export);
  };
  const reached = async (event: Envelope, out: Out) => {
    if (!(await rungs[0]?.ends(event, out.publish))) return;
    rungs.shift();
    await climb(out);
  };
  return [{
    stage: "ladder",
    on: {
      "scenarios.completed": async (_, out) => {
        run.scenarios = await fitTools(run, await basePolicy(run));
        rungs = run.measured ? measuredRungs(run, run.measured) : ladderRungs(run);
        await climb(out);
      },
      "evaluation.completed": async (event, out) => {
        const { policy, split, temperature, success } = event.data;
        const primary = temperature === temperatureOf(run, run.config.evaluate.sampling[0]!);
        if (split === "validation" && primary) validated.set(policy, success);
        await reached(event, out);
      },
      "policy.published": reached,
      "rung.completed": reached,
    },
  }];
}

/** The rungs of `ladder:`, or those of a hosted trainer; policies in `evaluate.policies` are evaluated. */
export function ladderRungs(run: Run): Rung[] {
  const { ladder } = run.config;
  const warm = ladder.includes("warm_start");
  const rl = ladder.includes("rl") || run.hosted !== null;
  const base = run.policies.get("base")!;
  if ((warm || rl) && !run.hosted && base.tokens !== "exact") {
    throw new HoneError(messages.tokens_not_given(base.base_url));
  }
  run.progress.plan(ladderPhases(run), run.deadline);
  return [
    ...measuring(run, "base"),
    ...untrained(run.config).flatMap((policy) => measuring(run, policy)),
    ...(searchesPrompt(run.config) ? [promptSearch(run)] : []),
    ...(hasPrompt(run) ? measuring(run, "prompt") : []),
    ...(warm ? [warmStart(run, rl ? "warm_start" : "tuned")] : []),
    ...(warm ? measuring(run, rl ? "warm_start" : "tuned") : []),
    ...(rl ? rlRungs(run) : []),
  ];
}

/** Policies, evaluated with the pipeline's settings, without training: first those without weights of their own. */
function measuredRungs(run: Run, measured: Measured[]): Rung[] {
  const phases = measured.flatMap(({ policy }) => measurements(run, policy));
  run.progress.plan([...phases, ...closing(run)], run.deadline);
  const { policy, weights = "" } = measured.at(-1)!;
  run.to_export = { policy, checkpoint: weights };
  const order = [...measured.filter(({ weights }) => !weights), ...measured.filter(({ weights }) => weights)];
  return order.flatMap(({ policy, weights, prompt }) => {
    if (prompt) setPrompt(run, policy, prompt);
    else if (!weights && !run.policies.has(policy)) setPrompt(run, policy, {});
    const served = weights ? [publishing(run, () => ({ name: policy, version: 1, checkpoint: weights }))] : [];
    return [...served, ...measuring(run, policy)];
  });
}

/** The evaluations of a policy, one after the other. */
function measuring(run: Run, policy: string): Rung[] {
  return measurementsOf(run, policy).map((measurement) => measuringOnce(run, policy, measurement));
}

function measuringOnce(run: Run, policy: string, measurement: Measurement): Rung {
  const { split, sampling, temperature = temperatureOf(run, sampling) } = measurement;
  return {
    begin: (publish) => publish("evaluation.requested", evaluation(run, policy, measurement)),
    ends: (event) =>
      isOf("evaluation.completed", event) &&
      evaluationKey(event.data) === evaluationKey({ policy, split, temperature }),
  };
}

/** The search for a prompt, of which `prompt` is made; if that is recorded, only the latter. */
function promptSearch(run: Run): Rung {
  const steps = searchPrompt(run);
  let awaited = "";
  /** Does the next steps up to an evaluation; true at the end. */
  const advance = async (publish: Publish, answer?: EventMap["evaluation.completed"]): Promise<boolean> => {
    for (let next = await steps.next(answer);; next = await steps.next()) {
      if (next.done) return true;
      if ("propose" in next.value) await publish("prompt.proposed", next.value.propose);
      else {
        awaited = evaluationKey(next.value.evaluate);
        await publish("evaluation.requested", next.value.evaluate);
        return false;
      }
    }
  };
  const known = run.recorded.prompts.get("prompt");
  return {
    skipped: () => {
      if (known) setPrompt(run, "prompt", { system_prompt: known.system_prompt, examples: known.examples });
      return known !== undefined;
    },
    begin: async (publish) => void await advance(publish),
    ends: async (event, publish) =>
      isOf("evaluation.completed", event) && evaluationKey(event.data) === awaited &&
      await advance(publish, event.data),
  };
}

function warmStart(run: Run, name: string): Rung {
  const rung = publishing(run, () => ({ name, version: 1, checkpoint: run.recorded.policies.get(name)!.checkpoint }));
  if (run.recorded.policies.has(name)) return rung;
  return {
    ...rung,
    begin: async (publish) => {
      await publish("rung.started", { rung: "warm_start", total: 0 });
      await publish("demonstrations.requested", { scenarios: demonstrated(run).length });
    },
  };
}

/**
 * RL, or a hosted trainer's job, then serving the selected checkpoint as `tuned`; only the latter if RL is recorded.
 */
function rlRungs(run: Run): Rung[] {
  const known = run.recorded.policies.get("tuned");
  let chosen = known && { name: "tuned", ...known };
  const none = () => chosen?.checkpoint === "";
  const tuned = [publishing(run, () => chosen!), ...measuring(run, "tuned")].map((rung) => ({
    ...rung,
    skipped: none,
  }));
  if (known) return tuned;
  const rl: Rung = {
    begin: (publish) => publish("rung.started", { rung: "rl", total: run.hosted ? 0 : run.config.train.steps }),
    ends: (event) => {
      if (!isOf("rung.completed", event)) return false;
      const { steps, checkpoint } = event.data;
      chosen = { name: "tuned", version: firstVersion(run) + steps + 1, checkpoint };
      return true;
    },
  };
  const probe = run.hosted ? null : probing(run);
  return [...(probe ? [measuringOnce(run, firstPolicy(run.config), probe)] : []), rl, ...tuned];
}

/** Requests a policy from a checkpoint; it becomes the exported policy. */
function publishing(run: Run, policy: () => EventMap["policy.requested"]): Rung {
  return {
    begin: (publish) => publish("policy.requested", policy()),
    ends: (event) => {
      if (!isOf("policy.published", event)) return false;
      const { name, checkpoint } = event.data;
      run.to_export = { policy: name, checkpoint };
      return true;
    },
  };
}

/** The policy to export: that of the last rung, or the warm start if `evaluate.export` and validation prefer it. */
function exported(
  { config, to_export, pinned: { warm_start } }: Run,
  validated: ReadonlyMap<string, Interval>,
): Run["to_export"] {
  const [before, after] = [validated.get("warm_start"), validated.get("tuned")];
  if (config.evaluate.export === "tuned" || to_export.policy !== "tuned" || !warm_start) return to_export;
  if (!before || !after || before.n === 0 || after.n === 0 || before.mean <= after.mean) return to_export;
  return { policy: "warm_start", checkpoint: warm_start };
}

function isOf<K extends EventName>(type: K, event: Envelope): event is Envelope & Envelope<K> {
  return event.type === type;
}
