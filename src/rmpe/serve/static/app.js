// The page of `rmpe serve`: it asks the server for people. The page itself is page.js, what is drawn over a picture overlay.js.

import { personColor } from './overlay.js';
import { $, Page, Told, attempt, movie, save, saveJson, say, times } from './page.js';

const POLL = 700; // milliseconds between two looks at a video's progress
const TRIES = 4; // of a photo, when the server is busy
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;

let about = null; // what /v1/models says
const page = new Page({
  skeleton: () => about?.skeleton,
  ready: async () => {}, // the page asks for its models before anything else
  openPhoto,
  openVideo,
  addPhotos,
  look,
  offers,
  left,
  noCamera: 'Browsers open a camera only on localhost or over https: start the server with --certfile and --keyfile.',
  room: (kind) => (kind === 'video' ? 0.64 : 0.76), // a video has its timeline
});
const { overlay } = page;

// ---- talking to the server

/** A request; asks for a token when the server wants one, and says in one line why there is no answer. */
async function call(path, options = {}, quiet = false) {
  const token = sessionStorage.getItem('token');
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Told('The server does not answer. Does it still run?');
  }
  if (response.status === 401 && !quiet && (await askToken())) return call(path, options);
  if (response.ok) return response;
  const text = await response.json().then((body) => body.error, () => response.statusText);
  const refused = new Told(sentence(text));
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
  const session = { kind: 'photo', entry, waiting: !entry.answer };
  page.show(session);
  let image = null;
  try {
    image = await createImageBitmap(entry.file);
  } catch {
    image = null; // the server reads kinds that browsers do not
  }
  if (image && page.shown === session) page.paint(image, image.width, image.height);
  if (!entry.answer) {
    $('count').textContent = 'Looking for people…';
    document.body.style.cursor = 'progress';
    try {
      entry.answer = await (await estimate(entry.file)).json();
    } finally {
      session.waiting = false;
      document.body.style.cursor = '';
    }
  }
  if (page.shown !== session) return;
  const { width, height } = entry.answer.image;
  if (!image) {
    say('Your browser cannot show this kind of picture; here are its joints.');
    page.paint(null, width, height);
  }
  page.people(entry.answer.people, width, height);
  times(entry.answer.ms);
}

async function addPhotos(files) {
  const { photo_bytes: most } = about.limits;
  await page.addPhotos(files.filter((file) => file.size <= most));
  const large = files.find((file) => file.size > most);
  if (large) throw new Told(`${large.name} is larger than ${megabytes(most)}, the most this server takes.`);
}

// ---- saving

const FILES = { MP4: '_drawn.mp4', JSON: '.json', CSV: '.csv', TRC: '_trc.zip', MOT: '_mot.txt', PoseTrack: '_posetrack.json' };

function offers() {
  const { shown, stem } = page;
  if (shown?.frames) {
    return Object.fromEntries(Object.entries(FILES).map(([label, ending]) => [
      label, async () => save(await result(label.toLowerCase()), stem + ending),
    ]));
  }
  if (!shown?.entry?.answer && !shown?.answer) return {};
  return {
    JSON: () => saveJson({ ...shown.entry?.answer ?? shown.answer, people: overlay.visible.map(([, person]) => person) }, `${stem}.json`),
    // The server writes the table, so that it is the same for everybody, to the last digit.
    CSV: async () => {
      const answer = await estimate(shown.entry?.file ?? shown.blob, `?format=csv&min_score=${overlay.options.minScore}`);
      save(await answer.blob(), `${stem}.csv`);
    },
  };
}

// ---- camera

async function look(still) {
  const blob = await new Promise((done) => still.toBlob(done, 'image/jpeg', 0.8));
  return { answer: await (await estimate(blob)).json(), blob };
}

// ---- videos

function upload(file, query) {
  const request = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    request.upload.onprogress = (event) => progress(100 * event.loaded / event.total, `Uploading, ${megabytes(event.loaded)}`);
    request.onload = () => {
      const body = JSON.parse(request.responseText || '{}');
      if (request.status === 202) resolve(body);
      else reject(new Told(sentence(body.error || `answer ${request.status}`)));
    };
    request.onerror = () => reject(new Told('The upload broke off.'));
    request.onabort = () => reject(new DOMException('', 'AbortError'));
  });
  request.open('POST', `/v1/videos${query}`);
  const token = sessionStorage.getItem('token');
  if (token) request.setRequestHeader('Authorization', `Bearer ${token}`);
  request.send(file);
  return { done, stop: () => request.abort() };
}

async function openVideo(file) {
  if (file.size > about.limits.video_bytes) throw new Told(`This video is larger than ${megabytes(about.limits.video_bytes)}, the most this server takes.`);
  const session = { kind: 'video', file, url: URL.createObjectURL(file), waiting: true };
  page.show(session);
  $('work').hidden = false;
  preview(session).catch(() => {}); // a kind that the browser cannot play: the drawn one comes later
  const sent = upload(file, `?detect_every=${$('every').value}&smooth=${$('smooth').checked}`);
  session.stop = sent.stop;
  try {
    session.id = (await sent.done).id;
  } catch (error) {
    if (page.shown === session) page.leave();
    throw error;
  }
  location.hash = `video=${session.id}`;
  await follow(session);
}

