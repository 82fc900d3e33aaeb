/**
 * A rule of `deno lint` (`lint.plugins` in deno.json): no TypeScript function of more than 60 lines, from its first line
 * to its last. Methods and arrow functions are functions; tests and benches are exempt.
 * @module
 */
import { join, relative, sep } from "node:path";
import { isTest } from "./finding.ts";

/** Lines that a function may have. */
export const MOST_LINES = 60;
/** What is wanted in place of a longer one. */
export const SHORTER = `at most ${MOST_LINES}; split it where two things live together`;

const ROOT = join(import.meta.dirname!, "../..");

type AnyFunction =
  | Deno.lint.ArrowFunctionExpression
  | Deno.lint.FunctionDeclaration
  | Deno.lint.FunctionExpression;

const plugin: Deno.lint.Plugin = {
  name: "hone",
  rules: {
    "function-length": {
      create(context) {
        const file = relative(ROOT, context.filename).split(sep).join("/");
        if (isTest(file)) return {};
        const check = (node: AnyFunction) => {
          const lines = context.sourceCode.getText(node).split("\n").length;
          if (lines <= MOST_LINES) return;
          // Only its head: the frame would show the whole function.
          const range: [number, number] = [node.range[0], node.body?.range[0] ?? node.range[1]];
          context.report({ range, message: `a function of ${lines} lines; wanted: ${SHORTER}` });
        };
        return {
          ArrowFunctionExpression: check,
          FunctionDeclaration: check,
          FunctionExpression: check,
        };
      },
    },
  },
};
export default plugin;
