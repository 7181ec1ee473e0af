// The method in one function, as rmpe.pipeline has it: boxes, transformer, crops, joints, pose NMS.

import { apply, invert } from './affine.js';
import { cellToCrop, cropMap, people as peopleOf } from './boxes.js';
import { decodeDark } from './heatmaps.js';
import { covered, cut, letterbox } from './pixels.js';
import { poseNms } from './suppress.js';
import { fuse, transformedMaps } from './transformer.js';

const round = (value, digits) => Math.round(value * 10 ** digits) / 10 ** digits;

/** The joints that the pose model finds in one crop, in picture pixels. */
async function look(picture, map, card, run) {
  const back = invert(map);
  const { data, dims } = await run(cut(picture, map, card.size, card.mean, card.sd), [1, 3, ...card.size]);
  const cells = dims.slice(2);
  return decodeDark(data, dims[1], cells, card.blur).map(({ x, y, score }) => {
    const at = [cellToCrop(x, cells[1], card.size[1], card.alignment), cellToCrop(y, cells[0], card.size[0], card.alignment)];
    const [px, py] = apply(back, ...at);
    return { x: px, y: py, score: Math.min(Math.max(score, 0), 1) };
  });
}

/** The joints of one person, in picture pixels. */
async function joints(picture, box, about, models) {
  const { card } = about.pose;
  const maps = about.stn ? await transformedMaps(picture, box, about.stn.card, card, models.stn) : [cropMap(box, card)];
  const first = await look(picture, maps[0], card, models.pose);
  if (maps.length === 1) return first;
  return fuse(first, await look(picture, maps[1], card, models.pose), box, about.skeleton.sigmas);
}

/** A pose as COCO results have it. */
function asCoco({ box, joints: found, score }) {
  return {
    category_id: 1,
    keypoints: found.flatMap((joint) => (joint.score > 0 ? [round(joint.x, 3), round(joint.y, 3), round(joint.score, 3)] : [0, 0, 0])),
    score: round(score, 6),
    bbox: [box[0], box[1], box[2] - box[0], box[3] - box[1]].map((value) => round(value, 3)),
  };
}

/**
 * Everybody in a picture, best first.
 *
 * @param picture {data, width, height}, four bytes a pixel.
 * @param about What models.json says: cards of the models, parameters of the pose NMS, limits.
 * @param models Run a model: (numbers, shape) -> {data, dims}; `detect` answers a list of them. `stn` only if about has one.
 * @returns {people, ms}: COCO results, and the milliseconds of each stage.
 */
export async function estimate(picture, about, models) {
  const start = performance.now();
  const { card } = about.detector;
  const size = covered(picture, card.size, card.stride);
  const { input, scale } = letterbox(picture, size, card.mean, card.sd);
  const [corners, scores] = await models.detect(input, [1, 3, ...size]);
  const found = peopleOf(corners.data, scores.data, scale, picture, card, about.limit);
  const detected = performance.now();
  const poses = [];
  for (const { box, score } of found) {
    if (score < about.min_score ** 2) continue; // no joints can bring it above the limit
    const all = await joints(picture, box, about, models);
    const seen = all.filter((joint) => joint.score > about.seen);
    const mean = seen.reduce((sum, joint) => sum + joint.score ** 2, 0) / Math.max(seen.length, 1);
    poses.push({ box, joints: all, score: Math.sqrt(score * mean) });
  }
  const posed = performance.now();
  const people = poseNms(poses, about.nms).filter((one) => one.score >= about.min_score).map(asCoco);
  return { people, ms: { detect: detected - start, pose: posed - detected, nms: performance.now() - posed } };
}
