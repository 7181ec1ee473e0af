// The page in the browser: photos, clips and the camera, without a server. The models live in worker.js; everything that
// is drawn over a picture is in overlay.js, which is that of `rmpe serve`.

import { CameraIds, Overlay, personColor, personNumber } from './overlay.js';

const $ = (id) => document.getElementById(id);
const CAMERA_SIDE = 640; // longest side of a frame of the camera or of a clip, in pixels
const CLIP_STEP = 0.1; // seconds of a clip between two pictures that are looked at
const LONGEST_CLIP = 60; // seconds
const EXAMPLE = 'example.jpg';

const picture = $('picture');
const movie = $('movie');
const overlay = new Overlay($('overlay'), (joint) => {
  $('joint').textContent = joint ? overlay.describe(joint.person, joint.index, joint) : hint();
});
const hint = () => (overlay.visible.length ? 'Point at a joint, or press Tab and the arrow keys.' : '');

let engine = null; // the worker and what it said of itself
let shown = null; // {kind: 'photo' | 'camera' | 'clip', ...}: what the page shows
let entries = []; // photos of this visit: {file, url, answer}

class Told extends Error {} // something that people can do something about

function say(text) {
  $('alert').hidden = !text;
  $('alert').firstElementChild.textContent = text;
}

/** Run something that a person asked for; what goes wrong is said, not lost. */
async function attempt(action) {
  say('');
  try {
    await action();
  } catch (error) {
    say(error.message || String(error));
    if (!(error instanceof Told)) throw error;
  }
}

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
  leave();
  shown = { kind: 'photo', entry };
  markStrip();
  const bitmap = await bitmapOf(entry.file);
  paint(bitmap, bitmap.width, bitmap.height);
  if (!entry.answer) {
    $('count').textContent = 'Looking for people…';
    const ready = await models();
    if (shown?.entry !== entry) return;
    entry.answer = await ready.estimate(bitmap);
  }
  if (shown?.entry !== entry) return;
  people(entry.answer.people, entry.answer.width, entry.answer.height);
  times(entry.answer.ms);
}

function paint(image, width, height) {
  Object.assign(picture, { width, height });
  picture.getContext('2d').drawImage(image, 0, 0, width, height);
  reveal(width, height);
}

/** Show the stage with a picture of a size, and nobody on it yet. */
function reveal(width, height) {
  for (const id of ['frame', 'readout']) $(id).hidden = false;
  $('drop').hidden = true;
  picture.hidden = shown.kind === 'clip';
  movie.hidden = shown.kind !== 'clip';
  shown.size = [width, height];
  fit();
}

function fit() {
  if (!shown?.size) return;
  const [width, height] = shown.size;
  const scale = Math.min(($('frame').clientWidth - 2) / width, Math.max(200, 0.7 * innerHeight) / height, 3);
  $('stage').style.width = `${Math.floor(width * scale)}px`;
  $('stage').style.height = `${Math.floor(height * scale)}px`;
}

function addFiles(files) {
  const all = [...files];
  const clip = all.find((file) => file.type.startsWith('video/'));
  if (clip) {
    attempt(() => openClip(clip));
    return;
  }
  const added = all.map((file) => ({ file, url: URL.createObjectURL(file) }));
  entries.push(...added);
  strip();
  if (added.length) attempt(() => openPhoto(added[0]));
}

function strip() {
  $('strip').hidden = entries.length < 2;
  $('strip').replaceChildren(...entries.map((entry, index) => {
    const item = document.createElement('li');
    const button = document.createElement('button');
    const image = new Image();
    image.src = entry.url;
    image.alt = `Picture ${index + 1}`;
    button.append(image);
    button.onclick = () => attempt(() => openPhoto(entry));
    item.append(button);
    entry.button = button;
    return item;
  }));
  markStrip();
}

function markStrip() {
  for (const entry of entries) entry.button?.setAttribute('aria-current', entry === shown?.entry);
}

// ---- people beside the picture

function people(list, width, height) {
  overlay.show(list, width, height, engine.about.skeleton);
  listPeople();
}

function listPeople() {
  const visible = overlay.visible;
  if (shown?.kind !== 'photo') visible.sort(([i, a], [j, b]) => personNumber(a, i) - personNumber(b, j)); // rows stay where they are
  const hidden = overlay.people.length - visible.length;
  $('count').textContent = `${visible.length || 'No'} ${visible.length === 1 ? 'person' : 'people'}${hidden ? `, ${hidden} below the score` : ''}`;
  $('people').replaceChildren(...visible.map(([index, person]) => {
    const item = document.createElement('li');
    const button = document.createElement('button');
    button.setAttribute('aria-pressed', overlay.picked === index);
    button.innerHTML = '<svg viewBox="0 0 2 2" aria-hidden="true"><circle cx="1" cy="1" r="1"/></svg><b></b><span></span>';
    button.querySelector('circle').setAttribute('fill', personColor(personNumber(person, index) - 1));
    button.querySelector('b').textContent = `Person ${personNumber(person, index)}`;
    button.querySelector('span').textContent = person.score.toFixed(2);
    button.onclick = () => {
      overlay.pick(overlay.picked === index ? null : index);
      for (const other of $('people').querySelectorAll('button')) other.setAttribute('aria-pressed', other === button && overlay.picked === index);
    };
    item.append(button);
    return item;
  }));
  if (!overlay.selected) $('joint').textContent = hint();
  saves();
}

