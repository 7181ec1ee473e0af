// The spatial transformer: moves the crop onto the person. Source: RMPE, section 3.1; as in rmpe.estimate.stn.

import { apply, compose, determinant, invert } from './affine.js';
import { cropMap } from './boxes.js';
import { cut } from './pixels.js';

const SINGULAR = 1e-8;
const WIDEST = 100; // times the crop's area that a theta may look at
const IDENTITY = [1, 0, 0, 0, 1, 0];

/** Overlap (IoU) of the region that theta looks at with the proposal's own crop, the square from -1 to 1. */
export function overlapWithProposal(theta) {
  const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([x, y]) => apply(theta, x, y));
  const [shared, area] = [0, 1].reduce(([product, whole], axis) => {
    const values = corners.map((corner) => corner[axis]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return [product * Math.max(Math.min(high, 1) - Math.max(low, -1), 0), whole * (high - low)];
  }, [1, 1]);
  return shared / (area + 4 - shared);
}

/** A theta that cannot be inverted, or looks far beyond the crop, says nothing: the proposal stays. */
export function usable(theta) {
  const area = Math.abs(determinant(theta));
  return area > SINGULAR && area <= WIDEST && Math.max(...theta.map(Math.abs)) <= WIDEST ? theta : IDENTITY;
}

/** Where the pose model looks for a box and the theta of its crop: maps from picture pixels to its crop, one or two. */
export function placedMaps(box, theta, card, pose) {
  const own = cropMap(box, pose);
  if (overlapWithProposal(theta) >= card.keep_overlap) return [own];
  const [rows, columns] = card.size;
  const toNormalised = [2 / columns, 0, 1 / columns - 1, 0, 2 / rows, 1 / rows - 1];
  const centredToStn = compose(invert(toNormalised), compose(theta, toNormalised));
  const centred = compose(invert(centredToStn), cropMap(box, card));
  // In the centred frame the grown person fills the crop: the transformer's growth is undone here.
  const margin = [columns, rows].map((side) => (side - side / card.growth) / 2);
  const moved = compose(cropMap([margin[0], margin[1], columns - margin[0], rows - margin[1]], pose), centred);
  return card.second_look ? [moved, own] : [moved];
}

/** One answer from two looks at a person; `sigmas` are the OKS constants of the joints. As rmpe.estimate.candidates.fuse. */
export function fuse(one, other, box, sigmas) {
  const size = Math.sqrt((box[2] - box[0]) * (box[3] - box[1]));
  return one.map((first, at) => {
    const second = other[at];
    const sum = first.score + second.score;
    const near = Math.hypot(second.x - first.x, second.y - first.y) <= 2 * sigmas[at] * size;
    if (!near || sum <= 0) return second.score > first.score ? second : first;
    const mean = (name) => (first[name] * first.score + second[name] * second.score) / sum;
    return { x: mean('x'), y: mean('y'), score: sum / 2 };
  });
}

/** The same with the model: `run` answers theta for one crop. */
export async function transformedMaps(picture, box, card, pose, run) {
  const crop = cut(picture, cropMap(box, card), card.size, card.mean, card.sd);
  const { data } = await run(crop, [1, 3, ...card.size]);
  return placedMaps(box, usable([...data]), card, pose);
}
