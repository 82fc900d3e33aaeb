/**
 * The language models in the settings of stages, and whether each states its price where `limits.usd` needs it.
 * @module
 */
import { config } from "../diagnostics/mod.ts";
import type { LlmEndpoint } from "../plugin.ts";
import { type Path, valueAt } from "./source.ts";
import type { Finding, Placed } from "./stage_graph.ts";

/** An endpoint in a stage's settings, with its path below them. */
export interface FoundEndpoint {
  endpoint: LlmEndpoint;
  path: Path;
}

/** Every endpoint in a stage's parsed settings. */
export function endpointsIn(settings: unknown, path: Path = []): FoundEndpoint[] {
  if (typeof settings !== "object" || settings === null) return [];
  const { api, base_url, model } = settings as Record<string, unknown>;
  const is_endpoint = (api === "openai" || api === "anthropic") && typeof base_url === "string" &&
    typeof model === "string";
  if (is_endpoint) return [{ endpoint: settings as LlmEndpoint, path }];
  const entries: [string | number, unknown][] = Array.isArray(settings)
    ? [...settings.entries()]
    : Object.entries(settings);
  return entries.flatMap(([key, value]) => endpointsIn(value, [...path, key]));
}

/** Endpoints without a price, if `limits.usd` is set. */
export function checkPrices(raw: unknown, stages: Placed[]): Finding[] {
  if (valueAt(raw, ["limits", "usd"]) === undefined) return [];
  return stages.flatMap(({ index, with: settings }) =>
    endpointsIn(settings).filter(({ endpoint }) => !endpoint.price).map(({ path }): Finding => {
      const at = ["stages", index, "with", ...path];
      const field = `stages[${index}].with${
        path.map((key) => typeof key === "number" ? `[${key}]` : `.${key}`).join("")
      }`;
      return { diagnostic: config.endpoint_unpriced(field), path: at };
    })
  );
}
