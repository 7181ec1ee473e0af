// From heatmaps to joints. Source: Zhang et al., "Distribution-aware coordinate representation" (DARK, CVPR 2020), Eq. 4-9.

const FLOOR = 1e-10; // a lower response is as good as none

/** Weights of a Gaussian of odd width with OpenCV's standard deviation; 0 = one weight. */
function gaussian(width) {
  if (!width) return [1];
  const sigma = 0.3 * ((width - 1) * 0.5 - 1) + 0.8;
  const weights = Array.from({ length: width }, (_, at) => Math.exp(-((at - (width >> 1)) ** 2) / (2 * sigma ** 2)));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** An index beyond the border, mirrored at it. */
function mirror(index, length) {
  const inside = index < 0 ? -index : index >= length ? 2 * length - 2 - index : index;
  return Math.min(Math.max(inside, 0), length - 1);
}

/** Logarithms of the nine smoothed values around a cell, row by row. */
function around(map, cell, [rows, columns], kernel) {
  const reach = kernel.length >> 1;
  const smooth = (x, y) => {
    let sum = 0;
    for (let dy = -reach; dy <= reach; dy += 1) {
      for (let dx = -reach; dx <= reach; dx += 1) {
        sum += kernel[dy + reach] * kernel[dx + reach] * map[mirror(y + dy, rows) * columns + mirror(x + dx, columns)];
      }
    }
    return Math.log(Math.max(sum, FLOOR));
  };
  return [-1, 0, 1].flatMap((dy) => [-1, 0, 1].map((dx) => smooth(cell[0] + dx, cell[1] + dy)));
}

/** The step from a cell to the summit of the Gaussian that fits around it; none where there is no summit. */
function step(near) {
  const gx = (near[5] - near[3]) / 2;
  const gy = (near[7] - near[1]) / 2;
  const xx = near[5] - 2 * near[4] + near[3];
  const yy = near[7] - 2 * near[4] + near[1];
  const xy = (near[8] - near[6] - near[2] + near[0]) / 4;
  const determinant = xx * yy - xy * xy;
  if (xx >= 0 || determinant <= FLOOR) return [0, 0];
  return [-(yy * gx - xy * gy) / determinant, -(xx * gy - xy * gx) / determinant].map((value) => Math.min(Math.max(value, -1), 1));
}

/** One joint a heatmap: {x, y} in cells and its response. `heatmaps` holds joints x rows x columns numbers. */
export function decodeDark(heatmaps, joints, [rows, columns], blur) {
  const kernel = gaussian(blur);
  return Array.from({ length: joints }, (_, joint) => {
    const map = heatmaps.subarray(joint * rows * columns, (joint + 1) * rows * columns);
    let best = 0;
    for (let at = 1; at < map.length; at += 1) if (map[at] > map[best]) best = at;
    const cell = [best % columns, Math.floor(best / columns)];
    const inside = cell[0] > 0 && cell[1] > 0 && cell[0] < columns - 1 && cell[1] < rows - 1;
    const [dx, dy] = inside && map[best] > 0 ? step(around(map, cell, [rows, columns], kernel)) : [0, 0];
    return { x: cell[0] + dx, y: cell[1] + dy, score: map[best] };
  });
}
