// Oxygen saturation in review: its colours in percent, of which wavelengths, how far to trust it, and the value under the crosshair.

import { MEASURED } from './bricks.js';
import { h, setText, show } from './dom.js';
import { number, t } from './i18n.js';
import { name } from './light.js';
import { OXYGEN_PERCENT, oxygenColour } from './presets.js';

const [LOW, HIGH] = OXYGEN_PERCENT;
const percent = (value) => t('oxygen.percent', { percent: number(value) });
const css = (value) => `rgb(${oxygenColour(value).map((part) => Math.round(255 * part)).join(' ')})`;

export class Oxygen {
  #told = null;
  #asking = false;
  #again = false;

  constructor({ scene, volume, light }) {
    Object.assign(this, { scene, volume, light });
    this.ticks = [t('oxygen.below', { percent: number(LOW) }), percent((LOW + HIGH) / 2), percent(HIGH)];
    this.title = h('strong');
    this.bar = h('div', { class: 'oxygen-bar', 'aria-hidden': 'true' });
    const stops = Array.from({ length: 13 }, (_, n) => css(LOW + (n / 12) * (HIGH - LOW)));
    this.bar.style.background = `linear-gradient(to right, ${stops.join(', ')})`;
    this.value = h('p', { class: 'number' });
    this.shown = h('div', {}, this.bar, h('div', { class: 'oxygen-ticks' }, this.ticks.map((text) => h('span', {}, text))), this.value,
      h('p', { class: 'warn' }, t('oxygen.caveat')), h('p', { class: 'fine' }, t('oxygen.masked')));
    this.element = h('section', { class: 'oxygen', hidden: true }, this.title, this.shown);
    scene.oncross = () => this.ask();
    volume.addEventListener('changed', () => this.ask());
  }

  /** Another light is shown, or another screen. */
  update() {
    const told = (this.#told = this.light.oxygen);
    show(this.element, told !== null);
    show(this.shown, Boolean(told?.channels.length));
    const nm = (told?.wavelengths_nm ?? []).map(name).join(', ');
    setText(this.title, t(told?.channels.length ? 'oxygen.title' : 'oxygen.refused', { nm }));
    const legend = { title: t('oxygen.title', { nm }), ticks: this.ticks, text: t('oxygen.caveat') };
    this.scene.view3d.legend = told?.channels.length ? legend : null;
    this.say('', '');
    this.ask();
  }

  /** The value under the crosshair, again and again while it moves. */
  async ask() {
    this.#again = true;
    if (this.#asking || !this.#told?.channels.length) return;
    this.#asking = true;
    while (this.#again) {
      this.#again = false;
      const [told, point_mm] = [this.#told, this.scene.cross_mm];
      const found = await this.volume.oxygen(point_mm);
      if (told !== this.#told || point_mm.some((mm, axis) => mm !== this.scene.cross_mm[axis])) this.#again = this.#told !== null;
      else if (found) this.say(...this.#words(found));
    }
    this.#asking = false;
  }

  #words({ percent: value, state, why, nm, grey }) {
    if (value === undefined) {
      const reason = why === 'unseen' && !this.volume.whole ? 'coming' : why; // what did not come yet may still have been imaged
      return [t('oxygen.none'), t(`oxygen.why.${reason}`, { nm: name(nm), grey: number(grey ?? 0), threshold: number(this.#told.threshold) })];
    }
    return [percent(value), state === MEASURED ? t('oxygen.measured') : t('oxygen.interpolated')];
  }

  /** Beside the crosshair in short, in the panel with the reason. */
  say(short, why) {
    if (this.scene.told !== short) Object.assign(this.scene, { told: short }).touch();
    setText(this.value, short && t('oxygen.at', { value: short, why }));
  }
}
