/**
 * The table of built-in plugins: the only place besides its own file where a plugin is named. Imports are literal and
 * lazy, so that listing plugins is cheap and a compiled binary contains them all.
 * @module
 */
import type { Builtins } from "../pipeline/loader.ts";

/** Built-in plugins by `kind/name`. */
export const builtins: Builtins = {
  "discoverer/mcp": () => import("./discoverer/mcp.ts"),
  "scenario-source/file": () => import("./scenario_source/file.ts"),
  "scenario-source/generate": () => import("./scenario_source/generate.ts"),
  "rollout/chat": () => import("./rollout/chat.ts"),
  "judge/state": () => import("./judge/state.ts"),
  "judge/calls": () => import("./judge/calls.ts"),
  "judge/answer": () => import("./judge/answer.ts"),
  "judge/rubric": () => import("./judge/rubric.ts"),
  "judge/ruler": () => import("./judge/ruler.ts"),
  "judge/pairwise": () => import("./judge/pairwise.ts"),
  "judge/protocol": () => import("./judge/protocol.ts"),
  "judge/exec": () => import("./judge/exec.ts"),
  "judge/human": () => import("./judge/human.ts"),
  "reward-shaper/weighted": () => import("./reward_shaper/weighted.ts"),
  "reward-shaper/lexicographic": () => import("./reward_shaper/lexicographic.ts"),
  "trainer/mlx": () => import("./trainer/mlx.ts"),
  "trainer/lightning": () => import("./trainer/lightning.ts"),
  "exporter/adapter": () => import("./exporter/adapter.ts"),
  "tracker/csv": () => import("./tracker/csv.ts"),
  "tracker/mlflow": () => import("./tracker/mlflow.ts"),
  "tracker/tensorboard": () => import("./tracker/tensorboard.ts"),
  "tracker/wandb": () => import("./tracker/wandb.ts"),
  "tracker/carbon": () => import("./tracker/carbon.ts"),
};