/** The video itself, while nobody is found in it yet. */
async function preview(session) {
  await load(session.url);
  if (page.shown === session && !session.frames) page.reveal(movie.videoWidth, movie.videoHeight);
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
  const session = { kind: 'video', id, waiting: true };
  page.show(session);
  $('work').hidden = false;
  location.hash = `video=${id}`;
  await follow(session);
}

async function follow(session) {
  session.stop = () => call(`/v1/videos/${session.id}`, { method: 'DELETE' }).catch(() => {});
  try {
    for (;;) {
      const state = await call(`/v1/videos/${session.id}`).then((answer) => answer.json(), (error) => {
        if (error.status) throw error;
        return null; // the server is away for a moment: the work goes on when it is back
      });
      if (page.shown !== session) return;
      if (!state) {
        progress(null, 'The server does not answer; trying again');
        await wait(3 * POLL);
        continue;
      }
      if (state.state === 'failed') throw new Told(`This video did not work out: ${state.error}.`);
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
    if (page.shown !== session) return;
    session.stop = null; // done: it stays on the server until it expires
    session.frames = frames;
    session.waiting = false;
    await play(session);
  } catch (error) {
    session.stop = null;
    if (page.shown === session) page.leave();
    throw error;
  }
  $('work').hidden = true;
}

const result = async (format) => (await call(`/v1/videos/${page.shown.id}/result?format=${format}`)).blob();

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
    if (session.drawn) throw new Told('Your browser cannot play this video; its results can be saved.');
    session.url = null; // a kind the browser cannot play
    return play(session);
  }
  const [first] = session.frames;
  page.reveal(first.width, first.height);
  $('player').hidden = false;
  $('overlay').style.visibility = session.drawn ? 'hidden' : '';
  session.tracks = tracksOf(session.frames);
  $('timeline').setAttribute('aria-valuemax', session.frames.length - 1);
  showFrame(0);
  const tick = (_, { mediaTime }) => {
    if (page.shown !== session) return;
    showFrame(frameAt(session.frames, mediaTime));
    movie.requestVideoFrameCallback(tick);
  };
  if (movie.requestVideoFrameCallback) movie.requestVideoFrameCallback(tick);
  else movie.ontimeupdate = () => page.shown === session && showFrame(frameAt(session.frames, movie.currentTime));
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
  const frame = page.shown.frames[index];
  page.shown.at = index;
  const picked = overlay.people[overlay.picked]?.track_id;
  overlay.picked = null;
  const again = frame.people.findIndex((person) => person.track_id !== undefined && person.track_id === picked);
  if (again >= 0) overlay.picked = again;
  page.people(frame.people, frame.width, frame.height);
  $('clock').textContent = `${clock(frame.seconds)} · frame ${frame.index}`;
  $('timeline').setAttribute('aria-valuenow', index);
  $('timeline').setAttribute('aria-valuetext', `frame ${frame.index}, ${overlay.visible.length} people`);
  drawTimeline();
}

function seek(index) {
  const at = Math.min(Math.max(index, 0), page.shown.frames.length - 1);
  movie.pause();
  const next = page.shown.frames[at + 1]?.seconds ?? page.shown.frames[at].seconds + 0.02;
  movie.currentTime = (page.shown.frames[at].seconds + next) / 2;
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
  const { tracks, frames } = page.shown;
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
  context.fillRect(x(page.shown.at + 0.5) - 1, 0, 2, height);
}

// ---- what the page shows

function left(before) {
  if (before?.kind === 'video') history.replaceState(null, '', location.pathname);
  $('overlay').style.visibility = '';
}

movie.loop = true;
$('zoom').onclick = ({ target: { dataset } }) => {
  if (!dataset.zoom) return;
  page.zoom = dataset.zoom === '0' ? 1 : Math.min(8, Math.max(1, page.zoom * (dataset.zoom === '1' ? 1.5 : 1 / 1.5)));
  page.fit();
};
$('back').onclick = () => seek(page.shown.at - 1);
$('next').onclick = () => seek(page.shown.at + 1);
const seekTo = (event) => {
  const box = $('timeline').getBoundingClientRect();
  seek(Math.floor(((event.clientX - box.left - 6) / (box.width - 12)) * page.shown.frames.length));
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
  seek(page.shown.at + steps[event.key]);
};
addEventListener('resize', () => page.shown?.tracks && drawTimeline());

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
  $('stnrow').hidden = !about.models.some((model) => model.kind === 'stn');
  page.options();
  page.saves();
  const before = location.hash.match(/^#video=([\w-]{22})$/);
  if (before) await resume(before[1]);
});
document.body.dataset.ready = about ? 'yes' : 'no';
