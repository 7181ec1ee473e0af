// What the page of `rmpe serve` and the page in the browser share: pictures, people, options, camera, saving.
// Where the people come from, a server or a worker, is the matter of the page's own script.

import { CameraIds, Overlay, personColor, personNumber } from './overlay.js';

const CAMERA_SIDE = 640; // longest side of a camera's frame, in pixels

export const $ = (id) => document.getElementById(id);
export const picture = $('picture');
export const movie = $('movie');

/** Something that people can do something about. */
export class Told extends Error {}

export function say(text) {
  $('alert').hidden = !text;
  $('alert').firstElementChild.textContent = text;
}

/** Run something that a person asked for; what goes wrong is said, not lost. */
export async function attempt(action) {
  say('');
  try {
    await action();
  } catch (error) {
    if (error.name === 'AbortError') return;
    say(error.message || String(error));
    if (!(error instanceof Told)) throw error;
  }
}

/** How long each stage took, in milliseconds. */
export function times(ms) {
  const total = Object.values(ms).reduce((sum, value) => sum + value, 0);
  $('times').textContent = `${total.toFixed(0)} ms: ${Object.entries(ms).map(([stage, value]) => `${stage} ${value.toFixed(0)}`).join(', ')}`;
}

export function save(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

export function saveJson(value, name) {
  save(new Blob([JSON.stringify(value, null, 1)], { type: 'application/json' }), name);
}

/** The size at which frames of a camera are looked at. */
export function frameSize(source) {
  const scale = Math.min(1, CAMERA_SIDE / Math.max(source.videoWidth, source.videoHeight));
  return [Math.round(source.videoWidth * scale), Math.round(source.videoHeight * scale)];
}

function camera(on) {
  $('camera').setAttribute('aria-pressed', on);
  $('camera').textContent = on ? 'Stop camera' : 'Camera';
}

export class Page {
  /**
   * @param own What differs between pages:
   *   skeleton()        that of the poses; undefined before the models are there
   *   ready()           resolves when people can be looked for
   *   openPhoto(entry)  show a photo and the people in it
   *   openVideo(file)   the same for a video
   *   addPhotos(files)  give `addPhotos` those that are not too large
   *   look(canvas)      {answer: {people, ms}} of a camera's frame
   *   offers()          label -> how to save what is shown; `png` is there for all
   *   left(before)      after the page went away from what it showed
   *   noCamera          why there is none, and what to do
   *   room(kind)        share of the window's height that a picture may take
   */
  constructor(own) {
    this.own = own;
    this.shown = null; // {kind: 'photo' | 'camera' | 'video', ...}: what the page shows
    this.entries = []; // photos of this visit: {file, url, answer}
    this.zoom = 1;
    this.overlay = new Overlay($('overlay'), (joint) => {
      $('joint').textContent = joint ? this.overlay.describe(joint.person, joint.index, joint) : this.#hint();
    });
    this.#wire();
  }

  // ---- pictures

  /** Show a picture; null is one that the browser cannot read. */
  paint(image, width, height) {
    Object.assign(picture, { width, height });
    if (image) picture.getContext('2d').drawImage(image, 0, 0, width, height);
    this.reveal(width, height);
  }

  /** Show the stage with a picture of a size, and nobody on it yet. */
  reveal(width, height) {
    for (const id of ['frame', 'readout']) $(id).hidden = false;
    $('drop').hidden = true;
    picture.hidden = this.shown.kind === 'video';
    movie.hidden = this.shown.kind !== 'video';
    this.shown.size = [width, height];
    this.fit();
    this.people([], width, height);
  }

  fit() {
    if (!this.shown?.size) return;
    const [width, height] = this.shown.size;
    const most = Math.max(200, this.own.room(this.shown.kind) * innerHeight);
    const scale = Math.min(($('frame').clientWidth - 2) / width, most / height, 3) * this.zoom;
    $('stage').style.width = `${Math.floor(width * scale)}px`;
    $('stage').style.height = `${Math.floor(height * scale)}px`;
  }

  /** Take what was chosen, dropped or pasted: the first video, or all photos. */
  add(files) {
    const all = [...files];
    const video = all.find((file) => file.type.startsWith('video/'));
    attempt(() => (video ? this.own.openVideo(video) : this.own.addPhotos(all)));
  }

  async addPhotos(files) {
    const added = files.map((file) => ({ file, url: URL.createObjectURL(file) }));
    this.entries.push(...added);
    this.#strip();
    if (added.length) await this.own.openPhoto(added[0]);
  }

  #strip() {
    $('strip').hidden = this.entries.length < 2;
    $('strip').replaceChildren(...this.entries.map((entry, index) => {
      const item = document.createElement('li');
      const button = document.createElement('button');
      const image = new Image();
      image.src = entry.url;
      image.alt = `Picture ${index + 1}`;
      button.append(image);
      button.onclick = () => attempt(() => this.own.openPhoto(entry));
      item.append(button);
      entry.button = button;
      return item;
    }));
    this.#markStrip();
  }

  #markStrip() {
    for (const entry of this.entries) entry.button?.setAttribute('aria-current', entry === this.shown?.entry);
  }

  /** Go from what is shown to something else: {kind, ...}. `waiting` = its people are not known yet. */
  show(next) {
    this.leave();
    this.shown = next;
    this.#markStrip();
  }

  /** Away from what is shown; what runs for it is stopped. */
  leave() {
    const before = this.shown;
    this.shown = null;
    before?.stop?.();
    movie.pause();
    movie.removeAttribute('src');
    if (before?.url) URL.revokeObjectURL(before.url);
    const skeleton = this.own.skeleton();
    if (skeleton) this.overlay.show([], 1, 1, skeleton);
    this.zoom = 1;
    this.overlay.picked = null;
    this.overlay.held = null;
    for (const id of ['frame', 'readout', 'player', 'work']) $(id).hidden = true;
    $('drop').hidden = false;
    camera(false);
    $('count').textContent = 'Nobody yet';
    $('people').replaceChildren();
    $('times').textContent = '';
    this.own.left(before);
    this.#markStrip();
    this.saves();
  }

  // ---- people beside the picture

  people(list, width, height) {
    this.overlay.show(list, width, height, this.own.skeleton());
    this.listPeople();
  }

  listPeople() {
    const { overlay, shown } = this;
    const { visible } = overlay;
    if (shown?.kind !== 'photo') visible.sort(([i, a], [j, b]) => personNumber(a, i) - personNumber(b, j)); // rows stay where they are
    const hidden = overlay.people.length - visible.length;
    $('count').textContent = shown?.waiting ? 'Looking for people…'
      : `${visible.length || 'No'} ${visible.length === 1 ? 'person' : 'people'}${hidden ? `, ${hidden} below the score` : ''}`;
    $('people').replaceChildren(...visible.map(([index, person]) => this.#row(index, person)));
    if (!overlay.selected) $('joint').textContent = this.#hint();
    this.saves();
  }

  #row(index, person) {
    const { overlay } = this;
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
  }

  #hint() {
    return this.overlay.visible.length ? 'Point at a joint, or press Tab and the arrow keys.' : '';
  }

  options() {
    $('least').textContent = (+$('score').value).toFixed(2);
    const [boxes, ids, stn] = ['boxes', 'ids', 'stn'].map((id) => $(id).checked);
    this.overlay.set({ minScore: +$('score').value, colours: $('colours').value, boxes, ids, stn });
    if (this.shown?.size) this.listPeople();
  }

  // ---- saving

  /** What files of this picture are called, without their ending. */
  get stem() {
    return (this.shown?.file ?? this.shown?.entry?.file)?.name?.replace(/\.[^.]*$/, '') || 'poses';
  }

  /** A button for each kind of file that can be saved now. */
  saves() {
    const offers = this.own.offers();
    if (this.shown?.size) offers.PNG = () => this.#savePng();
    const key = Object.keys(offers).join();
    if ($('saves').dataset.key === key && this.shown?.kind === 'camera') return; // no new buttons with every picture
    $('saves').dataset.key = key;
    const buttons = Object.entries(offers).map(([label, action]) => {
      const button = document.createElement('button');
      button.textContent = label;
      button.onclick = () => attempt(action);
      return button;
    });
    $('saves').replaceChildren(...(buttons.length ? buttons : [document.createTextNode('Nothing yet.')]));
  }

  async #savePng() {
    const [width, height] = this.shown.size;
    const drawn = Object.assign(document.createElement('canvas'), { width, height });
    const context = drawn.getContext('2d');
    context.drawImage(this.shown.kind === 'video' ? movie : picture, 0, 0, width, height);
    this.overlay.drawOn(context);
    const name = `${this.stem}_drawn.png`;
    save(await new Promise((done) => drawn.toBlob(done)), name);
  }

  // ---- camera

  async openCamera() {
    if (this.shown?.kind === 'camera') {
      this.leave();
      return;
    }
    if (!navigator.mediaDevices) throw new Told(this.own.noCamera);
    this.leave();
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false });
    } catch (error) {
      throw new Told(`The camera cannot be opened: ${error.message}.`);
    }
    const session = { kind: 'camera', stop: () => stream.getTracks().forEach((track) => track.stop()) };
    this.show(session);
    camera(true);
    try {
      await this.#follow(session, stream);
    } catch (error) {
      if (this.shown === session) this.leave();
      throw error;
    }
  }

  /** One frame at a time: the next is looked at when the last has been answered. */
  async #follow(session, stream) {
    const source = Object.assign(document.createElement('video'), { srcObject: stream, muted: true, playsInline: true });
    await source.play();
    await this.own.ready();
    const ids = new CameraIds(this.own.skeleton().sigmas);
    const [width, height] = frameSize(source);
    const still = Object.assign(document.createElement('canvas'), { width, height });
    let last = performance.now();
    let pace = 0;
    let pictures = 0;
    while (this.shown === session) {
      still.getContext('2d').drawImage(source, 0, 0, width, height);
      const found = await this.own.look(still);
      if (this.shown !== session) break;
      found.answer.people = ids.update(found.answer.people);
      Object.assign(session, found);
      if (!session.size) this.paint(still, width, height);
      else picture.getContext('2d').drawImage(still, 0, 0);
      this.people(found.answer.people, width, height);
      pace += (1000 / (performance.now() - last) - pace) * (pace ? 0.15 : 1);
      last = performance.now();
      times(found.answer.ms);
      $('times').textContent += ` · ${pace.toFixed(1)} pictures/s`;
      pictures += 1;
      document.body.dataset.pictures = pictures;
    }
  }

  // ---- what people press

  #wire() {
    for (const id of ['score', 'colours', 'boxes', 'ids', 'stn']) $(id).oninput = () => this.options();
    $('choose').onclick = () => $('file').click();
    $('drop').onclick = (event) => event.target.closest('button') || $('file').click();
    $('file').onchange = () => {
      this.add($('file').files);
      $('file').value = '';
    };
    $('camera').onclick = () => attempt(() => this.openCamera());
    $('cancel').onclick = () => this.leave();
    $('alert').lastElementChild.onclick = () => say('');
    $('play').onclick = () => (movie.paused ? movie.play() : movie.pause());
    movie.onplay = movie.onpause = () => {
      $('play').textContent = movie.paused ? '▶' : '❚❚';
      $('play').setAttribute('aria-label', movie.paused ? 'Play' : 'Pause');
    };
    addEventListener('resize', () => this.fit());
    addEventListener('paste', (event) => event.clipboardData.files.length && this.add(event.clipboardData.files));
    addEventListener('dragover', (event) => {
      event.preventDefault();
      document.body.classList.add('over');
    });
    addEventListener('dragleave', (event) => !event.relatedTarget && document.body.classList.remove('over'));
    addEventListener('drop', (event) => {
      event.preventDefault();
      document.body.classList.remove('over');
      if (event.dataTransfer.files.length) this.add(event.dataTransfer.files);
    });
    addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || document.querySelector('dialog[open]')) return;
      say('');
      this.overlay.held = null;
      this.overlay.clear();
      if (this.overlay.picked !== null) this.overlay.pick(null);
      if (this.shown?.size) this.listPeople();
    });
  }
}
