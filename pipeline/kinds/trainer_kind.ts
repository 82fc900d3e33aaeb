/** The trainer: batches of scored trajectories → policy versions, online (step by step) or as a hosted job. @module */
import type { KindFacts } from "./kind.ts";

/** See `KindFacts`. */
export const trainer: KindFacts<"trainer"> = {
  most: 1,
  methods: ["open"],
  check: (role) => {
    if (role.mode === "online" || role.mode === "hosted") return Promise.resolve();
    return Promise.reject(new Error("a trainer's mode must be online or hosted"));
  },
  template: {
    summary: "Trains through your own service.",
    types: ["OnlineTrainer"],
    config: `  service_url: z.string().default("http://127.0.0.1:9000").describe("Address of the training service."),`,
    example: `{ service_url: "http://127.0.0.1:9000" }`,
    create: `({ config }) => ({
    mode: "online", // or "hosted": jobs of a training service, see HostedTrainer
    async open({ model, on_progress, seed }): Promise<OnlineTrainer> {
      on_progress(\`opening \${model}\`);
      const response = await fetch(\`\${config.service_url}/open\`, { method: "POST", body: JSON.stringify({ model, seed }) });
      // A trainer serves its policy and takes steps: return an OnlineTrainer here.
      throw new Error(\`\${config.service_url} answered \${response.status}: not implemented yet\`);
    },
  })`,
  },
};
