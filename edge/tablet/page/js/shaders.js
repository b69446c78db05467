// GLSL. One ray-marching program per mode: with the mode as a uniform the first version was four times slower.
import { OXYGEN_PERCENT } from "./presets.js";
import { BETWEEN } from "./unmixing.js";

const float = (value) => value.toFixed(1);
const [LOW, HIGH] = OXYGEN_PERCENT;

/** Shared by all that draw voxels: what was interpolated or filled is bluish, and hatched, in every mode. */
const INVENTED = `
vec3 invented(vec3 colour, float state, float hatch) {
  if (state < 1.5) return colour;
  float line = step(fract(hatch), 0.4);
  return state < 2.5 ? colour * vec3(0.55, 0.82, 1.12) + vec3(0.0, 0.025, 0.07) * line + vec3(0.0, 0.01, 0.04)
                     : colour * vec3(0.38, 0.60, 1.15) + vec3(0.0, 0.040, 0.13) * line + vec3(0.0, 0.01, 0.06);
}
vec3 oxygenMap(float percent) {  // as oxygenColour of presets.js
  float share = clamp((percent - ${float(LOW)}) / ${float(HIGH - LOW)}, 0.0, 1.0);
  return clamp(vec3(1.6 * share, 0.35 - 0.7 * abs(share - 0.5), 1.6 - 1.6 * share), 0.0, 1.0);
}
vec3 oxygen(float code, float hatch) {  // what was interpolated is hatched darker: its colour stays that of the bar
  return oxygenMap(mod(code, ${float(BETWEEN)}) - 1.0) * (code > ${float(BETWEEN - 0.5)} ? 1.0 - 0.35 * step(fract(hatch), 0.3) : 1.0);
}
vec3 photoMap(float v) { return clamp(vec3(2.2 * v, 2.2 * v - 0.75, 3.6 * v - 2.7), 0.0, 1.0); }
`;

export const SQUARE = `
uniform vec2 uSize;
out vec2 vPixel;  // CSS px from the view's top left
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0;
  vPixel = vec2(corner.x, 1.0 - corner.y) * uSize;
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;

export const RAYS = `
uniform vec3 uForward, uAcross, uUpward;
out vec3 vRay;  // as long as its depth
void main() {
  vec2 clip = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0;
  vRay = uForward + clip.x * uAcross + clip.y * uUpward;
  gl_Position = vec4(clip, 0.0, 1.0);
}`;

/**
 * mode -> how it goes along the ray. `step` in voxels; `bar`: a brick is passed over unless something in it is brighter; `sample`: what a
 * sample \`v\` at \`p\` does; \`done\`: nothing behind can be seen; \`part\`: after what is before the live image, and after what is behind it.
 */
const MODES = {
  mip: {
    step: 1,
    bar: "best",
    sample: "if (v > best) { float s = stateAt(p); if (s > 0.5 && s < uMost) { best = v; tag = s; } }",
    done: "best > 0.998",
    part: "shades[part] = invented(vec3(windowed(best)), tag, (gl_FragCoord.x + gl_FragCoord.y) / 5.0); best = 0.0; tag = 1.0;",
    end: "vec3 seen = max(shades[0], mix(shades[1], picture.rgb, picture.a)); sum = vec4(seen, max(picture.a, smoothstep(0.0, 0.2, seen.b)));",
  },
  alpha: {
    step: 0.75,
    bar: "uBar",
    sample: `vec4 c = texture(uTable, vec2((v * 255.0 + 0.5) / 256.0, 0.5));
      if (c.a > 0.002) {
        float s = stateAt(p);
        if (s > 0.5 && s < uMost) {
          float ahead = texture(uVoxels, (p - ray * 1.5 + uLight) * uScale).r;
          float light = clamp(0.78 + 1.6 * (v - ahead), 0.35, 1.15);
          float a = 1.0 - pow(1.0 - c.a, STEP * uMm);
          sum += (1.0 - sum.a) * vec4(invented(c.rgb * light, s, 1.0) * a, a);
          if (depthT < 0.0 && sum.a > 0.6) depthT = t;
        }
      }`,
    done: "sum.a > 0.985",
    part: "if (part == 0) sum += (1.0 - sum.a) * vec4(picture.rgb * picture.a, picture.a);",
    end: "",
  },
  iso: {
    step: 1,
    bar: "uBar",
    sample: `if (v >= uBar) {
        float s = stateAt(p);
        if (s > 0.5 && s < uMost) {
          float near = max(t - STEP, start), far = t;
          for (int i = 0; i < 5; i++) { float mid = 0.5 * (near + far); if (at(mid) >= uBar) far = mid; else near = mid; }
          vec3 q = uEye + ray * far;
          vec3 normal = -normalize(slope(q) + ray * 1e-4);
          float within = stateAt(q - normal * 0.5);  // the surface is that of the brighter of two voxels
          if (within > 0.5) s = within;
          if (s < uMost) {
            float facing = abs(dot(normal, ray));
            float lit = max(dot(normal, normalize(uLight - ray)), 0.0);
            vec3 colour = vec3(0.93, 0.77, 0.64) * (0.16 + 0.34 * facing + 0.56 * lit) + 0.22 * pow(lit, 24.0);
            colour *= 1.0 - 0.35 * smoothstep(0.0, 1.0, (far - start) * uFade);
            sum += (1.0 - sum.a) * vec4(invented(colour, s, (q.x + q.y + q.z) * uMm / 1.2), 1.0);
            depthT = far;
          }
        }
      }`,
    done: "sum.a > 0.985",
    part: "if (part == 0) sum += (1.0 - sum.a) * vec4(picture.rgb * picture.a, picture.a);",
    end: "",
  },
};

/** What of light is drawn over it all: the brightest on the way, or the saturation there (texels: see unmixing.js). `sample`: at `p`. */
const PHOTOS = {
  light: {
    sample: "glow = max(glow, texture(uPhoto, p * uScale).r);",
    end: "float g = clamp((glow - uPhotoWindow.x) / (uPhotoWindow.y - uPhotoWindow.x), 0.0, 1.0), o = smoothstep(0.0, 0.35, g); sum = mix(sum, vec4(photoMap(0.15 + 0.85 * g), 1.0), o);",
  },
  oxygen: {
    sample: "vec2 o = texelFetch(uPhoto, ivec3(p), 0).rg; if (o.r > glow && (uMost > 3.0 || o.g < 0.5)) { glow = o.r; code = floor(o.g * 255.0 + 0.5); }",
    end: "if (code > 0.5) sum = vec4(oxygen(code, (gl_FragCoord.x + gl_FragCoord.y) / 5.0), 1.0);",
  },
};

/** The fragment shader of a mode; `photo`: one of PHOTOS, or false. Space is texels of the volume, except for the live image, which has pixels. */
export function march(mode, photo) {
  const { step, bar, sample, done, part, end } = MODES[mode];
  return `
