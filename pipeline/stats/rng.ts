/**
 * A seeded random number generator: the same seed gives the same numbers on every machine.
 * For resampling and shuffles of the statistics; not for secrets.
 * @module
 */

/** Returns the next number in [0, 1). */
export type Rng = () => number;

/**
 * Makes a generator from a seed: sfc32 of Chris Doty-Humphrey's PractRand, 128 bits of state.
 * @param seed Any integer; only its low 32 bits count.
 */
export function seededRng(seed: number): Rng {
  let a = 0x9e3779b9, b = 0x243f6a88, c = 0xb7e15162 ^ (seed | 0), d = 1;
  const next = () => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + t) | 0;
    return (t >>> 0) / 4294967296;
  };
  // The first outputs of neighbouring seeds are alike; PractRand drops twelve.
  for (let i = 0; i < 12; i++) next();
  return next;
}
