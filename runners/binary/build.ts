/**
 * Compiles hone into one executable with `deno compile`, which downloads Deno's runtime for the target on first use
 * (or takes the one that `DENORT_BIN` names).
 * Run: deno run -A runners/binary/build.ts [target…]   (a target is one of TARGETS; this machine's when left out)
 * @module
 */
import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** What `deno compile` can build for. */
export const TARGETS = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
];

/** What the program reads from disk, or hands to other programs, beside its modules. */
export const EMBEDDED = [
  "plugins/trainer/worker/hone_worker",
  ...["mlx", "lightning", "vllm", "vllm-cpu", "tracking"].map((name) =>
    `plugins/trainer/worker/requirements/${name}.txt`
  ),
  "mod.ts",
];

/** The command line that builds for a target; `dist/hone` for this machine, `dist/hone-<target>` for another. */
export function compileCommand(target?: string): string[] {
  return [
    "compile",
    "--frozen",
    "--allow-all",
    "--self-extracting",
    ...EMBEDDED.flatMap((path) => ["--include", path]),
    ...(target ? ["--target", target] : []),
    "--output",
    join("dist", target ? `hone-${target}` : "hone"),
    "runners/binary/main.ts",
  ];
}

if (import.meta.main) {
  const strange = Deno.args.find((word) => !TARGETS.includes(word));
  if (strange !== undefined) {
    console.error(`Cannot build for ${JSON.stringify(strange)}: expected one of ${TARGETS.join(", ")}`);
    Deno.exit(2);
  }
  await mkdir(join(ROOT, "dist"), { recursive: true });
  for (const target of Deno.args.length > 0 ? Deno.args : [undefined]) {
    const child = spawn(Deno.execPath(), compileCommand(target), { cwd: ROOT, stdio: "inherit" });
    const code = await new Promise<number>((resolve) => {
      child.once("close", (code) => resolve(code ?? 1)).once("error", () => resolve(1));
    });
    if (code !== 0) Deno.exit(code);
  }
}
