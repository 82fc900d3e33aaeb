/**
 * A real browser for tests of the report: Debian's chromium, driven by playwright-core.
 * @module
 */
import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Starts chromium; throws, naming what to install, where there is none. `HONE_CHROMIUM` names another. */
export async function launchBrowser(): Promise<Browser> {
  const executablePath = [Deno.env.get("HONE_CHROMIUM"), ...PLACES].find((path) => path && existsSync(path));
  if (!executablePath) {
    throw new Error(
      `no chromium at ${PLACES.join(", ")}: apt-get install -y chromium, or set HONE_CHROMIUM to its path`,
    );
  }
  return await chromium.launch({ executablePath, args: ["--no-sandbox"] });
}
