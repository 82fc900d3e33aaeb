import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Page } from "playwright-core";
import { launchBrowser } from "./browser.ts";
import { htmlReport } from "../../pipeline/verdict/report/html.ts";
import { labelsIn } from "../../pipeline/store/labels.ts";
import { SCRIPT } from "../../pipeline/verdict/report/thumbs.ts";
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
        assert.deepEqual(await page.locator("script, img, iframe, link").allTextContents(), [SCRIPT]);
        const task = await page.locator("summary .task").first().textContent();
        assert.equal(task, HOSTILE.replace("\u202E\u0007", "⟨U+202E⟩⟨U+0007⟩"));
        assert.deepEqual(complaints, []);
        await page.close();
      });
    }
    await t.step("thumbs are saved as labels.json", async () => {
      const page = await browser.newPage();
      const complaints = await openReport(page, file);
      const bar = page.locator("#labels");
      assert.equal(await bar.isVisible(), false);
      for (const index of [0, 1]) await page.locator("summary").nth(index).click();
      const attempt = (rollout: string) => page.locator(`[data-rollout="${rollout}"]`);
      await attempt("base-greedy-0").getByText("Bad").click();
      await attempt("base-greedy-0").locator("input").fill('  </script> wrote "nothing"  ');
      await attempt("tuned-greedy-1").getByText("Bad").click();
      await attempt("tuned-greedy-1").getByText("Good").click();
      await attempt("warm_start-greedy-1").getByText("Good").click();
      assert.equal(await bar.locator("b").textContent(), "3 labels");
      // Pressed again, it is taken back.
      await attempt("warm_start-greedy-1").getByText("Good").click();
      const [download] = await Promise.all([page.waitForEvent("download"), bar.getByRole("button").click()]);
      assert.equal(download.suggestedFilename(), "labels.json");
      await download.saveAs(join(dir, "labels.json"));
      const text = await Deno.readTextFile(join(dir, "labels.json"));
      // What `hone label --import` reads of it.
      assert.deepEqual(labelsIn(text, "labels.json", "files-20261121-104500-a1b2"), [
        { rollout_id: "base-greedy-0", score: 0, reason: '</script> wrote "nothing"' },
        { rollout_id: "tuned-greedy-1", score: 1, reason: "" },
      ]);
      assert.deepEqual(complaints.filter((text) => !text.startsWith("fetched blob:")), []);
      await page.close();
    });
    await t.step("the page is whole without JavaScript, and its policy refuses any other script", async () => {
      const context = await browser.newContext({ javaScriptEnabled: false });
      const page = await context.newPage();
      await openReport(page, file);
      await page.locator("summary").first().click();
      assert.equal(await page.locator(".thumbs").first().isVisible(), false);
      assert.equal(await page.locator(".side pre").first().isVisible(), true);
      await context.close();
      const planted = join(dir, "planted.html");
      const whole = await Deno.readTextFile(file);
      await Deno.writeTextFile(planted, whole.replace("</main>", '<script>document.title = "owned"</script></main>'));
      const other = await browser.newPage();
      const complaints = await openReport(other, planted);
      assert.equal(await other.title(), "files: hone report");
      assert.match(complaints.join("\n"), /Content Security Policy/);
    });
  } finally {
    await browser.close();
    await Deno.remove(dir, { recursive: true });
  }
});
