/**
 * The folders of one slot: `work` is the rollout's own (`${workdir}`); each server has a home and a folder for temporary
 * files, which no other server of the slot is told of. Paths stay equal in length, because tool results repeat them to
 * the model. Links that a server puts there are never followed (`open_folder.ts`).
 * @module
 */
import { existsSync } from "node:fs";
import { isAbsolute, relative, resolve, sep } from "node:path";
import { folders as say, HoneError } from "../../diagnostics/mod.ts";
import type { Scenario } from "../../events.ts";
import { emptyFolder, inFolder, makeFolder, namesBelow, OpenFolder } from "../../common/open_folder.ts";

/** Absolute paths of the folders that one server is told of. */
export interface Folders {
  work: string;
  home: string;
  tmp: string;
}

/** The folders of a slot. */
export class SlotFolders {
  readonly work: string;
  readonly #own = new Map<string, Folders>();

  /** Nothing is made yet. */
  constructor(readonly root: string, servers: readonly string[]) {
    this.work = `${root}/work`;
    servers.forEach((name, i) => {
      this.#own.set(name, { work: this.work, home: `${root}/${i}/home`, tmp: `${root}/${i}/tmp` });
    });
  }

  /** The folders that a server is told of. */
  of(server: string): Folders {
    return this.#own.get(server)!;
  }

  /** Makes the folders, empty, deleting previous contents. */
  async make(): Promise<void> {
    await makeFolder(this.root);
    for (const folder of this.#all()) await makeFolder(folder);
  }

  /** Empties every folder but keeps it: a running server may have it open. */
  async empty(): Promise<void> {
    await Promise.all(this.#all().map(emptyFolder));
  }

  #all(): string[] {
    return [this.work, ...[...this.#own.values()].flatMap(({ home, tmp }) => [home, tmp])];
  }
}

/** Copies a folder's content to `work`, links as links. */
export async function copyFixture(fixture: string, work: string): Promise<void> {
  using from = OpenFolder.open(fixture);
  using to = OpenFolder.open(work);
  await copyInto(from, to);
}

/** Copies the fixture that a scenario names. Throws where it is no folder below the pipeline's. */
export async function copyFixtureBelow(base_dir: string, fixture: string, work: string): Promise<void> {
  const path = resolve(base_dir, fixture);
  const below = relative(base_dir, path);
  const outside = below === ".." || below.startsWith(`..${sep}`) || isAbsolute(below);
  if (outside || !existsSync(path)) throw new HoneError(say.no_fixture(fixture, base_dir));
  await copyFixture(path, work);
}

async function copyInto(from: OpenFolder, to: OpenFolder): Promise<void> {
  for (const { name, kind } of from.entries()) {
    if (kind === "link") to.link(name, from.linkTarget(name));
    else if (kind === "folder") {
      using source = from.folder(name);
      using target = to.folder(name, true);
      await copyInto(source, target);
    } else {
      using file = from.file(name);
      if (!file) throw new HoneError(say.odd_fixture(`${from.path}/${name}`));
      await to.write(name, file);
    }
  }
}

/** Writes a scenario's setup folders and files below `work`. Throws where a path leaves it or leads over a link. */
export async function writeSetup(work: string, setup: NonNullable<Scenario["setup"]>): Promise<void> {
  using root = OpenFolder.open(work);
  for (const dir of setup.directories ?? []) {
    await inFolder(root, namesBelow(work, dir), () => Promise.resolve(), true);
  }
  for (const [path, content] of Object.entries(setup.files ?? {})) {
    const names = namesBelow(work, path);
    const name = names.pop() ?? "";
    await inFolder(root, names, (folder) => folder.write(name, content), true);
  }
}
