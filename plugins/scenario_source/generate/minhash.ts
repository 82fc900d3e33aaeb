/**
 * Near-duplicate texts by MinHash over shingles of three words (Broder, 1997): the share of equal minima of two texts
 * estimates the Jaccard similarity of their sets of shingles.
 * @module
 */
import { hash32 } from "@hone/hone";

const HASHES = 128;
const WORDS = 3;
const PRIME = 4294967291; // the largest below 2^32

const COEFFICIENTS = Array.from({ length: HASHES }, (_, i) => ({
  a: (hash32(`a ${i}`) % (PRIME - 1)) + 1,
  b: hash32(`b ${i}`) % PRIME,
}));

/** The signature of a text. */
export function signature(text: string): Uint32Array {
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  const shingles = new Set<number>();
  for (let i = 0; i < Math.max(1, words.length - WORDS + 1); i++) {
    shingles.add(hash32(words.slice(i, i + WORDS).join(" ")));
  }
  const minima = new Uint32Array(HASHES).fill(0xffffffff);
  for (const shingle of shingles) {
    for (const [i, { a, b }] of COEFFICIENTS.entries()) {
      const hash = Number((BigInt(a) * BigInt(shingle) + BigInt(b)) % BigInt(PRIME));
      if (hash < minima[i]!) minima[i] = hash;
    }
  }
  return minima;
}

/** Estimated Jaccard similarity of two texts, 0 to 1, from their signatures. */
export function similarity(a: Uint32Array, b: Uint32Array): number {
  let equal = 0;
  for (let i = 0; i < HASHES; i++) if (a[i] === b[i]) equal++;
  return equal / HASHES;
}
