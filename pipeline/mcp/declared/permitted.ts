/** What the servers of a pipeline permit, as far as their declarations say. @module */
import type { ServerConfig } from "../../config/pipeline_schema.ts";
import type { ToolSpec } from "../../events.ts";
import type { DeclaredServer } from "../../plugin.ts";
import { isNamed } from "../catalog/catalog.ts";

/** The servers by name. */
export function declaredServers(
  servers: Record<string, ServerConfig>,
  allow_writes: boolean,
): Record<string, DeclaredServer> {
  return Object.fromEntries(
    Object.entries(servers).map(([name, server]) => {
      const shared = server.isolation === "shared";
      const free = !shared || allow_writes || server.allow_writes;
      return [name, {
        has_folder: "command" in server && !shared,
        // The tools of `resources: true` have names that only the server's own list decides.
        may_call: (tool) => free || server.resources || isNamed(server.read_only_tools ?? [], tool),
      }];
    }),
  );
}

/** Whether the server or the user's own list says that a tool changes nothing. */
export function isReadOnly({ name, annotations }: ToolSpec, server: ServerConfig | undefined): boolean {
  return annotations.read_only === true || isNamed(server?.read_only_tools ?? [], name);
}
