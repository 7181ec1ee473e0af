// The worker: it holds the models and does all the work, so that the page never freezes.
// In: {load: {webgpu}} once, then {id, bitmap}. Out: {progress}, {ready}, {id, people, ms} or {id, error}.

import { load } from './downloads.js';
import { estimate } from './pipeline.js';

const MOST_THREADS = 4;
const MOST_PIXELS = 50e6;

let about = null;
let models = null;
let canvas = null; // one for all pictures: a camera must not fill the memory

async function start({ webgpu }) {
  about = await (await fetch(new URL('models.json', import.meta.url))).json();
  const engine = about.engines[webgpu ? 'webgpu' : 'wasm'];
  if (!engine) throw new Error('This copy of the site was built without the engine: build it with `make site`.');
  const stages = [about.detector, about.pose, about.stn].filter(Boolean);
  const files = [engine.wasm, ...stages];
  const total = files.reduce((sum, file) => sum + file.packed_bytes, 0);
  let done = 0;
  const heard = (bytes) => {
    done += bytes;
    postMessage({ progress: { done, total } });
  };
  const [wasm, ...onnx] = await Promise.all(files.map((file) => load(file, import.meta.url, heard)));
  const ort = await import(new URL(engine.script, import.meta.url));
  ort.env.wasm.wasmBinary = wasm.buffer;
  // Threads need a page that is isolated from others; without the headers for it there is one.
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
  // The models' weights are int8, their activations float: the scales are folded once, not at every run.
  const options = { executionProviders: [webgpu ? 'webgpu' : 'wasm'], extra: { session: { disable_quant_qdq: '1' } } };
  const sessions = [];
  for (const bytes of onnx) sessions.push(await ort.InferenceSession.create(bytes, options));
  const run = async (session, numbers, shape) => {
    const outputs = await session.run({ [session.inputNames[0]]: new ort.Tensor('float32', numbers, shape) });
    return session.outputNames.map((name) => outputs[name]);
  };
  models = {
    detect: (numbers, shape) => run(sessions[0], numbers, shape),
    pose: async (numbers, shape) => (await run(sessions[1], numbers, shape))[0],
    stn: async (numbers, shape) => (await run(sessions[2], numbers, shape))[0],
  };
  postMessage({ ready: { skeleton: about.skeleton, models: stages.map((stage) => stage.card.name), threads: ort.env.wasm.numThreads } });
}

/** The pixels of a bitmap, which is used up. */
function pixels(bitmap) {
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) throw new Error(`This picture has ${Math.round(width * height / 1e6)} million pixels; at most 50 fit.`);
  canvas ??= new OffscreenCanvas(width, height);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

async function answer({ id, bitmap }) {
  const picture = pixels(bitmap);
  const { people, ms } = await estimate(picture, about, models);
  postMessage({ id, people, ms, width: picture.width, height: picture.height });
}

onmessage = async ({ data }) => {
  try {
    await (data.load ? start(data.load) : answer(data));
  } catch (error) {
    postMessage({ id: data.id, error: error.message ?? String(error) });
  }
};
