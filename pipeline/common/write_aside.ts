/** Atomic writes: a temporary file is written, synced and renamed. @module */
import { open, rename, rm } from "node:fs/promises";

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
    throw error;
  }
}
