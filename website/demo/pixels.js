// Pictures as pixels: shrunk into a detector's input, and cut into crops. As OpenCV does it, bilinear.
// A picture is {data, width, height} with four bytes a pixel, as a canvas gives it; pixel centres lie at integers.

import { apply, invert } from './affine.js';

const PAD = 114; // grey around a letterboxed picture
const ONE = 2048; // OpenCV's weights of eight-bit pixels are whole numbers of this

/** Python's round: halves go to the even neighbour. */
export function roundEven(value) {
  const down = Math.floor(value);
  if (value - down !== 0.5) return Math.round(value);
  return down % 2 ? down + 1 : down;
}

/** Two neighbours and their weights, for every cell along one side; `clamped` to the picture, or only the neighbours. */
function taps(from, to, clamped) {
  const low = new Int32Array(to);
  const high = new Int32Array(to);
  const first = new Int32Array(to);
  const second = new Int32Array(to);
  for (let cell = 0; cell < to; cell += 1) {
    const there = ((cell + 0.5) * from) / to - 0.5;
    const at = clamped ? Math.min(Math.max(there, 0), from - 1) : there;
    const floor = Math.floor(at);
    low[cell] = Math.max(floor, 0);
    high[cell] = Math.min(floor + 1, from - 1);
    first[cell] = roundEven((1 - (at - floor)) * ONE);
    second[cell] = roundEven((at - floor) * ONE);
  }
  return { low, high, first, second };
}

const inside = ({ height, width }, scale) => [height, width].map((side) => Math.max(1, roundEven(side * scale)));

/** The part of a letterboxed input that a picture covers, to whole cells of `stride` pixels; all of it if that is 0. */
export function covered(picture, [rows, columns], stride) {
  if (!stride) return [rows, columns];
  const scale = Math.min(rows / picture.height, columns / picture.width);
  return inside(picture, scale).map((side) => Math.ceil(side / stride) * stride);
}

/** A picture at the top left of a detector's input, aspect kept, the rest grey; normalised, channels first. */
export function letterbox(picture, [rows, columns], mean, sd) {
  const scale = Math.min(rows / picture.height, columns / picture.width);
  const [height, width] = inside(picture, scale);
  const input = new Float32Array(3 * rows * columns);
  const across = taps(picture.width, width, true);
  const down = taps(picture.height, height, false);
  const { data } = picture;
  for (let channel = 0; channel < 3; channel += 1) {
    const plane = input.subarray(channel * rows * columns, (channel + 1) * rows * columns);
    plane.fill((PAD - mean[channel]) / sd[channel]);
    for (let y = 0; y < height; y += 1) {
      const top = down.low[y] * picture.width;
      const bottom = down.high[y] * picture.width;
      const [above, below] = [down.first[y], down.second[y]];
      for (let x = 0; x < width; x += 1) {
        const left = 4 * across.low[x] + channel;
        const right = 4 * across.high[x] + channel;
        const [first, second] = [across.first[x], across.second[x]];
        const upper = data[4 * top + left] * first + data[4 * top + right] * second;
        const lower = data[4 * bottom + left] * first + data[4 * bottom + right] * second;
        const value = (((above * (upper >> 4)) >> 16) + ((below * (lower >> 4)) >> 16) + 2) >> 2;
        plane[y * columns + x] = (value - mean[channel]) / sd[channel];
      }
    }
  }
  return { input, scale };
}

/**
 * One crop of a picture, black outside it; normalised, channels first.
 * `map` (affine.js) leads from picture pixels to crop pixels.
 */
export function cut(picture, map, [rows, columns], mean, sd) {
  const { data, width, height } = picture;
  const crop = new Float32Array(3 * rows * columns);
  const back = invert(map);
  const sample = (x, y, channel) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : data[4 * (y * width + x) + channel]);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const [x, y] = apply(back, column, row);
      const [left, top] = [Math.floor(x), Math.floor(y)];
      const [across, down] = [x - left, y - top];
      for (let channel = 0; channel < 3; channel += 1) {
        const upper = sample(left, top, channel) * (1 - across) + sample(left + 1, top, channel) * across;
        const lower = sample(left, top + 1, channel) * (1 - across) + sample(left + 1, top + 1, channel) * across;
        const value = Math.round(upper * (1 - down) + lower * down);
        crop[channel * rows * columns + row * columns + column] = (value - mean[channel]) / sd[channel];
      }
    }
  }
  return crop;
}
