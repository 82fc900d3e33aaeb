/**
 * How many scenarios a comparison of two policies takes.
 * @module
 */
import { Z95 } from "./normal.ts";

/** The power of `neededPairs`, and its standard normal quantile. */
export const POWER = 0.8;
const Z_POWER = 0.8416212335729143;

/**
 * Number of pairs with which the test of a paired difference (two-sided, 5 %) finds it with probability `POWER`.
 *
 * Source: R. J. Connor, Biometrics 43 (1987) 207–211, equation for McNemar's test: with discordant share ψ and
 * difference δ, n = (z₁₋α/₂ √ψ + z₁₋β √(ψ − δ²))² / δ².
 * @param discordant Share of pairs in which exactly one side succeeds, in [|difference|, 1].
 * @param difference In [-1, 1]; with 0 no number is enough.
 */
export function neededPairs(discordant: number, difference: number): number {
  const root = Z95 * Math.sqrt(discordant) + Z_POWER * Math.sqrt(Math.max(0, discordant - difference ** 2));
  return difference === 0 ? Infinity : Math.ceil((root / difference) ** 2);
}
