/**
 * The verdict of a run and its reports: what the rest of hone imports from this folder.
 * @module
 */
export { makeVerdict } from "./verdict.ts";
export { withSuites } from "./suite_figures.ts";
export { writeReports } from "./report/write.ts";
export { READY_QUERIES, withValue } from "./queries/ready_queries.ts";
export { success } from "./summary.ts";
export type * from "./verdict_types.ts";
