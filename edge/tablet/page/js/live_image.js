// The live image: true to millimetres, with a depth ruler and the probe's marker; covered with words as soon as it is not live.

import { h, setText, show } from './dom.js';
import { clock, t } from './i18n.js';
import { PHOTO_WINDOW, photoTable } from './presets.js';

export const STALE_MS = 1000;

// Light as the volume shows it: the same colours and window, clear where there is none.
const PHOTO = photoTable(PHOTO_WINDOW);

function tinted(bitmap, canvas = document.createElement('canvas')) {
  Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  pen.drawImage(bitmap, 0, 0);
  const image = pen.getImageData(0, 0, canvas.width, canvas.height);
  const words = new Uint32Array(image.data.buffer);
  for (let i = 0; i < words.length; i++) words[i] = PHOTO[words[i] & 255];
  pen.putImageData(image, 0, 0);
  return canvas;
}

export class LiveImage {
  /** `light`: see Light. */
  constructor(light) {
    this.light = light;
    this.lights = light.row();
    this.canvas = h('canvas', { class: 'live-canvas', role: 'img', 'aria-label': t('live.image') });
    this.word = h('div', { class: 'live-word' });
    this.cover = h('div', { class: 'live-cover', hidden: true }, h('strong'), h('span'));
    this.element = h('div', { class: 'live-image' }, this.canvas, this.word, this.lights, this.cover);
    this.bitmap = null; // whoever made it closes it
    this.spacing_mm = null; // of that image: [lateral, axial]
    this.photos = new Map(); // nm -> {canvas, spacing_mm, shown}: the newest photoacoustic image of each wavelength, in its own colours
    this.shown = -Infinity;
    this.shown_at = null;
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  take(image, now = performance.now()) {
    if (image.photoacoustic) {
      const { wavelength_nm: nm } = image;
      this.photos.set(nm, { canvas: tinted(image.bitmap, this.photos.get(nm)?.canvas), spacing_mm: image.spacing_mm, shown: now });
      this.light.came(nm);
    } else {
      this.shown = now;
      this.shown_at = new Date();
      this.bitmap = image.bitmap;
      this.spacing_mm = image.spacing_mm;
    }
    this.draw();
  }

  // live: the `live` of state or null; linked: the link is open; called at every state and every 200 ms.
  update(live, linked, now = performance.now()) {
    const frozen = Boolean(live?.frozen);
    const stale = now - this.shown > STALE_MS && !frozen;
    const why = !linked ? 'live.link_lost' : stale || !live ? 'live.no_images' : '';
    this.element.dataset.live = why ? 'stale' : frozen ? 'frozen' : 'live';
    show(this.cover, Boolean(why));
    if (why) {
      setText(this.cover.children[0], t(why));
      setText(this.cover.children[1], this.shown_at ? t('live.frozen_at', { time: clock(this.shown_at) }) : '');
    }
    setText(this.word, why ? '' : t(frozen ? 'live.frozen' : 'live.live'));
    return why;
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const pen = this.canvas.getContext('2d');
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = '#000';
    pen.fillRect(0, 0, width, height);
    if (!this.bitmap?.width) return;
    const [lateral, axial] = this.spacing_mm;
    const wide_mm = this.bitmap.width * lateral;
    const deep_mm = this.bitmap.height * axial;
    const scale = Math.min((width - 56) / wide_mm, (height - 24) / deep_mm);
    const left = (width - 40 - wide_mm * scale) / 2;
    const top = 14;
    pen.drawImage(this.bitmap, left, top, wide_mm * scale, deep_mm * scale);
    const photo = this.photos.get(this.light.nm);
    if (photo && this.shown - photo.shown < STALE_MS && this.fits(photo)) {
      pen.drawImage(photo.canvas, left, top, wide_mm * scale, deep_mm * scale);
    }
    this.ruler(pen, left + wide_mm * scale + 6, top, deep_mm, scale);
    pen.fillStyle = '#f5b73b'; // the marked side is where lateral ends: MF images run from unmarked to marked
    pen.beginPath();
    pen.arc(left + wide_mm * scale, 7, 5, 0, 2 * Math.PI);
    pen.fill();
  }

  // Of other pixels, nobody here knows where it lies.
  fits({ canvas, spacing_mm }) {
    return canvas.width === this.bitmap.width && canvas.height === this.bitmap.height && spacing_mm.every((mm, axis) => mm === this.spacing_mm[axis]);
  }

  ruler(pen, x, top, deep_mm, scale) {
    pen.strokeStyle = pen.fillStyle = '#c6d2de';
    pen.font = '13px system-ui, sans-serif';
    pen.textBaseline = 'middle';
    pen.lineWidth = 1;
    pen.beginPath();
    for (let mm = 0; mm <= deep_mm; mm += 5) {
      const y = top + mm * scale;
      pen.moveTo(x, y);
      pen.lineTo(x + (mm % 10 ? 5 : 10), y);
      if (mm % 10 === 0 && mm) pen.fillText(String(mm / 10), x + 14, y);
    }
    pen.stroke();
    pen.fillText('cm', x + 12, top);
  }
}
