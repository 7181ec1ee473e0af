// People over a picture, as SVG: limbs, joints, boxes, numbers; joints are selected by mouse, touch and keys.
// It knows nothing of a server: `show` takes people as COCO results have them.

const NS = 'http://www.w3.org/2000/svg';
const FAINT = 0.1, CLEAR = 0.5; // joint scores at which a joint begins to be seen, and is seen in full
const LIMB = 0.012; // width of a limb as a share of the person's longer side
const MIDDLE = [60, 150, 255];
const STN = '#ff3cdc';
const EDGE = '#141414';

const rgb = (color) => `rgb(${color.join(' ')})`;
const same = (a, b) => a.join() === b.join();

/** A bright colour for a person or a track; neighbouring numbers differ much. */
export const personColor = (number) => `hsl(${(number * 222) % 360} 90% 62%)`;

/** What a person is called: by track if there is one, else by place in the list. */
export const personNumber = (person, index) => (person.track_id ?? index) + 1;

/** A joint as people read it: left_knee -> left knee. */
export const jointName = (name) => name.replaceAll('_', ' ');

/** The colour of each limb: that of its joint with a side, the middle's where both or none has one. */
export function limbColors(skeleton) {
  return skeleton.limbs.map(([start, end]) => {
    const sided = [skeleton.colors[start], skeleton.colors[end]].filter((color) => !same(color, MIDDLE));
    if (!sided.length || (sided.length === 2 && !same(...sided))) return MIDDLE;
    return sided[0];
  });
}

function element(name, attributes, parent) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
}

/** What is drawn of a person, in pixels of the image; `thin` is the thinnest line that is seen. */
function shapes(person, index, skeleton, options, thin) {
  const [x, y, width, height] = person.bbox;
  const line = Math.max(LIMB * Math.max(width, height), thin);
  const own = personColor(personNumber(person, index) - 1);
  const byPerson = options.colours === 'person';
  const joints = skeleton.joints.map((name, joint) => {
    const [px, py, score] = person.keypoints.slice(3 * joint, 3 * joint + 3);
    const opacity = Math.min(1, Math.max(0, (score - FAINT) / (CLEAR - FAINT)));
    const color = byPerson ? own : rgb(skeleton.colors[joint]);
    return { name, joint, x: px, y: py, score, opacity, color, radius: line * (0.6 + 0.6 * opacity) };
  });
  const colors = limbColors(skeleton);
  const limbs = skeleton.limbs
    .map(([start, end], limb) => {
      const [from, to] = [joints[start], joints[end]];
      return { from, to, opacity: Math.min(from.opacity, to.opacity), color: byPerson ? own : rgb(colors[limb]) };
    })
    .filter((limb) => limb.opacity > 0);
  return { line, own, limbs, joints: joints.filter((joint) => joint.opacity > 0), box: { x, y, width, height } };
}

