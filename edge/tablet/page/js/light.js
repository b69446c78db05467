// Which wavelength of light is shown: one choice for the live image and for the volume, by its nm. 0: the probe does not tell it.

import { h } from './dom.js';
import { number, t } from './i18n.js';

export const name = (nm) => (nm ? t('light.nm', { nm: number(nm) }) : t('light.untold'));

export class Light {
  #asked; // nm; null: none of them; undefined: nobody has chosen, so the shortest
  #live = new Set(); // nm of the images that came
  #channels = new Map(); // nm -> channel of the volume
  #rows = [];

  /** `onchange()`: another one is shown. */
  constructor(onchange) {
    this.onchange = onchange;
  }

  /** nm of what is shown, or null. Where the chosen one is not, nothing else passes for it. */
  get nm() {
    return this.#asked === undefined ? this.#known[0] ?? null : this.#asked;
  }

  /** Its channel of the volume; 0 where it has none. */
  get channel() {
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

  /** The volume's: [[channel, nm], ...]. */
  holds(channels) {
    this.#channels = new Map(channels.map(([channel, nm]) => [nm, channel]));
    this.#changed();
  }

  choose(nm) {
    this.#asked = nm;
    this.#changed();
  }

  /** A row of buttons, one for each wavelength; hidden while there is no light. */
  row() {
    const row = h('div', { class: 'light', role: 'group', 'aria-label': t('light.title'), hidden: true });
    this.#rows.push(row);
    return row;
  }

  #changed() {
    const known = this.#known;
    const told = JSON.stringify([known, this.nm]);
    if (told !== this.told) {
      this.told = told;
      for (const row of this.#rows) {
        row.hidden = !known.length;
        row.replaceChildren(...[...known, null].map((nm) => h('button', { class: 'chip', type: 'button', 'aria-pressed': String(nm === this.nm), onclick: () => this.choose(nm) },
          nm === null ? t('light.off') : name(nm))));
      }
    }
    this.onchange();
  }
}
