"use strict";

const assert = require("node:assert");
const net = require("node:net");
const test = require("node:test");

/** What a service says first; where `word` is given, after that was sent. */
function said(address, word) {
  const { hostname, port } = new URL(address);
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), hostname, () => word && socket.write(word));
    socket.setTimeout(10_000, () => socket.destroy(new Error("it says nothing")));
    socket.once("data", (data) => resolve(data) || socket.destroy());
    socket.once("error", reject);
  });
}

test("the database greets", async () => {
  const greeting = await said(process.env.DATABASE_URL);
  assert.strictEqual(greeting[4], 10, "the version of its protocol");
});

test("the cache answers", async () => {
  assert.strictEqual(String(await said(process.env.REDIS_URL, "PING\r\n")), "+PONG\r\n");
});
