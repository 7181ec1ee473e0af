// Boxes of people, [left, top, right, bottom] in pixels: which of them to keep, and the crop that each stands for.

const CANDIDATES = 1000; // most boxes that are compared with each other
const AGREE = 0.7; // from this overlap (IoU) on two boxes agree on a person
const FAINTEST = 0.01; // boxes from this score on have a vote
const SMALLEST_SIDE = 1; // boxes narrower or lower than this hold no pose

const clamp = (value, most) => Math.min(Math.max(value, 0), most);

/** Intersection over union of two boxes. */
export function iou(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const area = (box) => Math.max(box[2] - box[0], 0) * Math.max(box[3] - box[1], 0);
  return (width * height) / (area(a) + area(b) - width * height);
}

/** Places of `values` from the highest down; equal ones keep their order. */
export function descending(values) {
  return [...values.keys()].sort((a, b) => values[b] - values[a] || a - b);
}

/** A box that was kept, scored by all in `found`, best first, that agree with it and are no surer (rmpe.boxes.vote). */
function voted(one, found, voters) {
  const agree = found.filter((other) => other === one || (other.score <= one.score && iou(one.box, other.box) >= AGREE));
  return { box: one.box, score: agree.slice(0, voters).reduce((sum, { score }) => sum + score, 0) / voters };
}

/** What a detector answered, as people of the picture: sure enough, inside it, each once, best first. */
export function people(corners, scores, scale, picture, card, limit) {
  const least = card.voters ? Math.min(card.score_threshold, FAINTEST) : card.score_threshold;
  const counting = descending(scores).slice(0, CANDIDATES).filter((at) => scores[at] >= least);
  const found = counting.map((at) => {
    const box = [...corners.slice(4 * at, 4 * at + 4)].map((value, side) => clamp(value / scale, side % 2 ? picture.height : picture.width));
    return { box, score: Math.min(scores[at], 1) };
  });
  let kept = [];
  for (const one of found) {
    if (one.score >= card.score_threshold && kept.every((other) => iou(other.box, one.box) <= card.nms)) kept.push(one);
  }
  if (card.voters) {
    kept = kept.map((one) => voted(one, found, card.voters));
    kept = descending(kept.map(({ score }) => score)).map((at) => kept[at]);
  }
  return kept.filter(({ box }) => box[2] - box[0] >= SMALLEST_SIDE && box[3] - box[1] >= SMALLEST_SIDE).slice(0, limit);
}

/** From half-pixel rules to numbers: scale and offset of a crop that covers [start, start + side]. */
function placed(start, side, pixels, alignment) {
  if (alignment === 'corner') return [pixels / side, (-start * pixels) / side];
  if (alignment === 'udp') return [(pixels - 1) / side, (-start * (pixels - 1)) / side];
  return [pixels / side, ((0.5 - start) * pixels) / side - 0.5];
}

/** The map (affine.js) from picture pixels to the pixels of the crop around a box, grown and brought to the crop's shape. */
export function cropMap(box, card) {
  const [rows, columns] = card.size;
  const middle = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  const grown = [(box[2] - box[0]) * card.growth, (box[3] - box[1]) * card.growth];
  const width = Math.max(grown[0], (grown[1] * columns) / rows);
  const sides = [width, (width * rows) / columns];
  const axes = [0, 1].map((axis) => placed(middle[axis] - sides[axis] / 2, sides[axis], [columns, rows][axis], card.alignment));
  return [axes[0][0], 0, axes[0][1], 0, axes[1][0], axes[1][1]];
}

/** A cell of a heatmap as crop pixels, along one side. */
export function cellToCrop(cell, cells, pixels, alignment) {
  if (alignment === 'corner') return (cell * pixels) / cells;
  if (alignment === 'udp') return (cell * (pixels - 1)) / (cells - 1);
  return ((cell + 0.5) * pixels) / cells - 0.5;
}
