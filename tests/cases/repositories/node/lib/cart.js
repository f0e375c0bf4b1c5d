"use strict";

/** A cart: how many of each tea, and what they cost together, in cents. */
class Cart {
  constructor() {
    this.items = new Map();
  }

  add(tea, cents, count = 1) {
    if (!Number.isInteger(count) || count < 1) {
      throw new RangeError("how many is a whole number above 0");
    }
    const had = this.items.get(tea) ?? { cents, count: 0 };
    this.items.set(tea, { cents, count: had.count + count });
  }

  total() {
    let sum = 0;
    for (const { cents, count } of this.items.values()) {
      sum += cents * count;
    }
    return sum;
  }

  clear() {
    this.items.clear();
  }
}

module.exports = { Cart };
