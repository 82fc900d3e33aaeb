/** The setting of trackers that are Python programs. @module */
import { z } from "zod";

/** See the module. */
export const python = z.string().optional().describe("Python interpreter of the tracker's environment.").meta({
  examples: ["/usr/bin/python3.12"],
  program: true,
});
