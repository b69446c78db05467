// Which light is shown: one wavelength for the live image and for the volume, by its nm (0: the probe does not tell it), or in review the oxygen.

import { h } from './dom.js';
import { number, t } from './i18n.js';
import { OXYGEN } from './unmixing.js';

export const name = (nm) => (nm ? t('light.nm', { nm: number(nm) }) : t('light.untold'));

export class Light {
  reviewing = false; // what is live shows no oxygen: light of one wavelength is always newer than that of another
  #asked; // nm; null: none of them; undefined: nobody has chosen, so the shortest
  #oxygen = false; // asked for instead
  #told = null; // what the device says of unmixing these wavelengths; null where there are not two
  #live = new Set(); // nm of the images that came
  #channels = new Map(); // nm -> channel of the volume
  #rows = []; // [row, whether it is of the review]

  /** `onchange()`: another one is shown. */
  constructor(onchange) {
    this.onchange = onchange;
  }

  /** nm of what is shown, or null. Where the chosen one is not, nothing else passes for it. */
  get nm() {
    return this.#asked === undefined ? this.#known[0] ?? null : this.#asked;
  }

  /** What the device says of unmixing, while oxygen is what is shown; else null. */
  get oxygen() {
    return this.#oxygen && this.reviewing ? this.#told : null;
  }

  /** Of the volume: that of the wavelength, or of the oxygen; 0 where it has none. */
  get channel() {
    if (this.oxygen) return this.oxygen.channels.length ? OXYGEN : 0;
    return this.#channels.get(this.nm) ?? 0;
  }

  get #known() {
    return [...new Set([...this.#channels.keys(), ...this.#live])].sort((a, b) => a - b);
  }

  /** A live image of this wavelength came. */
  came(nm) {
    if (this.#live.has(nm)) return;
    this.#live.add(nm);
    this.#changed();
  }

  /** The volume's: [[channel, nm], ...], and how they are unmixed (`light` of docs/tablet-link.md). */
  holds(channels, oxygen) {
    this.#channels = new Map(channels.map(([channel, nm]) => [nm, channel]));
    this.#told = oxygen;
    this.#oxygen &&= oxygen !== null;
    this.#changed();
  }

  choose(nm) {
    this.#oxygen = nm === OXYGEN;
    if (!this.#oxygen) this.#asked = nm;
    this.#changed();
  }

  /** A row of buttons, one for each wavelength, and in `review` one for oxygen where there are two; hidden while there is no light. */
  row({ review = false } = {}) {
    const row = h('div', { class: 'light', role: 'group', 'aria-label': t('light.title'), hidden: true });
    this.#rows.push([row, review]);
    return row;
  }

  #changed() {
    const known = this.#known;
    const told = JSON.stringify([known, this.nm, this.#oxygen, this.#told !== null]);
    if (told !== this.told) {
      this.told = told;
      for (const [row, review] of this.#rows) {
        row.hidden = !known.length;
        const shown = review && this.#oxygen ? OXYGEN : this.nm;
        const words = (one) => (one === null ? t('light.off') : one === OXYGEN ? t('light.oxygen') : name(one));
        const all = [...known, ...(review && this.#told ? [OXYGEN] : []), null];
        row.replaceChildren(...all.map((one) => h('button', { class: one === OXYGEN ? 'chip of-oxygen' : 'chip', type: 'button', 'aria-pressed': String(one === shown), onclick: () => this.choose(one) }, words(one))));
      }
    }
    this.onchange();
  }
}
