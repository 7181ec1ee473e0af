// The page of `rmpe serve`. Everything that is drawn over a picture is in overlay.js.

import { CameraIds, Overlay, personColor, personNumber } from './overlay.js';

const $ = (id) => document.getElementById(id);
const CAMERA_SIDE = 640; // longest side of a camera's frame on its way, in pixels
const POLL = 700; // milliseconds between two looks at a video's progress
const TRIES = 4; // of a photo, when the server is busy
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;

let about = null; // what /v1/models says
let shown = null; // {kind: 'photo' | 'camera' | 'video', ...}: what the page shows
let zoom = 1;
let entries = []; // photos of this visit: {file, url, answer}
const picture = $('picture');
const movie = $('movie');
const overlay = new Overlay($('overlay'), (joint) => {
  $('joint').textContent = joint ? overlay.describe(joint.person, joint.index, joint) : hint();
});

const hint = () => (overlay.visible.length ? 'Point at a joint, or press Tab and the arrow keys.' : '');

// ---- talking to the server

class Refused extends Error {}

/** A request; asks for a token when the server wants one, and says in one line why there is no answer. */
async function call(path, options = {}, quiet = false) {
  const token = sessionStorage.getItem('token');
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refused('The server does not answer. Does it still run?');
  }
  if (response.status === 401 && !quiet && (await askToken())) return call(path, options);
  if (response.ok) return response;
  const text = await response.json().then((body) => body.error, () => response.statusText);
  const refused = new Refused(sentence(text));
  refused.status = response.status;
  refused.after = +response.headers.get('Retry-After') || 1;
  throw refused;
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

function askToken() {
  const ask = $('ask');
  $('token').value = '';
  ask.showModal();
  return new Promise((done) => {
    ask.onclose = () => {
      if (ask.returnValue === 'ok' && $('token').value) sessionStorage.setItem('token', $('token').value.trim());
      done(ask.returnValue === 'ok');
      ask.returnValue = '';
    };
  });
}

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
    if (error.name === 'AbortError') return;
    say(error instanceof Refused ? error.message : `${error.message || error}`);
    if (!(error instanceof Refused)) throw error;
  }
}

/** The people of a photo; waits its turn when the server is busy. */
async function estimate(blob, query = '') {
  for (let tries = 1; ; tries += 1) {
    try {
      return await call(`/v1/poses${query}`, { method: 'POST', body: blob });
    } catch (error) {
      if (![429, 503].includes(error.status) || tries === TRIES) throw error;
      await wait(1000 * error.after);
    }
  }
}

// ---- photos

async function openPhoto(entry) {
  leave();
  shown = { kind: 'photo', entry };
  markStrip();
  let image = null;
  try {
    image = await createImageBitmap(entry.file);
  } catch {
    image = null; // the server reads kinds that browsers do not
  }
  if (image && shown.entry === entry) paint(image, image.width, image.height);
  if (!entry.answer) {
    busy('Looking for people…');
    try {
      entry.answer = await (await estimate(entry.file)).json();
    } finally {
      busy('');
    }
  }
  if (shown?.entry !== entry) return;
  const { width, height } = entry.answer.image;
  if (!image) {
    say('Your browser cannot show this kind of picture; here are its joints.');
    paint(null, width, height);
  }
  people(entry.answer.people, width, height);
  times(entry.answer.ms);
}

function paint(image, width, height) {
  picture.width = width;
  picture.height = height;
  if (image) picture.getContext('2d').drawImage(image, 0, 0);
  reveal(width, height);
}

/** Show the stage with a picture of a size, and nobody on it yet. */
function reveal(width, height) {
  for (const id of ['frame', 'readout']) $(id).hidden = false;
  $('drop').hidden = true;
  picture.hidden = shown.kind === 'video';
  movie.hidden = shown.kind !== 'video';
  shown.size = [width, height];
  fit();
  people([], width, height);
}

function fit() {
  if (!shown?.size) return;
  const [width, height] = shown.size;
  const frame = $('frame');
  const most = Math.max(200, (shown.kind === 'video' ? 0.64 : 0.76) * innerHeight);
  const scale = Math.min((frame.clientWidth - 2) / width, most / height, 3) * zoom;
  $('stage').style.width = `${Math.floor(width * scale)}px`;
  $('stage').style.height = `${Math.floor(height * scale)}px`;
}

