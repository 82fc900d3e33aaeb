import assert from "node:assert/strict";
import { redact } from "@hone/hone";
import { conformance } from "@hone/hone/testing";
import { MlflowStandIn } from "../../tests/fixtures/mlflow_stand_in.ts";
import { ownEnv } from "../../tests/fixtures/own_env.ts";
import { closing, followed, stepped, trackedRun } from "../../tests/fixtures/tracked_run.ts";
import plugin from "./mlflow.ts";

conformance(plugin);

const KEPT = "The run goes on; all figures are in its run.duckdb";

Deno.test("tracker/mlflow creates the run, sends settings, figures and verdict, and ends it", async () => {
  await using server = new MlflowStandIn();
  const settings = { tracking_uri: `${server.uri}/`, experiment_name: "files", tags: { team: "tools" } };
  assert.deepEqual(await followed(plugin, settings, trackedRun("/run"), [stepped(1, 1), ...closing(2)]), []);
  assert.deepEqual(server.experiments, ["files"]);
  const [{ metrics, ...run }] = server.runs as [typeof server.runs[number]];
  assert.deepEqual(run, {
    name: "r1",
    status: "FINISHED",
    params: { seed: "7", "train.group_size": "8", model: "tiny" },
    tags: {
      team: "tools",
      "hone.run_id": "r1",
      "hone.pipeline": "small",
      "hone.verdict": "Tuned is better.",
      "mlflow.note.content": "Tuned is better.",
    },
  });
  assert.deepEqual(metrics[0], { key: "rl/loss", value: 1, timestamp: Date.UTC(2026, 0, 1) + 1000, step: 1 });
  assert.deepEqual(metrics.map(({ key }) => key).slice(1, 5), [
    "rl/reward_mean",
    "rl/seconds",
    "rl/staleness",
    "evaluation/heldout/tuned/greedy/success",
  ]);
});

Deno.test("tracker/mlflow continues the same run when hone's run is resumed, without a point twice", async () => {
  await using server = new MlflowStandIn();
  const settings = { tracking_uri: server.uri };
  await followed(plugin, settings, trackedRun("/run"), [stepped(1, 1)]);
  assert.equal(server.runs[0]!.status, "FAILED");
  const changed = { ...trackedRun("/run", [stepped(1, 1)]), settings: { seed: 8, ladder: "rl" } };
  await followed(plugin, settings, changed, [stepped(2, 2), ...closing(3)]);
  const [run, ...more] = server.runs;
  assert.deepEqual(more, []);
  // A parameter that has a value keeps it, as MLflow demands.
  assert.deepEqual(run!.params, { seed: "7", "train.group_size": "8", model: "tiny", ladder: "rl" });
  assert.deepEqual(run!.metrics.filter(({ key }) => key === "rl/loss").map(({ step, value }) => [step, value]), [
    [1, 1],
    [2, 0.5],
  ]);
  assert.equal(run!.status, "FINISHED");
});

Deno.test("tracker/mlflow sends many figures in batches that the server takes", async () => {
  await using server = new MlflowStandIn();
  const metrics = Object.fromEntries(Array.from({ length: 1500 }, (_, i) => [`m ${i}`, i]));
  const run = { ...trackedRun("/run"), settings: Object.fromEntries(Object.entries(metrics).slice(0, 250)) };
  assert.deepEqual(await followed(plugin, { tracking_uri: server.uri }, run, [stepped(1, 1, metrics)]), []);
  assert.equal(server.runs[0]!.metrics.length, 1503);
  assert.equal(Object.keys(server.runs[0]!.params).length, 250);
});

Deno.test("tracker/mlflow tries again what a busy server refuses", async () => {
  await using server = new MlflowStandIn();
  let left = 2;
  server.instead = () => left-- > 0 ? new Response("busy", { status: 503 }) : undefined;
  assert.deepEqual(await followed(plugin, { tracking_uri: server.uri }, trackedRun("/run"), closing(1)), []);
  assert.equal(server.runs[0]!.status, "FINISHED");
});

