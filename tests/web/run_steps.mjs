// node run_steps.mjs FOLDER...: train with ONNX Runtime Web (WASM, one thread), and print what came of each as JSON.
//
// FOLDER: what TrainingStep.write made, and in batches/ safetensors files, one for each step, in the order of their names;
// each holds the inputs and targets of its step, and scalars where they are not to have their defaults.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as ort from "onnxruntime-web/wasm"; // the build that browsers load, not the one for node
import { arrayClass, parseArrays } from "./safetensors.mjs";

const tensor = ({ dtype, shape, data }) => new ort.Tensor(dtype, data, shape);

const readTensors = async (path) =>
  new Map([...parseArrays(await readFile(path))].map(([name, array]) => [name, tensor(array)]));

function scalar({ dtype, default: value }) {
  const data = arrayClass(dtype).of(dtype.endsWith("int64") ? BigInt(value) : value);
  return tensor({ dtype, shape: [], data });
}

function zeros({ dtype, shape }) {
  return tensor({ dtype, shape, data: new (arrayClass(dtype))(shape.reduce((count, side) => count * side, 1)) });
}

/** Feed every state output back to its input, batch after batch; the states stay the runtime's own tensors. */
async function train(session, spec, initial, batches) {
  const states = new Map(spec.states.map((state) => [state.input, initial.get(state.input) ?? zeros(state)]));
  const defaults = new Map(spec.scalars.map((entry) => [entry.name, scalar(entry)]));
  const fetches = [spec.loss, spec.gradNorm, ...spec.states.map((state) => state.output)];
  const found = { losses: [], gradNorms: [], milliseconds: [] };
  for (const batch of batches) {
    const feeds = Object.fromEntries(
      session.inputNames.map((name) => [name, states.get(name) ?? batch.get(name) ?? defaults.get(name)]),
    );
    const start = performance.now();
    const outputs = await session.run(feeds, fetches);
    found.milliseconds.push(performance.now() - start);
    found.losses.push(outputs[spec.loss].data[0]);
    found.gradNorms.push(outputs[spec.gradNorm].data[0]);
    for (const state of spec.states) states.set(state.input, outputs[state.output]);
  }
  return found;
}

async function run(folder) {
  const spec = JSON.parse(await readFile(join(folder, "spec.json"), "utf-8"));
  if (spec.accumulates !== 1) throw new Error("a step that accumulates gradients has a second graph, which is not run here");
  const session = await ort.InferenceSession.create(await readFile(join(folder, "step.onnx")), {
    executionProviders: ["wasm"],
  });
  const initial = await readTensors(join(folder, "initial.safetensors"));
  const names = (await readdir(join(folder, "batches"))).sort();
  const batches = await Promise.all(names.map((name) => readTensors(join(folder, "batches", name))));
  const found = await train(session, spec, initial, batches);
  await session.release();
  return found;
}

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const results = [];
for (const folder of process.argv.slice(2)) {
  try {
    results.push(await run(folder));
  } catch (error) {
    throw new Error(`${folder}: ${error.message ?? error}`, { cause: error });
  }
}
console.log(JSON.stringify(results));
