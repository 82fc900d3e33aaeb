/** What `hone scenarios check` says of a scenario. @module */
import { quote, say } from "./diagnostic.ts";

/** Findings about one scenario, whose id the caller shows. */
export const scenarioChecks = {
  unsolved: (reason: string) =>
    say(
      "SOLUTION_FAILS",
      `Its reference solution does not reach the goal: ${reason}`,
      "correct the solution, or what the scenario expects",
    ),
  failed_call: (reason: string, tool: string, outcome: string, text: string) =>
    `${reason}; its call of ${quote(tool)} ended as ${outcome}: ${quote(text)}`,
  not_judged: (cause: string) => say("SCENARIO_NOT_JUDGED", `A trial of it could not be judged: ${cause}`),
  trivial: (reason: string) =>
    say(
      "SCENARIO_TRIVIAL",
      `Doing nothing succeeds: an agent without any call and with an empty answer is judged successful (${reason})`,
      "expect something that only the task brings about",
    ),
  accepted_too: (tool: string | undefined, field: string, other: unknown, named: boolean) =>
    say(
      named ? "ARGUMENT_NOT_CHECKED" : "ARGUMENT_FREE",
      tool === undefined
        ? `The judges also accept the closing answer ${quote(other)}`
        : `The judges also accept ${quote(tool)} with ${field}: ${quote(other)}${
          named ? "" : ", a value that the task does not name"
        }`,
      named ? "check what the task asks for" : "check it, unless the agent is free to choose it",
    ),
  unsupported: (answer: string, values: string[]) =>
    say(
      "ANSWER_UNSUPPORTED",
      `Its reference answer ${quote(answer)} is supported by no tool result, nor by task and setup: ${
        values.join(", ")
      } ${values.length === 1 ? "occurs" : "occur"} in none of them`,
      "it may have been made up; make the calls that an agent needs to know it part of the solution",
    ),
  no_solution: () =>
    say(
      "SCENARIO_WITHOUT_SOLUTION",
      "It has no reference solution, so that nothing shows that it can be solved",
      "add a `solution`: its calls and its closing answer",
    ),
};
