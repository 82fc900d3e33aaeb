/**
 * The one script of a report: a person's thumbs on samples, saved as `labels.json` for `hone label --import`. It reads
 * nothing but the page, and sends nothing. The page's content policy allows this script only, by its hash.
 * @module
 */
import { createHash } from "node:crypto";

/** The script: our own constant, without any text of the run. */
export const SCRIPT = `(() => {
  const bar = document.getElementById("labels");
  const boxes = [...document.querySelectorAll(".thumbs")];
  const chosen = (box) => box.querySelector('[aria-pressed="true"]');
  const update = () => {
    const count = boxes.filter(chosen).length;
    bar.hidden = count === 0;
    bar.querySelector("b").textContent = count === 1 ? "1 label" : count + " labels";
  };
  for (const box of boxes) {
    box.hidden = false;
    const buttons = box.querySelectorAll("button");
    for (const button of buttons) {
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") !== "true";
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === button && on));
        box.querySelector("input").hidden = !on;
        update();
      });
    }
  }
  bar.querySelector("button").addEventListener("click", () => {
    const labels = boxes.filter(chosen).map((box) => ({
      rollout_id: box.dataset.rollout,
      score: Number(chosen(box).dataset.score),
      reason: box.querySelector("input").value.trim(),
    }));
    const text = JSON.stringify({ run_id: bar.dataset.run, labels }, null, 2) + "\\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "labels.json";
    link.click();
    URL.revokeObjectURL(link.href);
  });
})();`;

/** The page's content policy. */
export const CONTENT_POLICY = [
  "default-src 'none'",
  "style-src 'unsafe-inline'",
  `script-src 'sha256-${createHash("sha256").update(SCRIPT).digest("base64")}'`,
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");