function addFiles(files) {
  const all = [...files];
  const video = all.find((file) => file.type.startsWith('video/'));
  if (video) {
    attempt(() => openVideo(video));
    return;
  }
  const { photo_bytes: most } = about.limits;
  const large = all.filter((file) => file.size > most);
  const added = all.filter((file) => file.size <= most).map((file) => ({ file, url: URL.createObjectURL(file) }));
  entries.push(...added);
  strip();
  attempt(async () => {
    if (added.length) await openPhoto(added[0]);
    if (large.length) throw new Refused(`${large[0].name} is larger than ${megabytes(most)}, the most this server takes.`);
  });
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
  overlay.show(list, width, height, about.skeleton);
  listPeople();
}

function listPeople() {
  const visible = overlay.visible;
  if (shown?.kind !== 'photo') visible.sort(([i, a], [j, b]) => personNumber(a, i) - personNumber(b, j)); // rows stay where they are
  const hidden = overlay.people.length - visible.length;
  const more = hidden ? `, ${hidden} below the score` : '';
  $('count').textContent = shown?.waiting || (shown?.kind === 'video' && !shown.frames) ? 'Looking for people…'
    : `${visible.length || 'No'} ${visible.length === 1 ? 'person' : 'people'}${more}`;
  const rows = visible.map(([index, person]) => {
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
  });
  $('people').replaceChildren(...rows);
  $('stnrow').hidden = !about.models.some((model) => model.kind === 'stn');
  if (!overlay.selected) $('joint').textContent = hint();
  saves();
}

function times(ms) {
  const total = Object.values(ms).reduce((sum, value) => sum + value, 0);
  $('times').textContent = `${total.toFixed(0)} ms: ${Object.entries(ms).map(([stage, value]) => `${stage} ${value.toFixed(0)}`).join(', ')}`;
}

function busy(text) {
  if (shown) shown.waiting = Boolean(text);
  if (text) $('count').textContent = text;
  document.body.style.cursor = text ? 'progress' : '';
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
  const offers = {};
  const stem = (shown?.file ?? shown?.entry?.file)?.name?.replace(/\.[^.]*$/, '') || 'poses';
  const answer = shown?.entry?.answer ?? shown?.answer;
  if (shown?.kind === 'video' && shown.frames) {
    for (const [label, format, ending] of [['MP4', 'mp4', '_drawn.mp4'], ['JSON', 'json', '.json'], ['CSV', 'csv', '.csv'], ['TRC', 'trc', '_trc.zip'], ['MOT', 'mot', '_mot.txt'], ['PoseTrack', 'posetrack', '_posetrack.json']]) {
      offers[label] = async () => save(await result(format), stem + ending);
    }
  } else if (answer) {
    offers.JSON = async () => {
      const kept = { ...answer, people: overlay.visible.map(([, person]) => person) };
      save(new Blob([JSON.stringify(kept, null, 1)], { type: 'application/json' }), `${stem}.json`);
    };
    // The server writes the table, so that it is the same for everybody, to the last digit.
    const blob = shown.entry?.file ?? shown.blob;
    offers.CSV = async () => save(await (await estimate(blob, `?format=csv&min_score=${overlay.options.minScore}`)).blob(), `${stem}.csv`);
  }
  if (shown?.size) offers.PNG = () => new Promise((done) => {
    const [width, height] = shown.size;
    const drawn = Object.assign(document.createElement('canvas'), { width, height });
    const context = drawn.getContext('2d');
    context.drawImage(shown.kind === 'video' ? movie : picture, 0, 0, width, height);
    overlay.drawOn(context);
    drawn.toBlob((png) => done(save(png, `${stem}_drawn.png`)));
  });
  const key = Object.keys(offers).join();
  if ($('saves').dataset.key === key && shown?.kind === 'camera') return;
  $('saves').dataset.key = key;
  const buttons = Object.entries(offers).map(([label, action]) => {
    const button = document.createElement('button');
    button.textContent = label;
    button.onclick = () => attempt(action);
    return button;
  });
  $('saves').replaceChildren(...(buttons.length ? buttons : [document.createTextNode('Nothing yet.')]));
}

// ---- camera

function camera(on) {
  $('camera').setAttribute('aria-pressed', on);
  $('camera').textContent = on ? 'Stop camera' : 'Camera';
}

