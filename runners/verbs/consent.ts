/**
 * Approval of the programs that a file names, before any is started or loaded. It is asked for once and remembered in
 * hone's cache, program by program: a changed command, environment or plugin file is asked for again.
 * @module
 */
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { cacheDir } from "../../pipeline/common/cache_dir.ts";
import { visibleWord } from "../../pipeline/common/visible.ts";
import type { Approve } from "../../pipeline/config/approved_plugins.ts";
import type { Program } from "../../pipeline/config/programs.ts";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import { type Caller, terminalOnly } from "./verb.ts";

/** The flag that approves everything. */
export const yes = terminalOnly(
  z.boolean().default(false).describe("Approve the programs and plugins that the file names, without asking."),
);

/** What the verb needs approval for, and what it does without. */
export interface Wanted {
  /** `plugins`: nothing but plugins is loaded. `judging`: plugins are loaded and judges start what they name. */
  of?: "everything" | "plugins" | "judging";
  /** `skip`: plugins that are not approved yet are left out, and nobody is asked. */
  otherwise?: "ask" | "skip";
}

/** Approval for one call of a verb; `file` names the programs. Throws NOT_CONSENTED if it is refused. */
export function approval(
  call: { args: { yes: boolean }; caller: Caller },
  file: string,
  { of = "everything", otherwise = "ask" }: Wanted = {},
): Approve {
  return async (programs, { sound, base_dir }) => {
    if (call.caller.loads_code === true) return programs;
    const needed = programs.filter(({ plugin, judges }) =>
      of === "everything" || plugin !== undefined || of === "judging" && judges
    );
    const fresh = needed.filter(({ digest }) => !existsSync(record(digest)));
    if (fresh.length === 0) return programs;
    const shown = [
      `${visibleWord(file)} starts these programs on this machine:`,
      // As in the pipeline of a run, which names the original file.
      ...(base_dir === dirname(resolve(file)) ? [] : [`  (paths are relative to ${visibleWord(base_dir)})`]),
      listed(fresh),
    ].join("\n");
    if (call.args.yes) call.caller.note(shown);
    else if (otherwise === "skip" || !sound) return programs.filter((program) => !fresh.includes(program));
    else await ask(call.caller, shown);
    await remember(fresh);
    return programs;
  };
}

async function ask(caller: Caller, shown: string): Promise<void> {
  const answer = await caller.confirm("run them?", shown);
  if (answer === null) throw new HoneError(cli.nobody_to_ask());
  if (!answer) throw new HoneError(cli.not_consented());
}

function listed(programs: Program[]): string {
  return programs.map(({ shown: [first, ...details] }) =>
    [`  ${first}`, ...details.map((line) => `    ${line}`)].join("\n")
  ).join("\n");
}

function record(digest: string): string {
  return join(cacheDir(), "consent", digest);
}

/** Approval that cannot be stored is asked for again next time. */
async function remember(programs: Program[]): Promise<void> {
  try {
    await mkdir(join(cacheDir(), "consent"), { recursive: true, mode: 0o700 });
    for (const program of programs) await writeFile(record(program.digest), listed([program]), { mode: 0o600 });
  } catch {
    // What needs the cache says what is wrong with it.
  }
}
