/** Writes of whole files: atomic ones, and errors that name the file. @module */
import { open, rename, rm, writeFile } from "node:fs/promises";

/** Replaces the file at `path`; readers see either the old text or the new. */
export async function writeAside(path: string, text: string): Promise<void> {
  const aside = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    const file = await open(aside, "w");
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true });
    throw naming(path, error);
  }
}

/** Writes a file as `writeFile` does. */
export async function writeText(path: string, text: string, options?: { flag?: string; mode?: number }): Promise<void> {
  try {
    await writeFile(path, text, options);
  } catch (error) {
    throw naming(path, error);
  }
}

/** The error with the file's path, which the system leaves out where a disk is full. */
function naming(path: string, error: unknown): unknown {
  return error instanceof Error && "code" in error ? Object.assign(error, { path }) : error;
}
