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

/** The map from picture pixels to the pose model's crop, for a box and the theta of its own crop. */
export function placedMap(box, theta, card, pose) {
  if (overlapWithProposal(theta) >= card.keep_overlap) return cropMap(box, pose);
  const [rows, columns] = card.size;
  const toNormalised = [2 / columns, 0, 1 / columns - 1, 0, 2 / rows, 1 / rows - 1];
  const centredToStn = compose(invert(toNormalised), compose(theta, toNormalised));
  const centred = compose(invert(centredToStn), cropMap(box, card));
  // In the centred frame the grown person fills the crop: the transformer's growth is undone here.
  const margin = [columns, rows].map((side) => (side - side / card.growth) / 2);
  return compose(cropMap([margin[0], margin[1], columns - margin[0], rows - margin[1]], pose), centred);
}

/** The same with the model: `run` answers theta for one crop. */
export async function transformedMap(picture, box, card, pose, run) {
  const crop = cut(picture, cropMap(box, card), card.size, card.mean, card.sd);
  const { data } = await run(crop, [1, 3, ...card.size]);
  return placedMap(box, usable([...data]), card, pose);
}
