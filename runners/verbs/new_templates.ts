/**
 * The files that `hone new` writes, around the template of each kind.
 * @module
 */
import { KINDS } from "../../pipeline/kinds.ts";
import type { Kind } from "../../pipeline/plugin.ts";

/** The plugin's file. */
export function pluginText(kind: Kind, name: string): string {
  const { summary, types, config, example, create } = KINDS[kind].template;
  const imported = [...types.map((type) => `type ${type}`), "definePlugin", "type Plugin"]
    .sort((a, b) => a.replace("type ", "").toLowerCase() < b.replace("type ", "").toLowerCase() ? -1 : 1);
  return `/** ${summary} @module */
import { ${imported.join(", ")} } from "@hone/hone";
import { z } from "zod";

const config = z.strictObject({
${config}
});

const plugin: Plugin<"${kind}"> = definePlugin({
  kind: "${kind}",
  name: "${name}",
  summary: "${summary}",
  config,
  examples: [{ title: "Example", with: ${example} }],
  create: ${create},
});
export default plugin;
`;
}

/** The plugin's test. */
export function testText(kind: Kind, stem: string): string {
  const own = KINDS[kind].template.test?.(stem) ?? "";
  const helpers = own ? "conformance, fakeContext, fakeJudgeArgs, fakeScenario, fakeTrajectory" : "conformance";
  return `${own ? 'import assert from "node:assert/strict";\n' : ""}import { ${helpers} } from "@hone/hone/testing";
import plugin from "./${stem}.ts";

conformance(plugin);
${own}`;
}