async function openCamera() {
  if (shown?.kind === 'camera') {
    leave();
    return;
  }
  if (!navigator.mediaDevices) throw new Refused('Browsers open a camera only on localhost or over https: start the server with --certfile and --keyfile.');
  leave();
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false });
  } catch (error) {
    throw new Refused(`The camera cannot be opened: ${error.message}.`);
  }
  const session = { kind: 'camera', stream, stop: () => stream.getTracks().forEach((track) => track.stop()) };
  shown = session;
  markStrip();
  camera(true);
  const source = Object.assign(document.createElement('video'), { srcObject: stream, muted: true, playsInline: true });
  await source.play();
  const ids = new CameraIds(about.skeleton.sigmas);
  const scale = Math.min(1, CAMERA_SIDE / Math.max(source.videoWidth, source.videoHeight));
  const [width, height] = [Math.round(source.videoWidth * scale), Math.round(source.videoHeight * scale)];
  const still = Object.assign(document.createElement('canvas'), { width, height });
  let last = performance.now();
  let pace = 0;
  try {
    while (shown === session) {
      // One frame at a time: the next is sent when the last has been answered.
      still.getContext('2d').drawImage(source, 0, 0, width, height);
      const blob = await new Promise((done) => still.toBlob(done, 'image/jpeg', 0.8));
      const answer = await (await estimate(blob)).json();
      if (shown !== session) break;
      answer.people = ids.update(answer.people);
      Object.assign(session, { answer, blob });
      if (!session.size) paint(still, width, height);
      else picture.getContext('2d').drawImage(still, 0, 0);
      people(answer.people, width, height);
      pace += (1000 / (performance.now() - last) - pace) * (pace ? 0.15 : 1);
      last = performance.now();
      times(answer.ms);
      $('times').textContent += ` · ${pace.toFixed(1)} pictures/s`;
    }
  } catch (error) {
    if (shown === session) leave();
    throw error;
  }
}

// ---- videos

function upload(file, query) {
  const request = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    request.upload.onprogress = (event) => progress(100 * event.loaded / event.total, `Uploading, ${megabytes(event.loaded)}`);
    request.onload = () => {
      const body = JSON.parse(request.responseText || '{}');
      if (request.status === 202) resolve(body);
      else reject(new Refused(sentence(body.error || `answer ${request.status}`)));
    };
    request.onerror = () => reject(new Refused('The upload broke off.'));
    request.onabort = () => reject(new DOMException('', 'AbortError'));
  });
  request.open('POST', `/v1/videos${query}`);
  const token = sessionStorage.getItem('token');
  if (token) request.setRequestHeader('Authorization', `Bearer ${token}`);
  request.send(file);
  return { done, stop: () => request.abort() };
}

async function openVideo(file) {
  if (file.size > about.limits.video_bytes) throw new Refused(`This video is larger than ${megabytes(about.limits.video_bytes)}, the most this server takes.`);
  leave();
  const session = { kind: 'video', file, url: URL.createObjectURL(file) };
  shown = session;
  $('work').hidden = false;
  preview(session).catch(() => {}); // a kind that the browser cannot play: the drawn one comes later
  const sent = upload(file, `?detect_every=${$('every').value}&smooth=${$('smooth').checked}`);
  session.stop = sent.stop;
  try {
    session.id = (await sent.done).id;
  } catch (error) {
    if (shown === session) leave();
    throw error;
  }
  location.hash = `video=${session.id}`;
  await follow(session);
}

/** The video itself, while nobody is found in it yet. */
async function preview(session) {
  await load(session.url);
  if (shown === session && !session.frames) reveal(movie.videoWidth, movie.videoHeight);
}

function load(url) {
  movie.src = url;
  return new Promise((loaded, failed) => {
    movie.onloadeddata = loaded;
    movie.onerror = failed;
  });
}

/** A video that was sent before, by the address of the page. */
async function resume(id) {
  leave();
  shown = { kind: 'video', id };
  $('work').hidden = false;
  location.hash = `video=${id}`;
  await follow(shown);
}

