import assert from "node:assert/strict";
import { conformance } from "@hone/hone/testing";
import plugin from "./carbon.ts";

conformance(plugin);

Deno.test("tracker/carbon wants the country's code of three capital letters", () => {
  for (const country_iso_code of ["de", "DE", "deu", "Germany"]) {
    const { error } = plugin.config.safeParse({ country_iso_code });
    assert.equal(error?.issues[0]?.message, "must be three capital letters, such as DEU");
  }
});
