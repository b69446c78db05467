// Every fault of the device with the operator's words: a banner by effect, said aloud once.

import { h, say } from './dom.js';
import { has, t } from './i18n.js';

const ICONS = { note: 'ℹ', break: '✕', stop_recording: '●' };
const SHOWN_S = 12;

export class Faults {
  constructor() {
    this.element = h('div', { class: 'faults' });
    this.key = '';
    this.said = new Map();
  }

  update(faults) {
    const newest = new Map();
    for (const fault of faults) if (fault.age_s < SHOWN_S || fault.effect !== 'note') newest.set(fault.name, fault);
    const key = [...newest.keys()].join();
    if (key === this.key) return;
    this.key = key;
    this.element.replaceChildren(...[...newest.values()].map((fault) =>
      h('div', { class: `fault ${fault.effect}`, title: fault.detail }, h('span', { 'aria-hidden': 'true' }, ICONS[fault.effect]), words(fault.name))));
    for (const fault of newest.values()) if (!this.said.has(fault.name)) say(words(fault.name), fault.effect !== 'note');
    this.said = newest;
  }
}

export const words = (name) => (has(`fault.${name}`) ? t(`fault.${name}`) : name);
export const refusal = (wrong) => (has(`error.${wrong.error}`) ? t(`error.${wrong.error}`) : wrong.text ?? wrong.error ?? String(wrong));