async function follow(session) {
  session.stop = () => call(`/v1/videos/${session.id}`, { method: 'DELETE' }).catch(() => {});
  try {
    for (;;) {
      const state = await call(`/v1/videos/${session.id}`).then((answer) => answer.json(), (error) => {
        if (error.status) throw error;
        return null; // the server is away for a moment: the work goes on when it is back
      });
      if (shown !== session) return;
      if (!state) {
        progress(null, 'The server does not answer; trying again');
        await wait(3 * POLL);
        continue;
      }
      if (state.state === 'failed') throw new Refused(`This video did not work out: ${state.error}.`);
      if (state.state === 'done') break;
      const part = state.total ? `frame ${state.frames} of ${state.total}` : `frame ${state.frames}`;
      const pace = state.frames_per_second;
      const left = pace && state.total ? `, ${clock((state.total - state.frames) / pace)} left` : '';
      progress(state.percent, state.state === 'queued' ? `Waiting for ${state.ahead} other${state.ahead === 1 ? '' : 's'}`
        : `${(state.percent ?? 0).toFixed(0)} %, ${part}, ${pace.toFixed(1)} frames/s${left}`);
      await wait(POLL);
    }
    progress(100, 'Loading');
    const { frames } = JSON.parse(await (await result('json')).text());
    if (shown !== session) return;
    session.stop = null; // done: it stays on the server until it expires
    session.frames = frames;
    await play(session);
  } catch (error) {
    session.stop = null;
    if (shown === session) leave();
    throw error;
  }
  $('work').hidden = true;
}

const result = async (format) => (await call(`/v1/videos/${shown.id}/result?format=${format}`)).blob();

function progress(percent, text) {
  if (percent === null) $('bar').removeAttribute('value');
  else $('bar').value = percent;
  $('rate').textContent = text;
}

async function play(session) {
  session.drawn = !session.url; // without the file itself: the drawn one from the server
  session.url ??= URL.createObjectURL(await result('mp4'));
  try {
    await load(session.url);
  } catch {
    if (session.drawn) throw new Refused('Your browser cannot play this video; its results can be saved.');
    session.url = null; // a kind the browser cannot play
    return play(session);
  }
  const [first] = session.frames;
  reveal(first.width, first.height);
  $('player').hidden = false;
  $('overlay').style.visibility = session.drawn ? 'hidden' : '';
  session.tracks = tracksOf(session.frames);
  $('timeline').setAttribute('aria-valuemax', session.frames.length - 1);
  showFrame(0);
  const tick = (_, { mediaTime }) => {
    if (shown !== session) return;
    showFrame(frameAt(session.frames, mediaTime));
    movie.requestVideoFrameCallback(tick);
  };
  if (movie.requestVideoFrameCallback) movie.requestVideoFrameCallback(tick);
  else movie.ontimeupdate = () => shown === session && showFrame(frameAt(session.frames, movie.currentTime));
}

