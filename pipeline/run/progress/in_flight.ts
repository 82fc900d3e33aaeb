/**
 * The rollouts in flight and what each is waiting for: its environment, the model, a tool, the judges' observations.
 * In the order in which they started, so that a list of the first few is stable.
 * @module
 */
import type { Environment } from "../../plugin.ts";

/** What a rollout is waiting for. */
export type Waiting = "environment" | "model" | "tool" | "observation";

/** One rollout in flight, as shown. */
export interface RunningRollout {
  rollout: string;
  scenario: string;
  doing: Waiting;
  /** Server and tool of the current call; otherwise empty. */
  server: string;
  tool: string;
  /** Completed turns. */
  turns: number;
  /** Seconds in the current activity. */
  seconds: number;
}

interface Entry extends Omit<RunningRollout, "seconds"> {
  since: number;
}

/** Maximum number of listed rollouts. */
const LISTED = 12;

/** Follows one rollout. */
export interface Tracked {
  /** Sets what it is waiting for. */
  doing(what: Exclude<Waiting, "tool">): void;
  /** A turn is complete. */
  turned(): void;
  /** The environment, with its calls tracked. */
  watched(environment: Environment): Environment;
  end(): void;
}

/** All rollouts in flight. */
export class InFlight {
  #entries = new Map<string, Entry>();

  get count(): number {
    return this.#entries.size;
  }

  /** A rollout starts; it first waits for its environment. */
  begin(rollout: string, scenario: string): Tracked {
    const entry: Entry = { rollout, scenario, doing: "environment", server: "", tool: "", turns: 0, since: now() };
    this.#entries.set(rollout, entry);
    const doing = (what: Waiting, server = "", tool = "") =>
      Object.assign(entry, { doing: what, server, tool, since: now() });
    return {
      doing,
      turned: () => void entry.turns++,
      watched: (environment) => ({
        id: environment.id,
        workdir: environment.workdir,
        tools: environment.tools,
        observe: (call, options) => environment.observe(call, options),
        call: async (name, args, options) => {
          const known = environment.tools.find(({ model_name }) => model_name === name);
          doing("tool", known?.server, known?.name ?? name);
          try {
            return await environment.call(name, args, options);
          } finally {
            doing("model");
          }
        },
      }),
      end: () => void this.#entries.delete(rollout),
    };
  }

  /** The oldest ones, at most a dozen. */
  list(): RunningRollout[] {
    return [...this.#entries.values().take(LISTED)].map(({ since, ...entry }) => ({
      ...entry,
      seconds: (now() - since) / 1000,
    }));
  }
}

function now(): number {
  return performance.now();
}
