/**
 * Resources as read-only tools: two tools that hone adds to a server's own if the pipeline sets `resources: true`.
 * @module
 */
import type { JsonObject } from "../../events.ts";
import type { RawTool } from "../session/session.ts";

/** The added tools' names; a server's own tool of the same name wins, and hone's gets a prefix. */
export interface ResourceTools {
  list: RawTool;
  read: RawTool;
}

const ANNOTATIONS = { readOnlyHint: true, openWorldHint: false };

/** The tools that list and read a server's resources. */
export function resourceTools(taken: string[], templates: JsonObject[]): ResourceTools {
  const free = (name: string) => taken.includes(name) ? `mcp_${name}` : name;
  const forms = templates.map((template) => template.uriTemplate).filter((form) => typeof form === "string");
  return {
    list: {
      name: free("list_resources"),
      description: "List the resources that can be read.",
      inputSchema: { type: "object", properties: {} },
      annotations: ANNOTATIONS,
    },
    read: {
      name: free("read_resource"),
      description: `Read one resource.${forms.length ? ` URIs may have the form ${forms.join(" or ")}.` : ""}`,
      inputSchema: { type: "object", properties: { uri: { type: "string" } }, required: ["uri"] },
      annotations: ANNOTATIONS,
    },
  };
}

/** What the list tool answers: one resource a line. */
export function resourceLines(resources: JsonObject[]): string {
  return resources.map(({ uri, name, description }) =>
    [uri, name, description].filter((part) => typeof part === "string" && part).join(" - ")
  ).join("\n");
}
