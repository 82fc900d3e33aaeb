/** The judge that a judge is compared with: another one of the pipeline, or the same with another model. @module */
import type { LoadedStage } from "../config/pipeline_file.ts";
import { Source } from "../config/source.ts";
import { audits, HoneError } from "../diagnostics/mod.ts";
import { llm_endpoint } from "../llm/endpoint_schema.ts";

/** The stage that `given` names: an id, or an endpoint as YAML for a copy of the audited judge. */
export function secondOf(given: string, audited: LoadedStage, judges: LoadedStage[]): LoadedStage {
  const named = judges.find(({ id }) => id === given);
  if (named) return named;
  const source = new Source(given, "--second");
  const [problem] = source.syntax();
  if (problem) throw new HoneError(audits.second_unreadable(given, problem.message));
  const endpoint = llm_endpoint.safeParse(source.raw);
  if (!endpoint.success) {
    const [{ path, message } = { path: [], message: "no endpoint" }] = endpoint.error.issues;
    throw new HoneError(audits.second_unreadable(given, [path.join("."), message].filter(Boolean).join(": ")));
  }
  const settings = audited.with as Record<string, unknown>;
  if (settings.endpoint === undefined) throw new HoneError(audits.second_has_no_endpoint(audited.id));
  return { ...audited, id: `${audited.id}-second`, with: { ...settings, endpoint: endpoint.data } };
}
