/**
 * Sends the figures of a run to an MLflow tracking server, over its REST API: one MLflow run for each run of hone, found
 * again by the tag `hone.run_id` when the run is resumed. Metrics carry the time and the step of their event, so that one
 * that is sent twice is one point.
 * @module
 */
import {
  definePlugin,
  HoneError,
  type JsonObject,
  type Plugin,
  protectHeaders,
  type TrackedRun,
  trackers as messages,
} from "@hone/hone";
import { z } from "zod";
import { delivering, type Destination, type Ending } from "./delivery.ts";
import type { Figures } from "./figures.ts";
import { MlflowClient, Refusal } from "./mlflow_client.ts";

const env = (what: string, name: string) =>
  z.string().optional().describe(`Environment variable that holds ${what}. Default: \`${name}\`, if it is set.`)
    .meta({ examples: [name] });

const config = z.strictObject({
  tracking_uri: z.url({ protocol: /^https?$/ })
    .refine(
      (uri) => new URL(uri).username === "",
      "must not contain a user: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    )
    .describe("Address of the tracking server.").meta({ examples: ["http://127.0.0.1:5000"] }),
  experiment_name: z.string().regex(/^[^'"`\\]{1,250}$/, "must have 1 to 250 characters, none of them a quote")
    .default("hone").describe("Experiment that the run is added to; created if it does not exist."),
  run_name: z.string().min(1).optional().describe("Name of the run there. Default: the run's id.")
    .meta({ examples: ["files, seed 7"] }),
  tags: z.record(z.string(), z.string()).default({}).describe("Further tags of the run."),
  token_env: env("a bearer token", "MLFLOW_TRACKING_TOKEN"),
  username_env: env("a user name", "MLFLOW_TRACKING_USERNAME"),
  password_env: env("the user's password", "MLFLOW_TRACKING_PASSWORD"),
});

type Config = z.output<typeof config>;

const plugin: Plugin<"tracker"> = definePlugin({
  kind: "tracker",
  name: "mlflow",
  summary:
    "Sends the figures of training steps and evaluations, the settings and the verdict to an MLflow tracking server.",
  config,
  examples: [
    { title: "A server on this machine", with: { tracking_uri: "http://127.0.0.1:5000", experiment_name: "files" } },
    {
      title: "A server with a login",
      with: { tracking_uri: "https://mlflow.example.com", token_env: "MLFLOW_TRACKING_TOKEN" },
    },
  ],
  create: ({ config, log, stage }) => delivering({ log, stage }, new MlflowRun(config)),
});
export default plugin;

/** What one request may hold (https://mlflow.org/docs/latest/rest-api.html#log-batch). */
const MOST = { metrics: 1000, params: 100 };
const MAX_TAG_CHARS = 5000;

const STATUSES: Record<string, string> = {
  completed: "FINISHED",
  failed: "FAILED",
  interrupted: "KILLED",
  cancelled: "KILLED",
  paused: "SCHEDULED",
};

interface FoundRun {
  info: { run_id: string };
  data?: { params?: { key: string }[] };
}

class MlflowRun implements Destination {
  #client: MlflowClient | undefined;
  #run_id = "";

  constructor(private readonly config: Config) {}

  async open(run: TrackedRun, recorded: Figures[], signal: AbortSignal): Promise<void> {
    const headers = loginOf(this.config);
    protectHeaders(headers);
    this.#client = new MlflowClient(this.config.tracking_uri, headers);
    const experiment_id = await this.#experiment(signal);
    // A request to create it may have been carried out although its answer was lost.
    const found = await this.#found(experiment_id, run.run_id, signal);
    const { info, data } = found ?? await this.#create(experiment_id, run, signal);
    this.#run_id = info.run_id;
    if (found) await this.#call("runs/update", { run_id: this.#run_id, status: "RUNNING" }, signal);
    // A parameter that has a value keeps it.
    const known = new Set((data?.params ?? []).map(({ key }) => key));
    const params = Object.entries(run.settings).filter(([key]) => !known.has(key))
      .map(([key, value]) => ({ key, value: String(value) }));
    for (const some of chunks(params, MOST.params)) {
      await this.#call("runs/log-batch", { run_id: this.#run_id, params: some }, signal);
    }
    await this.write(recorded, signal);
  }

  async write(rows: Figures[], signal: AbortSignal): Promise<void> {
    const metrics = rows.flatMap(({ at, step, values }) =>
      Object.entries(values).map(([key, value]) => ({ key, value, timestamp: at, step }))
    );
    for (const some of chunks(metrics, MOST.metrics)) {
      await this.#call("runs/log-batch", { run_id: this.#run_id, metrics: some }, signal);
    }
  }

  async end({ status, sentence }: Ending, signal: AbortSignal): Promise<void> {
    if (sentence !== undefined) {
      const tags = ["hone.verdict", "mlflow.note.content"].map((key) => ({
        key,
        value: sentence.slice(0, MAX_TAG_CHARS),
      }));
      await this.#call("runs/log-batch", { run_id: this.#run_id, tags }, signal);
    }
    const ended = { status: STATUSES[status ?? "failed"] ?? "FAILED", end_time: Date.now() };
    await this.#call("runs/update", { run_id: this.#run_id, ...ended }, signal);
  }

  async #experiment(signal: AbortSignal): Promise<string> {
    const { experiment_name: name } = this.config;
    const filter = `name = '${name}'`;
    const { experiments } = await this.#call("experiments/search", { filter, max_results: 1 }, signal) as {
      experiments?: { experiment_id: string }[];
    };
    if (experiments?.[0]) return experiments[0].experiment_id;
    try {
      const { experiment_id } = await this.#call("experiments/create", { name }, signal);
      return String(experiment_id);
    } catch (error) {
      const exists = error instanceof Refusal && error.mlflow_code === "RESOURCE_ALREADY_EXISTS";
      throw exists ? new HoneError(messages.experiment_deleted(name)) : error;
    }
  }

  async #found(experiment_id: string, run_id: string, signal: AbortSignal): Promise<FoundRun | undefined> {
    const filter = `tags."hone.run_id" = '${tagOf(run_id)}'`;
    const { runs } = await this.#call(
      "runs/search",
      { experiment_ids: [experiment_id], filter, max_results: 1 },
      signal,
    );
    return (runs as unknown as FoundRun[] | undefined)?.[0];
  }

  async #create(experiment_id: string, run: TrackedRun, signal: AbortSignal): Promise<FoundRun> {
    const tags = { ...this.config.tags, "hone.run_id": tagOf(run.run_id), "hone.pipeline": run.name };
    const body = {
      experiment_id,
      run_name: this.config.run_name ?? run.run_id,
      start_time: Date.now(),
      tags: Object.entries(tags).map(([key, value]) => ({ key, value })),
    };
    const { run: made } = await this.#call("runs/create", body, signal);
    return { info: (made as unknown as FoundRun).info };
  }

  #call(method: string, body: JsonObject, signal: AbortSignal): Promise<JsonObject> {
    return this.#client!.call(method, body, signal);
  }
}

/** The id of a run is the name of its folder; filters have no escape for quotes. */
function tagOf(run_id: string): string {
  return run_id.replace(/['"`\\]/g, "_");
}

function loginOf({ token_env, username_env, password_env }: Config): Record<string, string> {
  const token = Deno.env.get(token_env ?? "MLFLOW_TRACKING_TOKEN");
  if (token) return { authorization: `Bearer ${token}` };
  const user = Deno.env.get(username_env ?? "MLFLOW_TRACKING_USERNAME");
  if (!user) return {};
  const password = Deno.env.get(password_env ?? "MLFLOW_TRACKING_PASSWORD") ?? "";
  const bytes = new TextEncoder().encode(`${user}:${password}`);
  return { authorization: `Basic ${btoa(String.fromCharCode(...bytes))}` };
}

function chunks<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size));
}