export class Overlay {
  /**
   * @param svg An <svg> that lies over the picture.
   * @param onselect Called with {person, index, joint, name, x, y, score}, or null, whenever the selection changes.
   */
  constructor(svg, onselect = () => {}) {
    this.svg = svg;
    this.onselect = onselect;
    this.options = { minScore: 0.3, colours: 'side', boxes: false, ids: true, stn: false };
    this.people = [];
    this.size = [1, 1];
    this.picked = null; // index of the person that stands out
    this.selected = null; // [index of person, joint]
    svg.addEventListener('pointermove', (event) => this.#point(event, false));
    svg.addEventListener('pointerdown', (event) => this.#point(event, true));
    svg.addEventListener('pointerleave', () => this.#restore());
    svg.addEventListener('keydown', (event) => this.#key(event));
    svg.addEventListener('focusin', (event) => {
      const { person, joint } = event.target.dataset;
      if (joint !== undefined) this.select(+person, +joint, false);
    });
    new ResizeObserver(() => this.render()).observe(svg);
  }

  /** Show people on a picture of a size. Numbers are stable: a person keeps index and colour when the score limit moves. */
  show(people, width, height, skeleton) {
    this.people = people;
    this.size = [width, height];
    this.skeleton = skeleton;
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    if (this.picked !== null && this.picked >= people.length) this.picked = null;
    if (this.selected && this.selected[0] >= people.length) this.#tell(null);
    this.render();
  }

  set(options) {
    Object.assign(this.options, options);
    this.render();
  }

  /** The people above the score limit, as [index, person]. */
  get visible() {
    return [...this.people.entries()].filter(([, person]) => person.score >= this.options.minScore);
  }

  /** Let a person stand out; null = all alike. */
  pick(index) {
    this.picked = index;
    this.render();
  }

  /** Select a joint, and move the focus there if wanted. */
  select(person, joint, focus = true) {
    this.selected = [person, joint];
    this.#ring();
    if (focus) this.#circle(person, joint)?.focus({ preventScroll: false });
    this.#tell(this.selected);
  }

  clear() {
    this.selected = null;
    this.#ring();
    this.#tell(null);
  }

  render() {
    const { svg, skeleton, options } = this;
    if (!skeleton) return;
    const focused = svg.contains(document.activeElement) && this.selected;
    const scale = this.size[0] / (svg.clientWidth || this.size[0]);
    svg.replaceChildren();
    this.drawn = new Map();
    // More certain people are drawn over less certain ones.
    for (const [index, person] of this.visible.sort(([, a], [, b]) => a.score - b.score)) {
      const shape = shapes(person, index, skeleton, options, 1.6 * scale);
      this.drawn.set(index, shape);
      const group = element('g', { role: 'group', 'aria-label': `person ${personNumber(person, index)}` }, svg);
      if (this.picked !== null && this.picked !== index) group.classList.add('dim');
      this.#limbs(group, shape);
      this.#joints(group, shape, person, index, scale);
      this.#marks(group, shape, person, index, scale);
    }
    const first = this.selected && this.#circle(...this.selected) ? this.#circle(...this.selected) : svg.querySelector('circle[data-joint]');
    first?.setAttribute('tabindex', '0');
    if (focused) this.#circle(...this.selected)?.focus({ preventScroll: true });
    this.#ring();
  }

  /** Draw the same on a 2D canvas whose pixels are those of the image. */
  drawOn(context) {
    for (const [index, shape] of this.drawn) {
      const person = this.people[index];
      context.lineCap = 'round';
      const line = (limb, width, color) => {
        context.globalAlpha = limb.opacity;
        context.strokeStyle = color;
        context.lineWidth = width;
        context.beginPath();
        context.moveTo(limb.from.x, limb.from.y);
        context.lineTo(limb.to.x, limb.to.y);
        context.stroke();
      };
      for (const limb of shape.limbs) line(limb, 1.6 * shape.line + 1, EDGE);
      for (const limb of shape.limbs) line(limb, shape.line, limb.color);
      for (const joint of shape.joints) {
        context.globalAlpha = joint.opacity;
        for (const [radius, color] of [[1.3 * joint.radius + 0.3, EDGE], [joint.radius, joint.color]]) {
          context.fillStyle = color;
          context.beginPath();
          context.arc(joint.x, joint.y, radius, 0, 7);
          context.fill();
        }
      }
      context.globalAlpha = 1;
      const boxes = this.#boxes(shape, person);
      for (const [[x, y, width, height], color] of boxes) {
        context.strokeStyle = color;
        context.lineWidth = Math.max(1, shape.line / 2);
        context.strokeRect(x, y, width, height);
      }
      if (this.options.ids) {
        const size = Math.max(11, 5 * shape.line);
        context.font = `600 ${size}px system-ui, sans-serif`;
        context.lineWidth = size / 5;
        context.strokeStyle = EDGE;
        context.fillStyle = shape.own;
        const at = this.#labelAt(shape, size);
        context.strokeText(personNumber(person, index), ...at);
        context.fillText(personNumber(person, index), ...at);
      }
    }
  }

  #limbs(group, shape) {
    for (const wide of [true, false]) {
      for (const { from, to, opacity, color } of shape.limbs) {
        element('line', {
          x1: from.x, y1: from.y, x2: to.x, y2: to.y, 'stroke-linecap': 'round', 'stroke-opacity': opacity,
          stroke: wide ? EDGE : color, 'stroke-width': wide ? 1.6 * shape.line : shape.line,
        }, group);
      }
    }
  }

  #joints(group, shape, person, index, scale) {
    for (const joint of shape.joints) {
      element('circle', {
        cx: joint.x, cy: joint.y, r: joint.radius, fill: joint.color, opacity: joint.opacity,
        stroke: EDGE, 'stroke-width': Math.max(0.3 * joint.radius, 0.5 * scale),
        tabindex: -1, 'data-person': index, 'data-joint': joint.joint, role: 'img',
        'aria-label': this.describe(person, index, joint),
      }, group);
    }
  }

  #boxes(shape, person) {
    const { x, y, width, height } = shape.box;
    const boxes = this.options.boxes ? [[[x, y, width, height], person.track_id === undefined ? '#f0f0f0' : shape.own]] : [];
    return this.options.stn && person.stn_bbox ? [...boxes, [person.stn_bbox, STN]] : boxes;
  }

  #labelAt(shape, size) {
    const x = Math.min(Math.max(shape.box.x, 2), this.size[0] - size);
    return [x, Math.min(Math.max(shape.box.y - size / 4, size), this.size[1] - 2)];
  }

