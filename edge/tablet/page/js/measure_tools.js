// Measuring on the slices and the 3D view: an SVG over the stage with points that can be dragged. Gestures go to the stage where no tool is chosen.

import { askText, h } from './dom.js';
import { number, t } from './i18n.js';
import { KINDS, measured, measuredVolume, slicesOf, stackedVolume } from './measuring.js';
import { Refused } from './refused.js';

const AXIS = { 'lateral-axial': 2, 'elevational-axial': 0, 'lateral-elevational': 1 };

export class MeasureTools {
  constructor(scene, { onchange, known, onrefused }) {
    this.scene = scene;
    scene.ondrawn = () => (this.measures.length || this.outlines.length || this.points.length) && this.draw(); // figures stay on what they measure
    this.onchange = onchange;
    this.onrefused = onrefused; // (wrong): what a finger asked for and does not get
    this.known = known; // () => ({path, spacing_mm})
    this.measures = [];
    this.undone = [];
    this.kind = '';
    this.points = [];
    this.outlines = [];
    this.svg = h('svg', { class: 'overlay', 'aria-label': t('measure.title') });
    this.svg.addEventListener('pointerdown', (event) => this.down(event));
  }

  choose(kind) {
    this.kind = kind;
    this.drag = null;
    this.points = [];
    this.outlines = [];
    this.svg.classList.toggle('active', Boolean(kind));
    this.draw();
  }

  views() {
    return [...this.scene.slices, this.scene.view3d].filter((view) => view.rect);
  }

  viewAt(x, y) {
    return this.views().find(({ rect }) => x >= rect.x && y >= rect.y && x < rect.x + rect.width && y < rect.y + rect.height);
  }

  async toMm(view, x, y) {
    return view.toMm ? view.toMm(x, y) : view.pick(x, y);
  }

  async down(event) {
    if (!this.kind) return;
    event.preventDefault();
    const box = this.svg.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const view = this.viewAt(x, y);
    const point = view && (await this.toMm(view, x, y));
    if (!point || !this.kind) return; // put away meanwhile
    if (!this.points.length && !this.outlines.length) this.view = view;
    if (this.kind === 'outline' && (view !== this.view || !view.toMm)) return this.onrefused(new Refused('OTHER_VIEW')); // all outlines of a volume are parallel
    this.points.push(point);
    const { most = 64 } = KINDS[this.kind] ?? {};
    this.draw();
    if (this.kind === 'note') await this.note();
    else if (this.points.length === most) this.finish();
  }

  async note() {
    const text = await askText(t('measure.note_text'), t('measure.done'), t('cancel'));
    if (text && this.points.length) this.add(measured('note', this.points, this.known(), text));
    this.points = [];
    this.draw();
  }

  get axis() {
    return AXIS[this.view?.plane] ?? 2;
  }

  // Ends an outline or a polygon.
  finish() {
    const { least = 3 } = KINDS[this.kind] ?? {};
    if (this.points.length < least) throw new Refused('FEW_POINTS');
    if (this.kind === 'outline') {
      slicesOf([...this.outlines, this.points], this.axis, this.known().spacing_mm);
      this.outlines.push(this.points);
      this.points = [];
    } else {
      this.add(measured(this.kind, this.points, this.known()));
      this.points = [];
    }
    this.draw();
  }

  finishVolume() {
    const ml = stackedVolume(this.outlines, this.axis, this.known().spacing_mm);
    this.add(measuredVolume(ml, this.outlines.flat(), this.known(), { outlines: this.outlines }));
    this.outlines = [];
    this.draw();
  }

  add(measure) {
    this.measures = [...this.measures, measure];
    this.undone = [];
    this.changed();
  }

  undo() {
    if (this.points.length) this.points.pop();
    else if (this.outlines.length) this.outlines.pop();
    else if (this.measures.length) {
      this.undone.push(this.measures.at(-1));
      this.measures = this.measures.slice(0, -1);
      this.changed();
    }
    this.draw();
  }

  get busy() {
    return Boolean(this.points.length || this.outlines.length || this.drag);
  }

  // By what the device has: the tool stays in the hand.
  replace(measures) {
    this.measures = measures;
    this.undone = [];
    this.draw();
  }

  load(measures) {
    this.measures = measures;
    this.choose('');
  }

  changed() {
    this.onchange(this.measures);
    this.draw();
  }

  place(point) {
    return this.views().map((view) => [view, view.project ? view.project(point) : view.toPixel(point)]).filter(([, at]) => at);
  }

  draw() {
    const drawn = [];
    for (const measure of this.measures) {
      const move = measure.kind === 'volume' ? null : (point, i) => this.move(measure, i, point); // its value is that of all outlines together
      const parts = measure.outlines ?? [measure.points_mm];
      parts.forEach((points, n) => drawn.push(...this.figure(points, measure.kind, n ? '' : label(measure), move)));
    }
    for (const outline of this.outlines) drawn.push(...this.figure(outline, 'area', ''));
    if (this.points.length) drawn.push(...this.figure(this.points, this.kind === 'outline' ? 'area' : this.kind, '', null, true));
    this.svg.replaceChildren(...drawn);
  }

  figure(points, kind, words, onmove = null, open = false) {
    return this.views().flatMap((view) => {
      const at = points.map((point) => (view.project ? view.project(point) : view.toPixel(point)));
      if (at.some((one) => !one)) return [];
      const away = view.plane && points.some((point) => Math.abs(point[view.normal] - this.scene.cross_mm[view.normal]) > 2 * this.known().spacing_mm);
      const look = away ? 'measure-line away' : 'measure-line'; // it lies in front of this slice or behind it
      const closed = (kind === 'area' || kind === 'volume') && !open;
      const line = h(closed ? 'polygon' : 'polyline', { points: at.map((one) => one.join()).join(' '), class: look });
      const text = words ? h('text', { x: at.at(-1)[0] + 12, y: at.at(-1)[1] - 10, class: 'measure-text' }, words) : null;
      const handles = at.map((one, i) => this.handle(view, one, onmove && ((point) => onmove(point, i))));
      return [line, ...handles, text].filter(Boolean);
    });
  }

  handle(view, [x, y], onmove) {
    const group = h('g', { class: 'handle' }, h('circle', { cx: x, cy: y, r: 22, class: 'touch' }), h('circle', { cx: x, cy: y, r: 6, class: 'dot' }));
    if (!onmove || !view.toMm) return group;
    group.addEventListener('pointerdown', (event) => {
      event.stopPropagation();
      event.preventDefault();
      const box = this.svg.getBoundingClientRect();
      const drag = (this.drag = {});
      const move = (at) => this.drag === drag && onmove(view.toMm(at.clientX - box.left, at.clientY - box.top));
      const up = () => {
        removeEventListener('pointermove', move);
        if (this.drag !== drag) return;
        this.drag = null;
        this.changed();
      };
      addEventListener('pointermove', move);
      addEventListener('pointerup', up, { once: true });
    });
    return group;
  }

  move(measure, i, point) {
    const points = measure.points_mm.map((one, k) => (k === i ? point : one));
    Object.assign(measure, measured(measure.kind, points, this.known(), measure.text));
    this.draw();
  }
}

export function label(measure) {
  if (measure.kind === 'note') return measure.text;
  const digits = measure.unit === 'deg' ? 0 : 1;
  return t('measure.value', { value: number(measure.value, digits), unit: t(`unit.${measure.unit}`), sigma: Number.isFinite(measure.uncertainty) ? number(measure.uncertainty, digits) : '?' });
}
