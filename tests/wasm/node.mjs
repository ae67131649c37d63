// Runs a test binary built for wasm32-wasip1: `CARGO_TARGET_WASM32_WASIP1_RUNNER="node --no-warnings …/node.mjs"`.
// It gets no folders: what is tested here is sans-IO.
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const [module, ...args] = process.argv.slice(2);
const wasi = new WASI({ version: "preview1", args: [module, ...args], env: { RUST_BACKTRACE: "0" } });
const { instance } = await WebAssembly.instantiate(await readFile(module), wasi.getImportObject());
process.exitCode = wasi.start(instance);
