/** A file that is whole or absent: written aside, synced, renamed. @module */
import { open, rename, rm } from "node:fs/promises";

/** Replaces the file at `path`; whoever reads it sees the old text or the new. */
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
