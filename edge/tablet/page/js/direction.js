// The sweep direction as a picture: the probe from above with its marker, and the arrow of the sweep.
//
// Lateral runs towards the marker (MF image). + is lateral x axial: seen from above with the marker on the right, lateral points right
// and axial into the page, so their product points up the page.

import { h } from './dom.js';
import { t } from './i18n.js';

export const NEXT = { '': '+', '+': '-', '-': '+' };

export function directionPicture(direction, verified) {
  const down = direction === '-';
  const arrow = down ? 'M100 78 V150 M84 134 L100 152 L116 134' : 'M100 42 V-30 M84 -14 L100 -32 L116 -14';
  return h('svg', { viewBox: '0 -44 200 208', class: `direction ${verified ? '' : 'unverified'}`, 'aria-hidden': 'true' },
    h('rect', { x: 40, y: 44, width: 120, height: 32, rx: 10, class: 'probe' }),
    h('circle', { cx: 172, cy: 60, r: 8, class: 'marker' }),
    h('path', { d: arrow, class: 'arrow' }),
    verified ? null : h('text', { x: 100, y: 66, class: 'ask', 'text-anchor': 'middle' }, '?'));
}

export function directionWords(direction, source) {
  const where = t(direction === '-' ? 'direction.minus' : direction === '+' ? 'direction.plus' : 'direction.none');
  return source ? `${where} – ${t(`direction.source.${source}`)}` : where;
}
