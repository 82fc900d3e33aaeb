import { conformance } from "@hone/hone/testing";
import plugin from "./wandb.ts";

conformance(plugin);
