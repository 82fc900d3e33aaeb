import assert from "node:assert/strict";
import { devicesOf } from "./cuda_devices.ts";

Deno.test("devicesOf() reads every GPU that nvidia-smi lists, and nothing else", () => {
  assert.deepEqual(devicesOf("NVIDIA H100 80GB HBM3, 81559\nNVIDIA GB10, [N/A]\n"), [
    { name: "NVIDIA H100 80GB HBM3", memory_mib: 81559 },
    { name: "NVIDIA GB10", memory_mib: 0 },
  ]);
  assert.deepEqual(devicesOf("No devices were found\n"), []);
});
