import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Page } from "playwright-core";
import { launchBrowser } from "./browser.ts";
import { htmlReport } from "../../pipeline/verdict/report/html.ts";
import { HOSTILE, sampleReport } from "../fixtures/sample_report.ts";

/** Opens a report in a page and returns what the browser complained of. */
async function openReport(page: Page, file: string): Promise<string[]> {
  const complaints: string[] = [];
  page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("request", (request) => {
    if (request.url() !== pathToFileURL(file).href) complaints.push(`fetched ${request.url()}`);
  });
  await page.goto(pathToFileURL(file).href);
  return complaints;
}

Deno.test("htmlReport() opens in a browser without complaint, fits a telephone and runs nothing it was given", async (t) => {
  const dir = await Deno.makeTempDir();
  const browser = await launchBrowser();
  try {
    const file = join(dir, "report.html");
    await Deno.writeTextFile(file, htmlReport(sampleReport()));
    for (const [width, colorScheme] of [[360, "light"], [1400, "dark"]] as const) {
      await t.step(`at ${width} px, ${colorScheme}`, async () => {
        const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme });
        const complaints = await openReport(page, file);
        for (const details of await page.locator("summary").all()) await details.click();
        assert.equal(await page.evaluate("document.documentElement.scrollWidth"), width);
        assert.ok(await page.locator("figure.chart svg path[d^=M]").count() >= 3);
        assert.ok(await page.locator(".bars .whisker").count() >= 6);
        const box = await page.locator("figure.chart svg").first().boundingBox();
        assert.ok(box && box.width > 200 && box.height > 100);
        const background = await page.evaluate("getComputedStyle(document.body).backgroundColor");
        assert.equal(background, colorScheme === "dark" ? "rgb(18, 19, 22)" : "rgb(251, 251, 250)");
        assert.equal(await page.title(), "files: hone report");
        assert.equal(await page.locator("script, img, iframe, link").count(), 0);
        const task = await page.locator("summary .task").first().textContent();
        assert.equal(task, HOSTILE.replace("\u202E\u0007", "⟨U+202E⟩⟨U+0007⟩"));
        assert.deepEqual(complaints, []);
        await page.close();
      });
    }
  } finally {
    await browser.close();
    await Deno.remove(dir, { recursive: true });
  }
});
