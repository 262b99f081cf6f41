// node open_models.mjs FOLDER: open every .onnx there with ONNX Runtime Web (WASM), and print name -> "" or the error as JSON.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as ort from "onnxruntime-web/wasm"; // the build that browsers load, not the one for node

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "fatal";
const [folder] = process.argv.slice(2);
const found = {};
for (const name of (await readdir(folder)).filter((each) => each.endsWith(".onnx")).sort()) {
  try {
    const session = await ort.InferenceSession.create(await readFile(join(folder, name)), { executionProviders: ["wasm"] });
    await session.release();
    found[name] = "";
  } catch (error) {
    found[name] = String(error.message ?? error) || "refused";
  }
}
process.stdout.write(JSON.stringify(found));