/** The frame that is shown at a time. */
function frameAt(frames, seconds) {
  let [low, high] = [0, frames.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (frames[middle].seconds <= seconds + 0.001) low = middle;
    else high = middle - 1;
  }
  return low;
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`;

function showFrame(index) {
  const frame = shown.frames[index];
  shown.at = index;
  const picked = overlay.people[overlay.picked]?.track_id;
  overlay.picked = null;
  const again = frame.people.findIndex((person) => person.track_id !== undefined && person.track_id === picked);
  if (again >= 0) overlay.picked = again;
  people(frame.people, frame.width, frame.height);
  $('clock').textContent = `${clock(frame.seconds)} · frame ${frame.index}`;
  $('timeline').setAttribute('aria-valuenow', index);
  $('timeline').setAttribute('aria-valuetext', `frame ${frame.index}, ${overlay.visible.length} people`);
  drawTimeline();
}

function seek(index) {
  const at = Math.min(Math.max(index, 0), shown.frames.length - 1);
  movie.pause();
  const next = shown.frames[at + 1]?.seconds ?? shown.frames[at].seconds + 0.02;
  movie.currentTime = (shown.frames[at].seconds + next) / 2;
  showFrame(at);
}

/** Where each id is seen: [id, first and last index of each stay]. */
function tracksOf(frames) {
  const tracks = new Map();
  frames.forEach((frame, index) => {
    for (const { track_id: id, score } of frame.people) {
      if (id === undefined || score < 0.1) continue;
      const stays = tracks.get(id) ?? tracks.set(id, []).get(id);
      if (stays.length && stays.at(-1)[1] === index - 1) stays.at(-1)[1] = index;
      else stays.push([index, index]);
    }
  });
  return [...tracks].sort(([a], [b]) => a - b);
}

function drawTimeline() {
  const canvas = $('timeline');
  const sharp = devicePixelRatio || 1;
  const { tracks, frames } = shown;
  const rows = Math.max(1, tracks.length);
  const height = Math.min(180, Math.max(44, 9 * rows + 8));
  canvas.style.height = `${height}px`;
  const width = canvas.clientWidth;
  canvas.width = width * sharp;
  canvas.height = height * sharp;
  const context = canvas.getContext('2d');
  context.scale(sharp, sharp);
  const x = (index) => 6 + (index / frames.length) * (width - 12);
  const step = (height - 8) / rows;
  tracks.forEach(([id, stays], row) => {
    context.fillStyle = personColor(id);
    for (const [from, to] of stays) context.fillRect(x(from), 4 + row * step, Math.max(1.5, x(to + 1) - x(from)), Math.max(1, step * 0.72));
  });
  context.fillStyle = getComputedStyle(canvas).color;
  context.fillRect(x(shown.at + 0.5) - 1, 0, 2, height);
}

// ---- what the page shows

/** Away from what is shown; what runs for it is stopped. */
function leave() {
  const before = shown;
  shown = null;
  before?.stop?.();
  movie.pause();
  movie.removeAttribute('src');
  if (before?.kind === 'video') {
    if (before.url) URL.revokeObjectURL(before.url);
    history.replaceState(null, '', location.pathname);
  }
  if (about) overlay.show([], 1, 1, about.skeleton);
  zoom = 1;
  overlay.picked = null;
  overlay.held = null;
  $('overlay').style.visibility = '';
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
  overlay.set({ minScore: +$('score').value, colours: $('colours').value, boxes: $('boxes').checked, ids: $('ids').checked, stn: $('stn').checked });
  if (shown) listPeople();
}

for (const id of ['score', 'colours', 'boxes', 'ids', 'stn']) $(id).oninput = options;
$('choose').onclick = $('drop').onclick = () => $('file').click();
$('file').onchange = () => {
  addFiles($('file').files);
  $('file').value = '';
};
$('camera').onclick = () => attempt(openCamera);
$('cancel').onclick = () => leave();
$('alert').lastElementChild.onclick = () => say('');
$('zoom').onclick = ({ target: { dataset } }) => {
  if (!dataset.zoom) return;
  zoom = dataset.zoom === '0' ? 1 : Math.min(8, Math.max(1, zoom * (dataset.zoom === '1' ? 1.5 : 1 / 1.5)));
  fit();
};
$('play').onclick = () => (movie.paused ? movie.play() : movie.pause());
movie.onplay = movie.onpause = () => {
  $('play').textContent = movie.paused ? '▶' : '❚❚';
  $('play').setAttribute('aria-label', movie.paused ? 'Play' : 'Pause');
};
$('back').onclick = () => seek(shown.at - 1);
$('next').onclick = () => seek(shown.at + 1);
const seekTo = (event) => {
  const box = $('timeline').getBoundingClientRect();
  seek(Math.floor(((event.clientX - box.left - 6) / (box.width - 12)) * shown.frames.length));
};
$('timeline').onpointerdown = (event) => {
  $('timeline').setPointerCapture(event.pointerId);
  seekTo(event);
};
$('timeline').onpointermove = (event) => event.buttons && seekTo(event);
$('timeline').onkeydown = (event) => {
  const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -25, PageDown: 25, Home: -1e9, End: 1e9 };
  if (!(event.key in steps)) return;
  event.preventDefault();
  seek(shown.at + steps[event.key]);
};
addEventListener('resize', () => {
  fit();
  if (shown?.frames) drawTimeline();
});
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
  if (event.key === 'Escape' && !$('ask').open) {
    say('');
    overlay.held = null;
    overlay.clear();
    if (overlay.picked !== null) overlay.pick(null);
    if (shown) listPeople();
  }
});

await attempt(async () => {
  about = await (await call('/v1/models')).json();
  $('models').textContent = about.models.map((model) => model.name).join(' · ');
  $('where').textContent = `Pictures go to the server at ${location.host} and nowhere else. Photos are never stored there, videos for a while.`;
  const origin = location.origin;
  $('curl').textContent = [
    `curl --data-binary @photo.jpg ${origin}/v1/poses`,
    `curl --data-binary @photo.jpg "${origin}/v1/poses?format=csv"`,
    `curl -X POST -T clip.mp4 ${origin}/v1/videos`,
  ].join('\n');
  options();
  saves();
  const before = location.hash.match(/^#video=([\w-]{22})$/);
  if (before) await resume(before[1]);
});
document.body.dataset.ready = about ? 'yes' : 'no';
