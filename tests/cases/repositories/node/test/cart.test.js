"use strict";

const assert = require("node:assert");
const test = require("node:test");
const { Cart } = require("../lib/cart.js");

test("two of a tea cost twice as much", () => {
  const cart = new Cart();
  cart.add("assam", 450);
  cart.add("assam", 450);
  assert.strictEqual(cart.total(), 900);
});

test("less than one cannot be bought", () => {
  assert.throws(() => new Cart().add("assam", 450, 0), RangeError);
});
