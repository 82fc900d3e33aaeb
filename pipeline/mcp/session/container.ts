/**
 * Servers in containers: finds an engine and builds its command line for a server. The rollout's folders are mounted
 * under the same paths as outside, so that `${workdir}` is the same everywhere; everything else that a server writes is
 * deleted with its container. No image is pulled; there is no network, no capability and no way to gain privileges unless
 * the pipeline says otherwise. Containers
 * must be removed by name (`process.ts`): killing the engine's client does not remove them.
 * @module
 */
import type { ServerConfig } from "../../config/pipeline_schema.ts";
import { HoneError, mcp } from "../../diagnostics/mod.ts";
import { withPlainAddresses } from "../../program/child_env.ts";

/** Container settings in the pipeline file. */
type ContainerConfig = NonNullable<Extract<ServerConfig, { command: string }>["container"]>;

/** Supported engines. */
export type Engine = NonNullable<ContainerConfig["engine"]>;

/** What a server's process needs to run in a container. */
export interface ContainerSpec extends ContainerConfig {
  engine: Engine;
  /** Folders that the server may write to, absolute. */
  writable: string[];
}

const ENGINES: Engine[] = ["docker", "podman"];
const LABEL = "hone=server";
const asked = new Map<string, Promise<string | null>>();

/**
 * The engine to use: the configured one, or the first of docker and podman that works.
 * Throws a HoneError with the reason why each cannot be used.
 */
export async function findEngine(server: string, wanted?: Engine): Promise<Engine> {
  const problems: string[] = [];
  for (const engine of wanted ? [wanted] : ENGINES) {
    const key = `${engine} ${Deno.env.get("PATH")}`;
    if (!asked.has(key)) asked.set(key, engineProblem(engine));
    const problem = await asked.get(key)!;
    if (problem === null) return engine;
    asked.delete(key); // It may be there later: hone's own MCP server lives long.
    problems.push(`${engine} ${problem}`);
  }
  throw new HoneError(mcp.no_container_engine(server, problems));
}

/** Why an engine cannot be used, or null. */
async function engineProblem(engine: Engine): Promise<string | null> {
  try {
    const { success, stderr } = await new Deno.Command(engine, {
      args: ["version"],
      env: Deno.env.toObject(),
      stdin: "null",
    }).output();
    if (success) return null;
    const lines = new TextDecoder().decode(stderr).trim().split("\n");
    return `does not work (${lines.at(-1)!.slice(0, 200)})`;
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? "is not on PATH" : `cannot be started (${error})`;
  }
}

/**
 * Arguments of the engine that run a command in a container of this name. Values of `env` are in the arguments only
 * where the engine's own environment has another value of that name; `env` returned is what the engine is started with.
 */
export function containerArgs(
  name: string,
  box: ContainerSpec,
  server: { command: string; args: string[]; env: Record<string, string>; cwd: string },
  host: Record<string, string> = Deno.env.toObject(),
): { args: string[]; env: Record<string, string> } {
  const { engine, image, network, memory, pids, mounts, args, writable, capabilities, new_privileges } = box;
  // Podman passes its own proxy variables on to the container.
  const env = withPlainAddresses(host);
  const variables = Object.entries(server.env).flatMap(([key, value]) => {
    if (host[key] !== undefined && host[key] !== value) return ["-e", `${key}=${value}`];
    env[key] = value;
    return ["-e", key];
  });
  return {
    args: [
      ...["run", "--rm", "-i", "--name", name, "--label", LABEL, "--pull=never", "--stop-timeout=0"],
      ...["--security-opt", "label=disable", "--cap-drop=ALL"],
      ...capabilities.map((name) => `--cap-add=${name}`),
      ...new_privileges ? [] : ["--security-opt", "no-new-privileges"],
      ...["--network", network, "--memory", memory, "--pids-limit", String(pids)],
      ...owner(engine),
      ...writable.flatMap((dir) => ["-v", `${dir}:${dir}`]),
      ...mounts.flatMap((mount) => ["-v", /:[a-zA-Z,]+$/.test(mount) ? mount : `${mount}:ro`]),
      ...["-w", server.cwd],
      ...variables,
      ...args,
      ...["--entrypoint", server.command, image, ...server.args],
    ],
    env,
  };
}

/** Files that the server writes belong to the user of hone, so that they can be deleted. */
function owner(engine: Engine): string[] {
  const [uid, gid] = [Deno.uid(), Deno.gid()];
  if (!uid) return [];
  return engine === "podman" ? ["--userns", "keep-id"] : ["--user", `${uid}:${gid}`];
}
