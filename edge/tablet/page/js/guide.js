// The guide of the hand: speed gauge with a fixed green zone, coverage along the path, drift.

import { h, setText } from './dom.js';
import { drift, number, t } from './i18n.js';

const ICONS = { ok: '✓', fast: '▲', too_fast: '▲▲', stopped: '■', no_contact: '◌', none: '·' };
const GAUGE_END = 3; // times the limit

export class Guide {
  constructor() {
    this.needle = h('div', { class: 'needle' });
    this.word = h('div', { class: 'verdict' }, h('span', { 'aria-hidden': 'true' }), h('strong'));
    this.speed = h('span', { class: 'number' });
    this.strip = h('div', { class: 'coverage', role: 'img' });
    this.length = h('span', { class: 'number' });
    this.drift = h('span', { class: 'number' });
    this.element = h('section', { class: 'guide', 'aria-label': t('guide.title') },
      this.word,
      h('div', { class: 'gauge', 'aria-hidden': 'true' }, h('i', { class: 'g' }), h('i', { class: 'a' }), h('i', { class: 'r' }), this.needle),
      this.strip,
      h('div', { class: 'row numbers' }, this.speed, this.length, this.drift));
  }

  update(state) {
    const { guide, sweep } = state;
    this.element.dataset.verdict = guide.verdict;
    setText(this.word.children[0], ICONS[guide.verdict]);
    setText(this.word.children[1], t(`guide.${guide.verdict}`));
    const share = guide.speed_mm_s === null || !guide.limit_mm_s ? 0 : guide.speed_mm_s / guide.limit_mm_s;
    this.needle.style.left = `${(100 * Math.min(share, GAUGE_END)) / GAUGE_END}%`;
    const speed = guide.speed_mm_s === null ? '–' : number(guide.speed_mm_s, 0);
    setText(this.speed, t('guide.speed', { speed, limit: number(guide.limit_mm_s, 0) }));
    setText(this.length, t('guide.length', { mm: number(sweep?.length_mm ?? 0, 0) }));
    setText(this.drift, t('guide.drift', { drift: drift(sweep ? sweep.drift_mm : 0) }));
    this.coverage(guide.coverage);
  }

  coverage(bins) {
    const key = bins.map((bin) => bin[1][0]).join('');
    if (key === this.key) return;
    this.key = key;
    this.strip.replaceChildren(...bins.map(([, word]) => h('i', { class: word })));
    const count = (word) => bins.filter((bin) => bin[1] === word).length;
    this.strip.setAttribute('aria-label', t('guide.coverage', { ok: 2 * count('ok'), thin: 2 * count('thin'), gap: 2 * count('gap') }));
  }
}
