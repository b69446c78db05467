// The sweeps on the device: found by any word, opened, thrown into the trash and taken out again.

import { ask, field, h } from '../dom.js';
import { day, number, t } from '../i18n.js';

export class LibraryScreen {
  constructor({ run, onopen }) {
    this.run = run;
    this.onopen = onopen;
    this.sweeps = null;
    this.search = h('input', { type: 'search', oninput: () => this.draw() });
    this.trash = h('input', { type: 'checkbox', onchange: () => this.draw() });
    this.list = h('ul', { class: 'sweeps' });
    this.element = h('main', { class: 'screen library-screen' }, h('h1', {}, t('library.title')),
      h('div', { class: 'row' }, field(t('library.search'), this.search), h('label', { class: 'check' }, this.trash, t('library.trash'))), this.list);
  }

  update() {}

  set(sweeps) {
    this.sweeps = sweeps;
    this.draw();
  }

  find(id) {
    return this.sweeps?.find((sweep) => sweep.id === id);
  }

  draw() {
    const wanted = this.search.value.toLowerCase();
    const found = (this.sweeps ?? []).filter((sweep) => (sweep.state === 'discarded') === this.trash.checked)
      .filter((sweep) => JSON.stringify([sweep.exam, sweep.created, sweep.id]).toLowerCase().includes(wanted));
    const empty = h('li', { class: 'empty' }, t(this.sweeps ? 'library.empty' : 'library.loading'));
    this.list.replaceChildren(...(found.length ? found.map((sweep) => this.card(sweep)) : [empty]));
  }

  card(sweep) {
    const { exam } = sweep;
    const name = [exam.patient_name, exam.patient_id].filter(Boolean).join(' · ') || t('status.anonymous');
    const what = [exam.body_part, exam.side && t(`exam.side.${exam.side}`), exam.notes].filter(Boolean).join(', ');
    const numbers = sweep.error ? sweep.error : t('library.numbers', {
      mm: number(sweep.length_mm, 0), frames: number(sweep.frames), direction: t(`direction.source.${sweep.direction_source}`),
    });
    const button = (key, kind, action) => h('button', { class: kind, onclick: action }, t(key));
    const buttons = sweep.state === 'discarded'
      ? [button('library.restore', 'ghost', () => this.run('restore', { sweep: sweep.id })), button('library.purge', 'danger of-deletion', () => this.purge(sweep))]
      : [sweep.volume ? button('library.open', 'primary', () => this.onopen(sweep)) : button('library.rebuild', 'ghost', () => this.run('flip', { sweep: sweep.id })),
        button('library.discard', 'ghost of-deletion', () => this.run('discard', { sweep: sweep.id }))];
    return h('li', { class: `sweep ${sweep.state}` }, h('div', { class: 'grow' }, h('strong', {}, name), h('span', {}, day(sweep.created)),
      h('span', {}, what), h('span', { class: 'fine' }, numbers)), h('span', { class: `badge ${sweep.state}` }, t(`library.state.${sweep.state}`)), ...buttons);
  }

  async purge(sweep) {
    if (await ask(t('library.ask_purge'), t('library.purge'), t('cancel'), true)) this.run('purge', { sweep: sweep.id });
  }
}
