import { conformance } from "@hone/hone/testing";
import plugin from "./tensorboard.ts";

conformance(plugin);
