/**
 * A made-up report for tests of how reports look and escape: every section filled, hostile text where text may stand.
 * @module
 */
import { type Rng, seededRng } from "../stats/rng.ts";
import type { CurvePoint, Report, Sample, SampleRun } from "./report_types.ts";
import type { Episode } from "./types.ts";
import { judgeEpisodes } from "./verdict.ts";

/** What a hostile model or server might write. */
export const HOSTILE =
  `<script>document.title = "owned"</script><img src="x" onerror="document.title='owned'"> </pre></details>` +
  "\u202E\u0007 ``` ![x](https://example.com/pixel.png)";

const RATES = { base: 0.03, warm_start: 0.45, tuned: 0.66 };

/** Builds the report; the same every time. */
export function sampleReport(): Report {
  const random = seededRng(1);
  const verdict = judgeEpisodes(madeEpisodes(random), {
    name: "files",
    seed: 7,
    evaluate: { policies: Object.keys(RATES), split: "heldout", tries: 1, sampling: ["greedy", "sampled"] },
  });
  const tags = ["write", "create-directory", "move", "read-then-write-somewhere-else"];
  const range = (rate: number) => ({ mean: rate, low: Math.max(0, rate - 0.2), high: Math.min(1, rate + 0.2), n: 16 });
  return {
    run: {
      id: "files-20261121-104500-a1b2",
      name: "files",
      seed: 7,
      hone_version: "0.1.0",
      status: "completed",
      started_at: 1795257900000,
      ended_at: 1795258560000,
    },
    verdict,
    curve: [...supervisedCurve(random), ...rlCurve(random)],
    validation: [],
    tags: tags.map((tag) => ({
      tag,
      scenarios: 16,
      policies: Object.fromEntries(Object.entries(RATES).map(([policy, rate]) => [policy, range(rate)])),
    })),
    samples: Array.from({ length: 12 }, (_, i) => sample(i, tags)),
  };
}

function madeEpisodes(random: Rng): Episode[] {
  return Object.entries(RATES).flatMap(([policy, rate]) =>
    (["greedy", "sampled"] as const).flatMap((sampling) =>
      Array.from({ length: 64 }, (_, i): Episode => {
        const success = random() < rate;
        const broken = policy === "base" && random() < 0.6;
        return {
          rollout_id: `${policy}-${sampling}-${i}`,
          policy,
          sampling,
          scenario_id: `heldout-${i}`,
          try: 0,
          success,
          end: broken ? "invalid_calls" : success || random() < 0.7 ? "answered" : "max_turns",
          reward: success ? 1 : random() * 0.6,
          invalid: policy === "warm_start" && i === 9 ? "files: server process exited with code 1" : null,
          turns: 1 + Math.floor(random() * 3),
          tool_calls: 1 + Math.floor(random() * 2),
          failed_calls: random() < 0.2 ? 1 : 0,
          invalid_calls: broken ? 3 : 0,
          call_turns: broken ? 3 : 2,
          prompt_tokens: 900,
          shortened_turns: policy === "base" && i === 1 ? 2 : 0,
          output_tokens: 40 + Math.floor(random() * 30),
          seconds: 4 + random() * 3,
        };
      })
    )
  );
}

function supervisedCurve(random: Rng): CurvePoint[] {
  return Array.from({ length: 30 }, (_, i) => ({
    step: i + 1,
    kind: "supervised",
    loss: 2.1 * Math.exp(-i / 8) + 0.1 + random() * 0.08,
    reward: null,
    success: null,
    invalid_calls: null,
    rollouts: 0,
    seconds: 3.1,
  }));
}

function rlCurve(random: Rng): CurvePoint[] {
  return Array.from({ length: 10 }, (_, i) => ({
    step: i + 1,
    kind: "rl",
    loss: -0.02 + random() * 0.04,
    reward: 0.4 + 0.035 * i + random() * 0.05,
    success: 0.2 + 0.04 * i + random() * 0.06,
    invalid_calls: 0.4 * Math.exp(-i / 3),
    rollouts: 48,
    seconds: 21,
  }));
}

function sample(index: number, tags: string[]): Sample {
  const attempt = (policy: string): SampleRun => {
    const success = policy === "tuned" ? index % 3 !== 2 : policy === "warm_start" && index % 2 === 0;
    return {
      policy,
      success,
      invalid: policy === "warm_start" && index === 3 ? "files: server process exited with code 1" : null,
      end: "answered",
      reward: success ? 1 : 0.25,
      reasons: [
        `state: ${success ? "4 of 4" : "1 of 4"} checks hold; reports/north.txt is ${
          success ? "as wanted" : "missing"
        }`,
      ],
      events: [
        {
          kind: "model",
          text: index === 0
            ? HOSTILE
            : `{"name": "write_file", "arguments": {"path": "reports/north-${index}.txt", "content": "closed on Friday"}}`,
          invalid: policy === "base" ? "no such tool: write_flie" : null,
        },
        {
          kind: "tool",
          call: `write_file {"path":"reports/north-${index}.txt","content":"closed on Friday"}`,
          outcome: policy === "base" ? "unknown_tool" : "ok",
          text: index === 0 ? HOSTILE : `Successfully wrote to /tmp/hone/slot-3/reports/north-${index}.txt`,
        },
        { kind: "model", text: "Done: the note is in the reports folder.", invalid: null },
      ],
    };
  };
  return {
    scenario_id: `heldout-${index}`,
    task: index === 0
      ? HOSTILE
      : `Put a note saying "closed on Friday" into reports/north-${index}.txt, and tell me when it is there.`,
    tags: [tags[index % tags.length]!],
    runs: Object.keys(RATES).map(attempt),
  };
}
