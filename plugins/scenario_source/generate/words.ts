/** Words for names and texts that no server knows, drawn from a seeded stream and never twice. @module */

const NOUNS =
  "acorn almond anchor apple arrow autumn badger banjo barley basil beacon birch bottle breeze brook bubble " +
  "button cactus candle canyon carrot castle cedar cherry clover cobalt comet copper coral cotton cradle cricket " +
  "daisy dolphin ember falcon feather fennel fiddle flint forest garnet ginger glacier hazel heron honey island " +
  "jasmine juniper kettle ladder lagoon lantern lemon lilac linen lizard magnet mango maple marble meadow melon " +
  "mitten nectar nutmeg oasis olive onyx orchid otter oyster paddle pebble pepper pigeon pillow pine pocket poppy " +
  "prairie pumpkin quartz quiver rabbit raven ribbon river rocket saddle saffron salmon sandal sparrow spruce " +
  "summit sunset thistle thunder timber tulip tunnel turnip velvet violet walnut willow window winter yarrow zephyr";

/** Draws words. */
export class Words {
  #left: string[] = [];
  #round = 0;

  constructor(private readonly random: () => number) {
    this.restart();
  }

  /** From here on, words may be drawn again: another scenario begins. */
  restart(): void {
    this.#left = NOUNS.split(" ");
    this.#round = 0;
  }

  /** A word that was not drawn before; numbered once all have been. */
  word(): string {
    if (this.#left.length === 0) {
      this.#round++;
      this.#left.push(...NOUNS.split(" ").map((noun) => `${noun}${this.#round}`));
    }
    return this.#left.splice(Math.floor(this.random() * this.#left.length), 1)[0]!;
  }

  /** A short text. */
  text(): string {
    return `${this.word()} ${this.word()}`;
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.random() * items.length)]!;
  }

  /** A whole number from `low` to `high`. */
  number(low: number, high: number): number {
    return low + Math.floor(this.random() * (high - low + 1));
  }
}