#define STEP ${step.toFixed(2)}
uniform sampler3D uVoxels, uStates, uSkip, uPhoto;
uniform sampler2D uTable, uImage;
uniform vec3 uEye, uScale, uLow, uHigh, uLight, uImageOrigin;
uniform vec2 uWindow, uPhotoWindow, uImageSize, uDepth;
uniform mat3 uImageFrom;  // texels from uImageOrigin -> pixel across, pixel down, texels off the image
uniform float uBrick, uMost, uBar, uMm, uFade;
uniform bool uHasImage;
in vec3 vRay;
out vec4 oColour;
${INVENTED}
float stateAt(vec3 p) { return floor(texelFetch(uStates, ivec3(p), 0).r * 255.0 + 0.5); }
float windowed(float v) { return clamp((v - uWindow.x) / max(uWindow.y - uWindow.x, 1e-3), 0.0, 1.0); }
vec3 ray;
float at(float t) { return texture(uVoxels, (uEye + ray * t) * uScale).r; }
vec3 slope(vec3 p) {
  vec3 d = vec3(1.25, 0.0, 0.0);
  return vec3(texture(uVoxels, (p + d.xyy) * uScale).r - texture(uVoxels, (p - d.xyy) * uScale).r,
              texture(uVoxels, (p + d.yxy) * uScale).r - texture(uVoxels, (p - d.yxy) * uScale).r,
              texture(uVoxels, (p + d.yyx) * uScale).r - texture(uVoxels, (p - d.yyx) * uScale).r);
}
void main() {
  float longer = length(vRay);
  ray = vRay / longer;
  vec3 per = 1.0 / (ray + vec3(equal(ray, vec3(0.0))) * 1e-7);
  vec3 a = (uLow - uEye) * per, b = (uHigh - uEye) * per;
  vec3 first = min(a, b), last = max(a, b);
  float start = max(max(first.x, first.y), max(first.z, 0.0)), stop = min(last.x, min(last.y, last.z));
  vec4 sum = vec4(0.0), picture = vec4(0.0);
  vec3 shades[2] = vec3[2](vec3(0.0), vec3(0.0));
  float depthT = -1.0, planeT = 1e9, best = 0.0, tag = 1.0, glow = 0.0, code = 0.0;
  if (uHasImage) {
    vec3 from = uImageFrom * (uEye - uImageOrigin), way = uImageFrom * ray;
    float t = -from.z / way.z;
    vec2 uv = (from.xy + way.xy * t + 0.5) / uImageSize;
    if (t > 0.0 && all(greaterThanEqual(uv, vec2(0.0))) && all(lessThanEqual(uv, vec2(1.0)))) {
      float grey = texture(uImage, uv).r;
      planeT = t;
      picture = vec4(vec3(grey), mix(0.55, 0.97, smoothstep(0.0, 0.08, grey)));
    }
  }
  float t = start + STEP * ${mode === "alpha" ? "fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715))))" : "0.5"};
  for (int part = 0; part < 2; part++) {
    float until = part == 0 ? min(planeT, stop) : stop;
    for (int hop = 0; hop < 2048 && t < until; hop++) {
      vec3 brick = floor((uEye + ray * t) / uBrick);
      vec3 exits = ((brick + step(vec3(0.0), ray)) * uBrick - uEye) * per;
      float leave = min(max(min(exits.x, min(exits.y, exits.z)), t + 1e-3), until);
      vec2 most = texelFetch(uSkip, ivec3(brick), 0).rg;
      if (most.r >= ${bar} && most.r > 0.0${photo ? " || most.g > glow" : ""}) {
        for (; t < leave; t += STEP) {
          vec3 p = uEye + ray * t;
          float v = ${mode === "iso" ? "" : "uMost < 3.0 ? texelFetch(uVoxels, ivec3(p), 0).r : "}texture(uVoxels, p * uScale).r;  // hidden neighbours do not count
          ${sample}
          ${photo ? PHOTOS[photo].sample : ""}
          if (${done}) break;
        }
        if (${done}) break;
      } else t += ceil((leave - t) / STEP) * STEP;
    }
    ${part}
    if (${done}) break;
  }
  ${end}
  if (depthT < 0.0 && picture.a > 0.0) depthT = planeT;
  ${photo ? PHOTOS[photo].end : ""}
  oColour = sum;
  float w = depthT * uMm / longer;  // depth in mm along the line of sight
  gl_FragDepth = depthT < 0.0 ? 1.0 : clamp(0.5 + 0.5 * (uDepth.x - uDepth.y / w), 0.0, 1.0);
}`;
}

/** What was marched (perhaps at half resolution) onto the background, with its depth, so that lines are hidden by it. */
export const COMPOSITE = `
uniform sampler2D uColour, uDepths;
uniform vec2 uSize;
in vec2 vPixel;
out vec4 oColour;
void main() {
  vec2 uv = vec2(vPixel.x, uSize.y - vPixel.y) / uSize;
  vec4 c = texture(uColour, uv);
  vec3 behind = mix(vec3(0.043, 0.055, 0.071), vec3(0.012, 0.016, 0.022), smoothstep(0.1, 0.9, length(uv - 0.5)));
  oColour = vec4(c.rgb + behind * (1.0 - c.a), 1.0);
  gl_FragDepth = texture(uDepths, uv).r;
}`;

/** A plane through the voxels. Between voxels only those count that are not empty: never-scanned space must not darken its neighbours. */
export const SLICE = `
uniform sampler3D uVoxels, uStates, uPhoto;
uniform vec3 uOrigin, uAcross, uDown, uScale;  // texels: of the view's top left, per px
uniform ivec3 uDims, uA, uB, uNormal;
uniform vec2 uWindow, uPhotoWindow;
uniform bool uLinear, uHasPhoto, uOxygen;
in vec2 vPixel;
out vec4 oColour;
${INVENTED}
void main() {
  vec3 p = uOrigin + uAcross * vPixel.x + uDown * vPixel.y;
  vec3 n = vec3(uNormal);
  p = p * (1.0 - n) + (floor(p) + 0.5) * n;
  ivec3 here = ivec3(floor(p));
  vec2 tile = floor(vPixel / 7.0);
  vec3 never = mod(tile.x + tile.y, 2.0) < 0.5 ? vec3(0.071, 0.082, 0.102) : vec3(0.043, 0.051, 0.067);
  bool outside = any(lessThan(here, ivec3(0))) || any(greaterThanEqual(here, uDims));
  float state = outside ? 0.0 : floor(texelFetch(uStates, here, 0).r * 255.0 + 0.5);
  vec3 colour = never;
  if (state > 0.5) {
    float v = texelFetch(uVoxels, here, 0).r;
    if (uLinear) {
      vec3 q = p - 0.5, f = fract(q);
      ivec3 base = ivec3(floor(q));
      vec2 g = vec2(dot(f, vec3(uA)), dot(f, vec3(uB))), total = vec2(0.0);
      for (int corner = 0; corner < 4; corner++) {
        ivec2 o = ivec2(corner & 1, corner >> 1);
        ivec3 c = base + uA * o.x + uB * o.y;
        if (any(lessThan(c, ivec3(0))) || any(greaterThanEqual(c, uDims)) || texelFetch(uStates, c, 0).r == 0.0) continue;
        float w = (o.x == 1 ? g.x : 1.0 - g.x) * (o.y == 1 ? g.y : 1.0 - g.y);
        total += vec2(w * texelFetch(uVoxels, c, 0).r, w);
      }
      v = total.x / total.y;
    }
    float shade = clamp((v - uWindow.x) / max(uWindow.y - uWindow.x, 1e-3), 0.0, 1.0);
    float hatch = state < 2.5 ? (vPixel.x + vPixel.y) / 6.0 : (vPixel.x - vPixel.y) / 4.0;
    colour = invented(vec3(shade), state, hatch);
  }
  if (uHasPhoto && uOxygen && !outside) {
    float code = floor(texelFetch(uPhoto, here, 0).g * 255.0 + 0.5);
    if (code > 0.5) colour = oxygen(code, (vPixel.x + vPixel.y) / 6.0);
  } else if (uHasPhoto && !outside) {
    float g = clamp((texture(uPhoto, p * uScale).r - uPhotoWindow.x) / (uPhotoWindow.y - uPhotoWindow.x), 0.0, 1.0);
    colour = mix(colour, photoMap(0.15 + 0.85 * g), smoothstep(0.0, 0.35, g));
  }
  oColour = vec4(colour, 1.0);
}`;

/** Lines with a width: a quad for each, smooth at its edges. */
export const LINE = `
uniform mat4 uMatrix;
uniform vec2 uSize;
layout(location = 0) in vec3 aFrom;
layout(location = 1) in vec3 aTo;
layout(location = 2) in vec4 aColour;
layout(location = 3) in float aWidth;
out vec4 vColour;
out vec2 vAcross;  // px off the middle, half the width
void main() {
  vec4 from = uMatrix * vec4(aFrom, 1.0), to = uMatrix * vec4(aTo, 1.0);
  vec2 a = from.xy / from.w * uSize * 0.5, b = to.xy / to.w * uSize * 0.5;
  vec2 way = length(b - a) > 1e-4 ? normalize(b - a) : vec2(1.0, 0.0);
  vec2 side = vec2(-way.y, way.x) * (float(gl_VertexID & 1) * 2.0 - 1.0);
  bool end = gl_VertexID > 1;
  float wide = aWidth * 0.5 + 0.75;
  vec4 at = end ? to : from;
  at.xy += (side + way * (end ? 0.5 : -0.5)) * wide / uSize * 2.0 * at.w;
  gl_Position = at;
  vAcross = vec2((float(gl_VertexID & 1) * 2.0 - 1.0) * wide, aWidth * 0.5);
  vColour = aColour;
}`;
export const LINE_COLOUR = `
uniform float uFaint;
in vec4 vColour;
in vec2 vAcross;
out vec4 oColour;
void main() {
  float a = vColour.a * uFaint * clamp(vAcross.y + 0.5 - abs(vAcross.x), 0.0, 1.0);
  oColour = vec4(vColour.rgb * a, a);
}`;

export const LABEL = `
uniform vec2 uSize, uAt, uExtent;  // px
out vec2 vUv;
void main() {
  vUv = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  vec2 px = uAt + vUv * uExtent;
  gl_Position = vec4(px.x / uSize.x * 2.0 - 1.0, 1.0 - px.y / uSize.y * 2.0, 0.0, 1.0);
}`;
export const LABEL_COLOUR = `
uniform sampler2D uText;
in vec2 vUv;
out vec4 oColour;
void main() { oColour = texture(uText, vUv); }`;