Deno.test("tracker/mlflow says once that no server answers, and does not hold up the run's end", async () => {
  const closed = new MlflowStandIn();
  const tracking_uri = closed.uri;
  await closed[Symbol.asyncDispose]();
  const lines = await followed(plugin, { tracking_uri }, trackedRun("/run"), [stepped(1, 1), ...closing(2)]);
  assert.equal(lines.length, 2, lines.join("\n"));
  assert.match(lines[0]!, new RegExp(`^warn: Cannot reach the MLflow server at "${tracking_uri}": .*refused`));
  assert.ok(
    lines[0]!.endsWith(`Start it, or correct \`tracking_uri\`. hone keeps trying until the run ends. ${KEPT}.`),
  );
  assert.equal(lines[1], "info: the figures of 3 events were not delivered");
});

for (
  const [what, response, said] of [
    [
      "a login",
      () => new Response("who?", { status: 401 }),
      (uri: string) =>
        `warn: The MLflow server at "${uri}" asks for a login (HTTP 401). Set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. ${KEPT}.`,
    ],
    [
      "another server",
      () => new Response("<html>", { status: 200 }),
      (uri: string) =>
        `warn: There is no MLflow server at "${uri}": it answers HTTP 200 without MLflow's JSON. Correct \`tracking_uri\`. ${KEPT}.`,
    ],
    [
      "a redirect",
      () => Response.redirect("https://elsewhere.example/", 302),
      (uri: string) =>
        `warn: There is no MLflow server at "${uri}": it answers HTTP 302 without MLflow's JSON. Correct \`tracking_uri\`. ${KEPT}.`,
    ],
    [
      "a refusal",
      () => Response.json({ error_code: "BAD_REQUEST", message: "no" }, { status: 400 }),
      (uri: string) =>
        `warn: The MLflow server at "${uri}" refuses what hone sends: BAD_REQUEST: no. ${KEPT}; \`hone resume\` sends what is missing.`,
    ],
  ] as const
) {
  Deno.test(`tracker/mlflow gives up at ${what}, and says so once`, async () => {
    await using server = new MlflowStandIn();
    server.instead = response;
    const lines = await followed(plugin, { tracking_uri: server.uri }, trackedRun("/run"), [stepped(1, 1)]);
    assert.deepEqual(lines, [said(server.uri), "info: the figures of 1 events were not delivered"]);
    assert.equal(server.asked.length, 1);
  });
}

Deno.test("tracker/mlflow names an experiment that was deleted", async () => {
  await using server = new MlflowStandIn();
  const exists = { error_code: "RESOURCE_ALREADY_EXISTS", message: "it is deleted" };
  server.instead = (method) => method === "experiments/create" ? Response.json(exists, { status: 400 }) : undefined;
  const lines = await followed(plugin, { tracking_uri: server.uri }, trackedRun("/run"), []);
  assert.deepEqual(lines, [
    `warn: The MLflow experiment "hone" has been deleted. Restore it, or choose another \`experiment_name\`. ${KEPT}.`,
  ]);
});

Deno.test("tracker/mlflow signs in with a token, or a user and a password, from the environment, and shows neither", async () => {
  await using server = new MlflowStandIn();
  const run = trackedRun("/run");
  {
    using _ = ownEnv({ OTHER_TOKEN: "t0ken-of-mlflow" });
    await followed(plugin, { tracking_uri: server.uri, token_env: "OTHER_TOKEN" }, run, []);
  }
  {
    using _ = ownEnv({ MLFLOW_TRACKING_USERNAME: "ada", MLFLOW_TRACKING_PASSWORD: "gr33n-eggs" });
    await followed(plugin, { tracking_uri: server.uri }, run, []);
  }
  assert.deepEqual([...new Set(server.logins)], ["Bearer t0ken-of-mlflow", `Basic ${btoa("ada:gr33n-eggs")}`]);
  assert.equal(redact("t0ken-of-mlflow gr33n-eggs"), "[redacted] [redacted]");
  const refused = plugin.config.safeParse({ tracking_uri: "https://ada:gr33n@mlflow.example.com" });
  assert.equal(
    refused.error?.issues[0]?.message,
    "must not contain a user: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
  );
});
