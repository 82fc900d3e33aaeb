/** Messages about the Python worker and its environment. @module */
import { quote, say } from "./diagnostic.ts";

/** The Python worker behind a local trainer, and its environment. */
export const worker = {
  no_python: (wanted: string, found: string[]) =>
    say(
      "NO_PYTHON",
      `Cannot create the worker's environment: no Python ${wanted} or newer found${
        found.length ? ` (found ${found.join(", ")})` : ""
      }`,
      "Install Python with your system's package manager, or install uv, or set `python:` in the trainer's `with:`.",
    ),
  no_venv: (python: string, reason: string) =>
    say(
      "NO_VENV",
      `Cannot create a virtual environment with ${quote(python)}: ${reason}`,
      /permission denied|read-only/i.test(reason)
        ? "Set HONE_CACHE_DIR to a folder that you can write to."
        : "On Debian and Ubuntu: `apt install python3-venv`; or install uv.",
    ),
  no_network: (reason: string, download: string) =>
    say(
      "NO_NETWORK",
      `Cannot install the worker's packages: the package index cannot be reached (${reason})`,
      `The first use of a local trainer downloads about ${download} from PyPI; connect to the internet once, or configure another index in pip's own configuration.`,
    ),
  no_space: (dir: string, reason: string, disk: string) =>
    say(
      "NO_SPACE",
      `Cannot write to ${quote(dir)}: no space left on the device (${reason})`,
      `About ${disk} is needed; set HONE_CACHE_DIR to a folder with more room.`,
    ),
  install_failed: (reason: string) =>
    say(
      "WORKER_INSTALL_FAILED",
      `Cannot install the worker's packages: ${reason}`,
      "`hone doctor` checks this machine's prerequisites.",
    ),
  no_vllm: (machine: string) =>
    say(
      "NO_VLLM",
      `Cannot start vLLM: it runs on NVIDIA GPUs, or without a GPU on Linux x86-64; this machine is ${machine}`,
      "Set `rollouts: { urls: [...] }` to a vLLM server elsewhere, or `rollouts: { engine: worker }`.",
    ),
  died: (during: string, reason: string) =>
    say(
      "WORKER_DIED",
      `Cannot finish ${quote(during)}: the worker process exited (${reason})`,
      `No acknowledged record is lost: \`hone resume\` continues from the last step.${
        /ended with SIGKILL/.test(reason)
          ? " If the system ended it for lack of memory, lower train.concurrency, context_tokens or lora.rank first."
          : ""
      }`,
    ),
  timeout: (method: string, secs: number) =>
    say(
      "WORKER_TIMEOUT",
      `Cannot finish ${quote(method)}: the worker did not answer within ${secs} s`,
      "--verbose shows its output.",
    ),
  refused: (method: string, code: string, message: string, hint?: string) =>
    say(code, `Cannot ${WORKER_DUTIES[method] ?? method}: ${message}`, hint),
};

/** The worker's methods, as verbs for messages. */
const WORKER_DUTIES: Record<string, string> = {
  hello: "start the worker",
  init: "open the model",
  serve: "serve the model",
  demonstrate: "read the demonstrations",
  supervise: "take a supervised step",
  train_step: "take a training step",
  publish: "serve the new policy",
  save: "save a checkpoint",
  export: "export the adapter",
  begin: "open the tracker",
  log: "record the figures",
  measure: "measure",
  end: "close the tracker",
};
