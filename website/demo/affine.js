// Affine maps as [xx, xy, x0, yx, yy, y0]: x' = xx x + xy y + x0, y' = yx x + yy y + y0.

export const apply = ([xx, xy, x0, yx, yy, y0], x, y) => [xx * x + xy * y + x0, yx * x + yy * y + y0];

export const determinant = ([xx, xy, , yx, yy]) => xx * yy - xy * yx;

/** The map that first applies `first`, then `second`. */
export function compose(second, first) {
  const [a, b, c, d, e, f] = second;
  const [xx, xy, x0, yx, yy, y0] = first;
  return [a * xx + b * yx, a * xy + b * yy, a * x0 + b * y0 + c, d * xx + e * yx, d * xy + e * yy, d * x0 + e * y0 + f];
}

export function invert(map) {
  const [xx, xy, x0, yx, yy, y0] = map;
  const size = determinant(map);
  const [a, b, d, e] = [yy / size, -xy / size, -yx / size, xx / size];
  return [a, b, -(a * x0 + b * y0), d, e, -(d * x0 + e * y0)];
}
