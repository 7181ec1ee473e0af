// The page in the browser: it looks for people in a worker, without a server. The models live in worker.js; the page itself is
// page.js, what is drawn over a picture overlay.js, and both are those of `rmpe serve`.

import { CameraIds } from './overlay.js';
import { $, Page, Told, attempt, frameSize, movie, saveJson, times } from './page.js';

const CLIP_STEP = 0.1; // seconds of a clip between two pictures that are looked at
const LONGEST_CLIP = 60; // seconds
const EXAMPLE = 'example.jpg';

let engine = null; // the worker and what it said of itself
const page = new Page({
  skeleton: () => engine?.about?.skeleton,
  ready: models,
  openPhoto,
  openVideo,
  addPhotos: (files) => page.addPhotos(files),
  look,
  offers,
  left: () => {},
  noCamera: 'Browsers open a camera only on localhost or over https.',
  room: () => 0.7,
});

// ---- the worker

class Engine {
  constructor(webgpu) {
    this.worker = new Worker('worker.js', { type: 'module' });
    this.waiting = new Map();
    this.next = 0;
    this.ready = new Promise((done, failed) => {
      this.worker.onmessage = ({ data }) => {
        if (data.progress) progress(data.progress);
        else if (data.ready) done(data.ready);
        else this.#answered(data, failed);
      };
      this.worker.onerror = (error) => failed(new Told(`The models cannot be started: ${error.message}`));
    });
    this.worker.postMessage({ load: { webgpu } });
  }

  #answered({ id, error, ...answer }, failed) {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    if (error) (waiting?.failed ?? failed)(new Told(error));
    else waiting.done(answer);
  }

  /** The people of a bitmap, which goes to the worker. */
  estimate(bitmap) {
    const id = this.next++;
    return new Promise((done, failed) => {
      this.waiting.set(id, { done, failed });
      this.worker.postMessage({ id, bitmap }, [bitmap]);
    });
  }
}

const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

function progress({ done, total }) {
  $('bar').value = (100 * done) / total;
  $('rate').textContent = `Models: ${megabytes(done)} of ${megabytes(total)} MB, kept for the next visit`;
}

/** The worker with its models; they are loaded when somebody first needs them. */
async function models() {
  if (!engine) {
    engine = new Engine($('webgpu').checked);
    $('cancel').hidden = true;
    $('work').hidden = false;
    try {
      engine.about = await engine.ready;
    } catch (error) {
      engine.worker.terminate();
      engine = null;
      throw error;
    } finally {
      $('work').hidden = true;
      $('cancel').hidden = false;
    }
    $('models').textContent = engine.about.models.join(' · ');
  }
  await engine.ready;
  return engine;
}

// ---- photos

async function bitmapOf(file) {
  try {
    return await createImageBitmap(file, { colorSpaceConversion: 'none' });
  } catch {
    throw new Told(`${file.name} is not a picture that this browser can read.`);
  }
}

async function openPhoto(entry) {
  const session = { kind: 'photo', entry, waiting: !entry.answer };
  page.show(session);
  const bitmap = await bitmapOf(entry.file);
  if (page.shown !== session) return;
  page.paint(bitmap, bitmap.width, bitmap.height);
  if (!entry.answer) {
    const ready = await models();
    if (page.shown !== session) return;
    entry.answer = await ready.estimate(bitmap);
    session.waiting = false;
  }
  if (page.shown !== session) return;
  page.people(entry.answer.people, entry.answer.width, entry.answer.height);
  times(entry.answer.ms);
}

/** The people of a camera's frame. */
async function look(still) {
  const ready = await models();
  return { answer: await ready.estimate(await createImageBitmap(still)) };
}

// ---- saving

