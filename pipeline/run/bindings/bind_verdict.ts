/**
 * ladder.completed → verdict.made: the closing comparison and its reports, written before anything is exported, so that
 * they exist even if an exporter fails.
 * @module
 */
import { policyPrices } from "../../config/policy_prices.ts";
import { makeVerdict, writeReports } from "../../verdict/mod.ts";
import type { Bound } from "../bindings.ts";
import type { Run } from "../context.ts";

/** Binds the verdict. */
export function bind(run: Run): Bound[] {
  return [{
    stage: "verdict",
    on: {
      "ladder.completed": async ({ data }, { publish }) => {
        run.progress.begin("verdict", 0);
        run.verdict = await makeVerdict({
          store: run.store,
          config: { ...run.config, prices: policyPrices(run.config) },
        });
        await writeReports(run.run_dir, run.store, run.verdict, { status: "running" });
        await publish("verdict.made", { sentence: run.verdict.sentence, ...data });
      },
    },
  }];
}
