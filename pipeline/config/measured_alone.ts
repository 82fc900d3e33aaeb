/**
 * A pipeline that only evaluates one policy: nothing is trained or exported. The folder's pipeline.yaml records that
 * too, because resuming an evaluation must not train.
 * @module
 */
import { parseDocument } from "yaml";
import type { LoadedPipeline } from "./pipeline_file.ts";

/** The pipeline, for a run with `measure`. */
export function measuredAlone(
  loaded: LoadedPipeline,
  policy: "base" | "prompt" | "warm_start" | "tuned",
): LoadedPipeline {
  const { config } = loaded;
  return {
    ...loaded,
    config: { ...config, ladder: ["prompt"], evaluate: { ...config.evaluate, policies: [policy] } },
    stages: loaded.stages.filter(({ plugin }) => plugin.kind !== "exporter"),
    resolved_yaml: recorded(loaded.resolved_yaml, policy),
  };
}

function recorded(yaml: string, policy: string): string {
  const doc = parseDocument(yaml);
  // A hosted trainer has no ladder.
  if (doc.has("ladder")) doc.set("ladder", ["prompt"]);
  doc.setIn(["evaluate", "policies"], [policy]);
  return doc.toString({ lineWidth: 0 });
}