/** The people as COCO results; those of a clip picture by picture, with their time in seconds. */
function offers() {
  const { shown, stem } = page;
  if (!shown?.size) return {};
  const sure = (list) => list.filter((person) => person.score >= page.overlay.options.minScore);
  const kept = () => (shown.frames ? shown.frames.map(({ seconds, people }) => ({ seconds, people: sure(people) })) : sure(page.overlay.people));
  return { JSON: () => saveJson(kept(), `${stem}.json`) };
}

// ---- clips

/** Go to a time of the clip, and wait until its picture is there. */
function seek(seconds) {
  const there = new Promise((done) => movie.addEventListener('seeked', done, { once: true }));
  movie.currentTime = seconds;
  return there;
}

async function openVideo(file) {
  const session = { kind: 'video', file, url: URL.createObjectURL(file), frames: [], waiting: true };
  page.show(session);
  movie.src = session.url;
  await new Promise((done, failed) => {
    movie.onloadeddata = done;
    movie.onerror = () => failed(new Told('This browser cannot play this kind of video.'));
  });
  if (page.shown !== session) return;
  if (movie.duration > LONGEST_CLIP) {
    page.leave();
    throw new Told(`This clip is longer than ${LONGEST_CLIP} seconds; rmpe track takes videos of any length.`);
  }
  const [width, height] = frameSize(movie);
  page.reveal(width, height);
  const ready = await models();
  if (page.shown !== session) return;
  const ids = new CameraIds(ready.about.skeleton.sigmas);
  session.waiting = false;
  $('work').hidden = false;
  for (let seconds = 0; seconds < movie.duration; seconds += CLIP_STEP) {
    await seek(seconds);
    if (page.shown !== session) return;
    const bitmap = await createImageBitmap(movie, { resizeWidth: width, resizeHeight: height });
    const answer = await ready.estimate(bitmap);
    if (page.shown !== session) return;
    session.frames.push({ seconds, people: ids.update(answer.people) });
    page.people(session.frames.at(-1).people, width, height);
    times(answer.ms);
    $('bar').value = (100 * seconds) / movie.duration;
    $('rate').textContent = `${session.frames.length} pictures, ${Math.round(1 / CLIP_STEP)} a second of the clip`;
  }
  $('work').hidden = true;
  $('player').hidden = false;
  $('time').max = movie.duration;
  await seek(0);
  showTime();
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, '0')}`;

/** The people at the time of the clip that is shown. */
function showTime() {
  const { shown } = page;
  if (!shown?.frames?.length || $('player').hidden) return;
  const seconds = movie.currentTime;
  const at = Math.min(Math.round(seconds / CLIP_STEP), shown.frames.length - 1);
  page.people(shown.frames[at].people, ...shown.size);
  $('time').value = seconds;
  $('time').setAttribute('aria-valuetext', clock(seconds));
  $('clock').textContent = clock(seconds);
}

movie.ontimeupdate = movie.onseeked = showTime;
$('time').oninput = () => {
  movie.pause();
  movie.currentTime = +$('time').value;
};

// ---- what this page has besides

$('example').onclick = () => attempt(async () => {
  const blob = await (await fetch(EXAMPLE)).blob();
  page.add([new File([blob], EXAMPLE, { type: blob.type })]);
});
$('webgpu').onchange = () => {
  engine?.worker.terminate();
  page.leave();
  engine = null;
  for (const entry of page.entries) entry.answer = null;
};

page.options();
page.saves();
await attempt(async () => {
  if (!isSecureContext || !('serviceWorker' in navigator)) throw new Told('This page needs https, or localhost.');
  await navigator.serviceWorker.register('offline.js');
  await navigator.serviceWorker.ready;
  const { detector, pose, stn, engines } = await (await fetch('models.json')).json();
  const bytes = [detector, pose, stn, engines.wasm?.wasm].reduce((sum, file) => sum + (file?.packed_bytes ?? 0), 0);
  $('size').textContent = `The first picture downloads the models (${megabytes(bytes)} MB); they are kept for the next visit, also without a network.`;
});
document.body.dataset.ready = 'yes';
