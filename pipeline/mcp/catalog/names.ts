/**
 * Names of tools as models may see them: `^[a-zA-Z0-9_-]{1,64}$`, unique over all servers, and reversible through the
 * catalog (`ToolSpec` keeps server and name beside `model_name`). A valid name is not changed; the server's name
 * goes in front only where two servers offer the same one; what still collides gets a short hash of server and name, so
 * that a name never depends on the order of the list.
 * @module
 */

const LIMIT = 64;

/** Model names for the tools, in their order. Names in `taken` (built-in tools such as `complete_task`) are avoided. */
export function modelNames(tools: { server: string; name: string }[], taken: readonly string[] = []): string[] {
  const plain = tools.map(({ name }) => clean(name));
  const prefixed = clashing(plain, taken);
  const names = tools.map(({ server }, i) => prefixed.has(plain[i]!) ? clean(`${server}_${plain[i]}`) : plain[i]!);
  const still = clashing(names, taken);
  return tools.map((tool, i) => still.has(names[i]!) ? hashed(names[i]!, tool) : names[i]!);
}

function clean(name: string): string {
  const safe = name.replace(/[^a-zA-Z0-9_-]/g, "_") || "tool";
  return safe.length > LIMIT ? hashed(safe, { server: "", name }) : safe;
}

function clashing(names: string[], taken: readonly string[]): Set<string> {
  const counts = new Map<string, number>(taken.map((name) => [name, 1]));
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return new Set(names.filter((name) => counts.get(name)! > 1));
}

function hashed(name: string, { server, name: original }: { server: string; name: string }): string {
  return `${name.slice(0, LIMIT - 9)}_${fnv1a(`${server}\0${original}`)}`;
}

function fnv1a(text: string): string {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, "0");
}
