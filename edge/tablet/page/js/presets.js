// Transfer presets: how bright a voxel must be to be seen, and in which colour.

/** name -> points [brightness within the window 0..1, red, green, blue 0..1, opacity per mm 0..1], from dark to bright. */
export const PRESETS = {
  soft_tissue: [
    [0.0, 0.25, 0.12, 0.1, 0.0],
    [0.16, 0.35, 0.17, 0.14, 0.0],
    [0.38, 0.72, 0.42, 0.34, 0.1],
    [0.62, 0.93, 0.7, 0.56, 0.34],
    [0.85, 1.0, 0.9, 0.8, 0.72],
    [1.0, 1.0, 0.98, 0.95, 0.92],
  ],
  // Blood is dark in a B-mode image: the lumen is coloured, tissue is a haze, bright walls remain.
  vessel: [
    [0.0, 0.5, 0.02, 0.03, 0.0],
    [0.02, 0.7, 0.04, 0.05, 0.42],
    [0.12, 0.86, 0.1, 0.09, 0.38],
    [0.24, 0.75, 0.25, 0.2, 0.02],
    [0.55, 0.62, 0.55, 0.5, 0.015],
    [0.8, 0.95, 0.85, 0.75, 0.1],
    [1.0, 1.0, 0.95, 0.85, 0.4],
  ],
  bone: [
    [0.0, 0.5, 0.42, 0.34, 0.0],
    [0.55, 0.6, 0.5, 0.4, 0.0],
    [0.7, 0.86, 0.78, 0.64, 0.35],
    [0.85, 0.98, 0.93, 0.83, 0.9],
    [1.0, 1.0, 0.99, 0.95, 0.97],
  ],
};

/** 256 x RGBA of one preset with its window (0..255) applied, for a texture and for picking. */
export function table(points, [low, high]) {
  const rows = new Uint8Array(4 * 256);
  for (let intensity = 0; intensity < 256; intensity++) {
    const at = Math.min(Math.max((intensity - low) / Math.max(high - low, 1), 0), 1);
    const next = Math.max(
      points.findIndex(([to]) => to >= at),
      1,
    );
    const [from, to] = [points[next - 1], points[next]];
    const share = (at - from[0]) / (to[0] - from[0]);
    for (let part = 0; part < 4; part++) rows[4 * intensity + part] = Math.round(255 * (from[part + 1] + share * (to[part + 1] - from[part + 1])));
  }
  return rows;
}

/** The darkest intensity that can be seen at all. */
export const firstSeen = (rows) => {
  for (let intensity = 0; intensity < 256; intensity++) if (rows[4 * intensity + 3]) return intensity;
  return 256;
};

/** Percent of saturation that the ends of its colours stand for; below the first all is as blue. As in edge/vessel_picture.py. */
export const OXYGEN_PERCENT = [40, 100];

/** [red, green, blue] 0..1 of a saturation in percent; the same as `oxygenMap` of the shaders. */
export function oxygenColour(percent) {
  const [low, high] = OXYGEN_PERCENT;
  const share = Math.min(Math.max((percent - low) / (high - low), 0), 1);
  return [1.6 * share, 0.35 - 0.7 * Math.abs(share - 0.5), 1.6 - 1.6 * share].map((part) => Math.min(Math.max(part, 0), 1));
}

/** Black and white of photoacoustic light, 0..255. */
export const PHOTO_WINDOW = [30, 220];

/** 256 words RGBA (little endian) of photoacoustic light; the same as `photoMap` of the shaders, clear below the window. */
export function photoTable([low, high]) {
  const bytes = new Uint8ClampedArray(4 * 256);
  for (let value = 0; value < 256; value++) {
    const light = Math.min(Math.max((value - low) / (high - low), 0), 1);
    const [v, share] = [0.15 + 0.85 * light, Math.min(light / 0.35, 1)];
    bytes.set([255 * 2.2 * v, 255 * (2.2 * v - 0.75), 255 * (3.6 * v - 2.7), 255 * share * share * (3 - 2 * share)], 4 * value);
  }
  return new Uint32Array(bytes.buffer);
}
