// Asks the YAML language server, as an editor does, what it says of documents by our schema.
// Usage: node editor.mjs SERVER SCHEMA
import { spawn } from "node:child_process";
import { pathToFileURL } from "node:url";

const [server, schema] = process.argv.slice(2);
const good = `apiVersion: authorino.kuadrant.io/v1beta3
kind: AuthConfig
metadata: {name: a}
spec:
  hosts: [a.test]
  authentication:
    staff:
      jwt:
        issuerUrl: https://idp.test
---
apiVersion: v1
kind: Secret
metadata: {name: b}
stringData: {api_key: c}
`;
const texts = { good, misspelled: good.replace("issuerUrl", "issuerURL"), mistyped: good.replace("[a.test]", "a.test") };

const child = spawn(process.execPath, [server, "--stdio"], { stdio: ["pipe", "pipe", "inherit"] });
const replies = new Map();
const published = new Map();
let number = 0;
let buffer = Buffer.alloc(0);

function send(message) {
  const body = JSON.stringify({ jsonrpc: "2.0", ...message });
  child.stdin.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

function ask(method, params) {
  send({ id: ++number, method, params });
  return new Promise((resolve) => replies.set(number, resolve));
}

child.stdout.on("data", (data) => {
  buffer = Buffer.concat([buffer, data]);
  for (;;) {
    const end = buffer.indexOf("\r\n\r\n");
    const length = end < 0 ? NaN : Number(/Content-Length: (\d+)/i.exec(buffer.subarray(0, end))[1]);
    if (!(buffer.length >= end + 4 + length)) return;
    const message = JSON.parse(buffer.subarray(end + 4, end + 4 + length));
    buffer = buffer.subarray(end + 4 + length);
    if (message.method === "textDocument/publishDiagnostics") {
      published.get(message.params.uri)?.(message.params.diagnostics);
    } else if (message.method && message.id !== undefined) {
      // It asks for its settings, and whatever else it likes to know.
      const settings = { schemas: { [pathToFileURL(schema)]: "*.yaml" }, validate: true, hover: true, schemaStore: { enable: false } };
      const result = message.method === "workspace/configuration" ? message.params.items.map((item) => (item.section === "yaml" ? settings : {})) : null;
      send({ id: message.id, result });
    } else if (replies.has(message.id)) {
      replies.get(message.id)(message.result);
    }
  }
});

const failures = [];
function demand(holds, what) {
  if (!holds) failures.push(what);
}

setTimeout(() => {
  console.error("the language server did not answer in 60 seconds");
  process.exit(1);
}, 60_000).unref();

await ask("initialize", { processId: process.pid, rootUri: null, capabilities: { workspace: { configuration: true } } });
send({ method: "initialized", params: {} });
for (const [name, text] of Object.entries(texts)) {
  const uri = `file:///${name}.yaml`;
  const diagnostics = new Promise((resolve) => published.set(uri, resolve));
  send({ method: "textDocument/didOpen", params: { textDocument: { uri, languageId: "yaml", version: 1, text } } });
  const messages = (await diagnostics).map((diagnostic) => `${diagnostic.range.start.line + 1}: ${diagnostic.message}`);
  console.log(`${name}: ${messages.join("; ") || "nothing to say"}`);
  demand((messages.length === 0) === (name === "good"), name);
}
const hover = await ask("textDocument/hover", { textDocument: { uri: "file:///good.yaml" }, position: { line: 8, character: 12 } });
const said = JSON.stringify(hover?.contents ?? "");
console.log(`hover over issuerUrl: ${said}`);
demand(/issuer/i.test(said), "hover");
child.kill();
if (failures.length > 0) {
  console.error(`not as expected: ${failures.join(", ")}`);
  process.exit(1);
}