function times(ms) {
  const total = Object.values(ms).reduce((sum, value) => sum + value, 0);
  $('times').textContent = `${total.toFixed(0)} ms: ${Object.entries(ms).map(([stage, value]) => `${stage} ${value.toFixed(0)}`).join(', ')}`;
}

// ---- saving

function save(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function saves() {
  const key = `${shown?.kind} ${Boolean(shown?.size)}`;
  if ($('saves').dataset.key === key) return; // a camera must not make buttons with every picture
  $('saves').dataset.key = key;
  const offers = shown?.size ? { JSON: saveJson, PNG: savePng } : {};
  const buttons = Object.entries(offers).map(([label, action]) => {
    const button = document.createElement('button');
    button.textContent = label;
    button.onclick = () => attempt(action);
    return button;
  });
  $('saves').replaceChildren(...(buttons.length ? buttons : [document.createTextNode('Nothing yet.')]));
}

const stem = () => (shown.file ?? shown.entry?.file)?.name?.replace(/\.[^.]*$/, '') || 'poses';

/** The people as COCO results; those of a clip picture by picture, with their time in seconds. */
function saveJson() {
  const { minScore } = overlay.options;
  const sure = (list) => list.filter((person) => person.score >= minScore);
  const kept = shown.kind === 'clip' ? shown.frames.map(({ seconds, people: found }) => ({ seconds, people: sure(found) })) : sure(overlay.people);
  save(new Blob([JSON.stringify(kept, null, 1)], { type: 'application/json' }), `${stem()}.json`);
}

async function savePng() {
  const [width, height] = shown.size;
  const drawn = Object.assign(document.createElement('canvas'), { width, height });
  const context = drawn.getContext('2d');
  context.drawImage(shown.kind === 'clip' ? movie : picture, 0, 0, width, height);
  overlay.drawOn(context);
  save(await new Promise((done) => drawn.toBlob(done)), `${stem()}_drawn.png`);
}

// ---- camera

function camera(on) {
  $('camera').setAttribute('aria-pressed', on);
  $('camera').textContent = on ? 'Stop camera' : 'Camera';
}

/** The size at which frames of a video are looked at. */
function frameSize(source) {
  const scale = Math.min(1, CAMERA_SIDE / Math.max(source.videoWidth, source.videoHeight));
  return [Math.round(source.videoWidth * scale), Math.round(source.videoHeight * scale)];
}

async function openCamera() {
  if (shown?.kind === 'camera') {
    leave();
    return;
  }
  if (!navigator.mediaDevices) throw new Told('Browsers open a camera only on localhost or over https.');
  leave();
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false });
  } catch (error) {
    throw new Told(`The camera cannot be opened: ${error.message}.`);
  }
  const session = { kind: 'camera', stop: () => stream.getTracks().forEach((track) => track.stop()) };
  shown = session;
  markStrip();
  camera(true);
  try {
    await follow(session, stream);
  } catch (error) {
    if (shown === session) leave();
    throw error;
  }
}

/** One frame at a time: the next is taken when the last has been answered. */
async function follow(session, stream) {
  const source = Object.assign(document.createElement('video'), { srcObject: stream, muted: true, playsInline: true });
  await source.play();
  const ready = await models();
  const ids = new CameraIds(ready.about.skeleton.sigmas);
  const [width, height] = frameSize(source);
  const still = Object.assign(document.createElement('canvas'), { width, height });
  let last = performance.now();
  let pace = 0;
  session.pictures = 0;
  while (shown === session) {
    still.getContext('2d').drawImage(source, 0, 0, width, height);
    const answer = await ready.estimate(await createImageBitmap(still));
    if (shown !== session) break;
    if (!session.size) paint(still, width, height);
    else picture.getContext('2d').drawImage(still, 0, 0);
    people(ids.update(answer.people), width, height);
    pace += (1000 / (performance.now() - last) - pace) * (pace ? 0.15 : 1);
    last = performance.now();
    times(answer.ms);
    session.pictures += 1;
    $('times').textContent += ` · ${pace.toFixed(1)} pictures/s`;
    document.body.dataset.pictures = session.pictures;
  }
}

// ---- clips

/** Go to a time of the clip, and wait until its picture is there. */
function seek(seconds) {
  const there = new Promise((done) => movie.addEventListener('seeked', done, { once: true }));
  movie.currentTime = seconds;
  return there;
}

