/**
 * rung.started → dataset.ready: the scenarios of the train and validation splits as `dataset.v1` files, and the graders
 * that judges and reward shaper provide for a service. JSON lines, one scenario each, in the order of the sources:
 * `{ schema, scenario_id, messages, tools, tags, expected }`, where `messages` start the conversation, `tools` are in
 * OpenAI's format, and `expected` holds the judges' parts of the scenario by stage id.
 * @module
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { offeredTools, opening, templateTools } from "../../chat/conversation.ts";
import { writeAside } from "../../common/write_aside.ts";
import type { JsonObject, Scenario, Split } from "../../events.ts";
import { partOf } from "../../scenario/parts.ts";
import { type Blamed, blaming } from "../blame.ts";
import type { Bound } from "../bindings.ts";
import { agentOf, type Run } from "../context.ts";

/** Binds the data set. */
export function bind(run: Run): Bound[] {
  return [{
    stage: "dataset",
    on: {
      "rung.started": async (_, { publish, deliver }) => {
        const { dataset } = run.recorded;
        // Made again until a job has it: a plugin may have been fixed meanwhile.
        if (dataset && run.recorded.job !== null) return await deliver("dataset.ready", dataset, true);
        const [train, validation] = [await write(run, "train"), await write(run, "validation")];
        await publish("dataset.ready", {
          train: train.path,
          validation: validation.rows > 0 ? validation.path : null,
          rows: train.rows,
          grader: await grader(run),
        });
      },
    },
  }];
}

async function write(run: Run, split: Split): Promise<{ path: string; rows: number }> {
  const scenarios = run.scenarios.filter((scenario) => scenario.split === split);
  const folder = join(run.run_dir, "dataset");
  await mkdir(folder, { recursive: true });
  await writeAside(
    join(folder, `${split}.jsonl`),
    scenarios.map((scenario) => JSON.stringify(line(run, scenario)) + "\n").join(""),
  );
  return { path: `dataset/${split}.jsonl`, rows: scenarios.length };
}

function line(run: Run, scenario: Scenario) {
  const agent = agentOf(run, "base");
  const tools = templateTools(agent, offeredTools(scenario, run.catalog.tools));
  const expected = run.roles.judges.flatMap(({ id, part }) => {
    const value = part ? partOf(scenario, part) : undefined;
    return value === undefined ? [] : [[id, value] as const];
  });
  return {
    schema: "dataset.v1",
    scenario_id: scenario.id,
    messages: opening(agent, run.policies.get("base")!, scenario, tools),
    tools: tools.map(({ model_name: name, description, input_schema: parameters }) => ({
      type: "function",
      function: { name, description, parameters },
    })),
    tags: scenario.tags,
    expected: Object.fromEntries(expected),
  };
}

/** The graders for the service. A judge without a grader counts in the verdict, but not in training. */
async function grader({ roles: { judges, shaper }, log }: Run): Promise<JsonObject> {
  const graders = await Promise.all(
    judges.map(async ({ id, use, role }) => [id, await graderOf({ id, use }, role)] as const),
  );
  for (const [id, made] of graders) {
    if (!made) log.warn(`judge ${id} has no grader: its scores are not used in training`);
  }
  const reward = await graderOf(shaper, shaper.role);
  return {
    judges: Object.fromEntries(graders.flatMap(([id, made]) => made ? [[id, made]] : [])),
    ...(reward && { reward }),
  };
}

function graderOf(stage: Blamed, role: { toGrader?(): JsonObject }): Promise<JsonObject | undefined> {
  return blaming(stage, () => role.toGrader?.());
}
