"use strict";

const http = require("node:http");

const server = http.createServer((request, response) => {
  response.writeHead(request.url === "/healthz" ? 200 : 404, { "Content-Type": "text/plain" });
  response.end("tea\n");
});

if (require.main === module) {
  server.listen(Number(process.argv[2]), "127.0.0.1");
}

module.exports = { server };
