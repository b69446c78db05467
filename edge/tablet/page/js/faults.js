// Every fault of the device with the operator's words, said aloud once: what ended something is a banner, a note lies over the pictures and moves nothing.

import { h, say } from './dom.js';
import { has, t } from './i18n.js';

const ICONS = { note: 'ℹ', break: '✕', stop_recording: '●' };
const SHOWN_S = 12;

export class Faults {
  constructor() {
    this.element = h('div', { class: 'faults' });
    this.notes = h('div', { class: 'notes' });
    this.key = '';
    this.said = new Map();
  }

  update(faults) {
    const newest = new Map();
    for (const fault of faults) if (fault.age_s < SHOWN_S || fault.effect !== 'note') newest.set(fault.name, fault);
    const key = [...newest.keys()].join();
    if (key === this.key) return;
    this.key = key;
    const drawn = (wanted) => [...newest.values()].filter(wanted).map((fault) => h('div', { class: `fault ${fault.effect}`, title: fault.detail }, h('span', { 'aria-hidden': 'true' }, ICONS[fault.effect]), words(fault.name)));
    this.element.replaceChildren(...drawn((fault) => fault.effect !== 'note'));
    this.notes.replaceChildren(...drawn((fault) => fault.effect === 'note'));
    for (const fault of newest.values()) if (!this.said.has(fault.name)) say(words(fault.name), fault.effect !== 'note');
    this.said = newest;
  }
}

export const words = (name) => (has(`fault.${name}`) ? t(`fault.${name}`) : name);
export const refusal = (wrong) => (has(`error.${wrong.error}`) ? t(`error.${wrong.error}`) : wrong.text ?? wrong.error ?? String(wrong));
