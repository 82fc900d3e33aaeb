/**
 * One folder, one bad pipeline, one whole message: `pipeline.yaml` and the `expected_error.txt` that reading it gives.
 * `{dir}` in the expected text is the folder. `UPDATE_CASES=1` writes the files anew, to be read in the diff.
 * @module
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { examinePipeline } from "../../pipeline/config/pipeline_file.ts";
import { render } from "../../pipeline/diagnostics/mod.ts";
import { builtins } from "../../plugins/mod.ts";

const CASES = import.meta.dirname!;

for (const name of readdirSync(CASES).filter((each) => existsSync(join(CASES, each, "pipeline.yaml")))) {
  Deno.test(`examinePipeline() explains the whole of ${name}`, async () => {
    const dir = join(CASES, name);
    const file = join(dir, "pipeline.yaml");
    const { loaded, diagnostics } = await examinePipeline(readFileSync(file, "utf8"), file, { builtins, env: {} });
    // Scenario files are named from where the person stands.
    const said = render(diagnostics).replaceAll(dir + "/pipeline.yaml", "pipeline.yaml").replaceAll(dir, "{dir}")
      .replaceAll(relative(Deno.cwd(), dir) + "/", "") + "\n";
    const expected = join(dir, "expected_error.txt");
    if (Deno.env.get("UPDATE_CASES")) writeFileSync(expected, said);
    assert.equal(loaded, undefined);
    assert.ok(diagnostics.length > 0);
    assert.equal(said, readFileSync(expected, "utf8"));
  });
}
