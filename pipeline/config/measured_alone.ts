/**
 * A pipeline of which only a part is run. One that only evaluates policies: nothing is trained, searched or exported; the
 * folder's pipeline.yaml records that too, because resuming an evaluation must not train. One that only judges.
 * @module
 */
import { parseDocument } from "yaml";
import type { LoadedPipeline } from "./pipeline_file.ts";

/** The pipeline, for a run with `measure`. */
export function measuredAlone(
  loaded: LoadedPipeline,
  policies: string[],
): LoadedPipeline {
  const { config } = loaded;
  return {
    ...loaded,
    config: { ...config, ladder: [], evaluate: { ...config.evaluate, policies } },
    stages: loaded.stages.filter(({ plugin }) => plugin.kind !== "exporter"),
    resolved_yaml: recorded(loaded.resolved_yaml, policies),
  };
}

/** The pipeline, for a run whose recorded rollouts are judged again. */
export function judgedAlone(loaded: LoadedPipeline): LoadedPipeline {
  return {
    ...loaded,
    stages: loaded.stages.filter(({ plugin }) => plugin.kind === "judge" || plugin.kind === "reward-shaper"),
  };
}

function recorded(yaml: string, policies: string[]): string {
  const doc = parseDocument(yaml);
  // A hosted trainer has no ladder.
  if (doc.has("ladder")) doc.set("ladder", []);
  doc.setIn(["evaluate", "policies"], policies);
  return doc.toString({ lineWidth: 0 });
}