async function openClip(file) {
  leave();
  const session = { kind: 'clip', file, url: URL.createObjectURL(file), frames: [] };
  shown = session;
  markStrip();
  movie.src = session.url;
  await new Promise((done, failed) => {
    movie.onloadeddata = done;
    movie.onerror = () => failed(new Told('This browser cannot play this kind of video.'));
  });
  if (movie.duration > LONGEST_CLIP) {
    leave();
    throw new Told(`This clip is longer than ${LONGEST_CLIP} seconds; rmpe track takes videos of any length.`);
  }
  const [width, height] = frameSize(movie);
  reveal(width, height);
  const ready = await models();
  const ids = new CameraIds(ready.about.skeleton.sigmas);
  $('work').hidden = false;
  for (let seconds = 0; seconds < movie.duration; seconds += CLIP_STEP) {
    await seek(seconds);
    if (shown !== session) return;
    const bitmap = await createImageBitmap(movie, { resizeWidth: width, resizeHeight: height });
    const answer = await ready.estimate(bitmap);
    if (shown !== session) return;
    session.frames.push({ seconds, people: ids.update(answer.people) });
    people(session.frames.at(-1).people, width, height);
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
  if (shown?.kind !== 'clip' || !shown.frames.length || $('player').hidden) return;
  const seconds = movie.currentTime;
  const at = Math.min(Math.round(seconds / CLIP_STEP), shown.frames.length - 1);
  people(shown.frames[at].people, ...shown.size);
  $('time').value = seconds;
  $('time').setAttribute('aria-valuetext', clock(seconds));
  $('clock').textContent = clock(seconds);
}

// ---- what the page shows

/** Away from what is shown; what runs for it is stopped. */
function leave() {
  const before = shown;
  shown = null;
  before?.stop?.();
  movie.pause();
  movie.removeAttribute('src');
  if (before?.url) URL.revokeObjectURL(before.url);
  if (engine?.about) overlay.show([], 1, 1, engine.about.skeleton);
  overlay.picked = null;
  overlay.held = null;
  for (const id of ['frame', 'readout', 'player', 'work']) $(id).hidden = true;
  $('drop').hidden = false;
  camera(false);
  $('count').textContent = 'Nobody yet';
  $('people').replaceChildren();
  $('times').textContent = '';
  markStrip();
  saves();
}

function options() {
  $('least').textContent = (+$('score').value).toFixed(2);
  overlay.set({ minScore: +$('score').value, colours: $('colours').value, boxes: $('boxes').checked, ids: $('ids').checked });
  if (shown?.size && engine?.about) listPeople();
}

for (const id of ['score', 'colours', 'boxes', 'ids']) $(id).oninput = options;
$('choose').onclick = () => $('file').click();
$('drop').onclick = (event) => event.target === $('example') || $('file').click();
$('example').onclick = () => attempt(async () => {
  const blob = await (await fetch(EXAMPLE)).blob();
  addFiles([new File([blob], EXAMPLE, { type: blob.type })]);
});
$('file').onchange = () => {
  addFiles($('file').files);
  $('file').value = '';
};
$('camera').onclick = () => attempt(openCamera);
$('cancel').onclick = () => leave();
$('alert').lastElementChild.onclick = () => say('');
$('webgpu').onchange = () => {
  engine?.worker.terminate();
  engine = null;
  leave();
  for (const entry of entries) entry.answer = null;
};
$('play').onclick = () => (movie.paused ? movie.play() : movie.pause());
movie.onplay = movie.onpause = () => {
  $('play').textContent = movie.paused ? '▶' : '❚❚';
  $('play').setAttribute('aria-label', movie.paused ? 'Play' : 'Pause');
};
movie.ontimeupdate = movie.onseeked = showTime;
$('time').oninput = () => {
  movie.pause();
  movie.currentTime = +$('time').value;
};
addEventListener('resize', fit);
addEventListener('paste', (event) => event.clipboardData.files.length && addFiles(event.clipboardData.files));
addEventListener('dragover', (event) => {
  event.preventDefault();
  document.body.classList.add('over');
});
addEventListener('dragleave', (event) => !event.relatedTarget && document.body.classList.remove('over'));
addEventListener('drop', (event) => {
  event.preventDefault();
  document.body.classList.remove('over');
  if (event.dataTransfer.files.length) addFiles(event.dataTransfer.files);
});
addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  say('');
  overlay.held = null;
  overlay.clear();
  if (overlay.picked !== null) overlay.pick(null);
  if (shown?.size && engine?.about) listPeople();
});

options();
saves();
await attempt(async () => {
  if (!isSecureContext || !('serviceWorker' in navigator)) throw new Told('This page needs https, or localhost.');
  await navigator.serviceWorker.register('offline.js');
  await navigator.serviceWorker.ready;
  const { detector, pose, stn, engines } = await (await fetch('models.json')).json();
  const bytes = [detector, pose, stn, engines.wasm?.wasm].reduce((sum, file) => sum + (file?.packed_bytes ?? 0), 0);
  $('size').textContent = `The first picture downloads the models (${megabytes(bytes)} MB); they are kept for the next visit, also without a network.`;
});
document.body.dataset.ready = 'yes';