  #marks(group, shape, person, index, scale) {
    for (const [[x, y, width, height], color] of this.#boxes(shape, person)) {
      const box = { x, y, width, height, fill: 'none' };
      const line = Math.max(shape.line / 2, 1.2 * scale);
      element('rect', { ...box, stroke: EDGE, 'stroke-opacity': 0.6, 'stroke-width': line + 1.6 * scale }, group);
      element('rect', { ...box, stroke: color, 'stroke-width': line }, group);
    }
    if (this.options.ids) {
      const size = Math.max(13 * scale, 4 * shape.line);
      const [x, y] = this.#labelAt(shape, size);
      const label = element('text', {
        x, y, fill: shape.own, stroke: EDGE, 'stroke-width': size / 5, 'paint-order': 'stroke', 'aria-hidden': true,
      }, group);
      label.style.fontSize = `${size}px`;
      label.textContent = personNumber(person, index);
    }
  }

  /** A joint in words. */
  describe(person, index, { name, x, y, score }) {
    return `${jointName(name)}, person ${personNumber(person, index)}: x ${x.toFixed(1)}, y ${y.toFixed(1)}, score ${score.toFixed(2)}`;
  }

  #circle(person, joint) {
    return this.svg.querySelector(`circle[data-person="${person}"][data-joint="${joint}"]`);
  }

  #ring() {
    this.svg.querySelector('.ring')?.remove();
    const circle = this.selected && this.#circle(...this.selected);
    if (!circle) return;
    const scale = this.size[0] / (this.svg.clientWidth || this.size[0]);
    const radius = Math.max(+circle.getAttribute('r') * 1.9, 8 * scale);
    const ring = element('g', { class: 'ring', fill: 'none', 'pointer-events': 'none' }, this.svg);
    const place = { cx: circle.getAttribute('cx'), cy: circle.getAttribute('cy'), r: radius };
    element('circle', { ...place, stroke: EDGE, 'stroke-width': 5 * scale }, ring);
    element('circle', { ...place, stroke: '#fff', 'stroke-width': 2.4 * scale }, ring);
  }

  #tell(selected) {
    if (!selected) {
      this.selected = null;
      this.onselect(null);
      return;
    }
    const [index, joint] = selected;
    const found = this.drawn.get(index)?.joints.find((one) => one.joint === joint);
    this.onselect(found ? { person: this.people[index], index, ...found } : null);
  }

  /** The joint nearest to the pointer, if it is near. */
  #point(event, hold) {
    const matrix = this.svg.getScreenCTM();
    if (!matrix || !this.drawn) return;
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    const reach = (event.pointerType === 'touch' ? 26 : 16) / matrix.a;
    let [best, distance] = [null, reach];
    for (const [index, shape] of this.drawn) {
      for (const joint of shape.joints) {
        const away = Math.hypot(joint.x - at.x, joint.y - at.y);
        if (away < distance) [best, distance] = [[index, joint.joint], away];
      }
    }
    this.svg.style.cursor = best ? 'pointer' : '';
    if (hold) {
      this.held = best;
      if (best) event.preventDefault();
    }
    if (best) this.select(...best, hold);
    else if (hold) this.clear();
    else this.#restore();
  }

  /** Back to the joint that was clicked, when the pointer leaves another. */
  #restore() {
    if (this.svg.contains(document.activeElement)) return;
    if (this.held) this.select(...this.held, false);
    else if (this.selected) this.clear();
  }

  #key(event) {
    const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
    if (event.key === 'Escape') {
      this.held = null;
      this.clear();
      document.activeElement.blur();
      return;
    }
    if (!steps[event.key] || !this.drawn?.size) return;
    event.preventDefault();
    const [down, right] = steps[event.key];
    const order = [...this.drawn.keys()].sort((a, b) => a - b);
    if (!this.selected) {
      this.select(order[0], this.drawn.get(order[0]).joints[0]?.joint ?? 0);
      return;
    }
    let [person, joint] = this.selected;
    if (down) {
      person = order[(Math.max(0, order.indexOf(person)) + down + order.length) % order.length];
      const there = this.drawn.get(person).joints;
      joint = there.find((one) => one.joint === joint)?.joint ?? there[0]?.joint;
    } else {
      const joints = this.drawn.get(person)?.joints ?? [];
      const place = joints.findIndex((one) => one.joint === joint);
      joint = joints[(place + right + joints.length) % joints.length]?.joint;
    }
    if (joint !== undefined) {
      this.held = [person, joint];
      this.select(person, joint);
    }
  }
}

/** Object keypoint similarity of two people of one skeleton, by the area of the second. */
export function oks(a, b, sigmas) {
  const area = Math.max(1, b.bbox[2] * b.bbox[3]);
  let [sum, count] = [0, 0];
  sigmas.forEach((sigma, joint) => {
    const [ax, ay, as] = a.keypoints.slice(3 * joint, 3 * joint + 3);
    const [bx, by, bs] = b.keypoints.slice(3 * joint, 3 * joint + 3);
    if (as < FAINT || bs < FAINT) return;
    sum += Math.exp(-((ax - bx) ** 2 + (ay - by) ** 2) / (2 * area * (2 * sigma) ** 2));
    count += 1;
  });
  return count ? sum / count : 0;
}

/** Ids for people from one camera frame to the next: the most similar pairs first; people may be away for a while. */
export class CameraIds {
  constructor(sigmas, { least = 0.25, memory = 10 } = {}) {
    Object.assign(this, { sigmas, least, memory, tracks: [], next: 0 });
  }

  update(people) {
    const pairs = people.flatMap((person, at) => this.tracks.map((track) => [oks(track.person, person, this.sigmas), at, track]));
    pairs.sort((a, b) => b[0] - a[0]);
    const taken = new Map();
    for (const [similarity, at, track] of pairs) {
      if (similarity < this.least) break;
      if (!taken.has(at) && ![...taken.values()].includes(track)) taken.set(at, track);
    }
    for (const track of this.tracks) track.away += 1;
    const named = people.map((person, at) => {
      const track = taken.get(at) ?? { id: this.next++ };
      if (!taken.has(at)) this.tracks.push(track);
      Object.assign(track, { person, away: 0 });
      return { ...person, track_id: track.id };
    });
    this.tracks = this.tracks.filter((track) => track.away <= this.memory);
    return named;
  }
}
