// The exam as it runs: live image and growing volume side by side, the guide during a sweep, and the buttons at thumb height.

import { h, say, setText, show } from '../dom.js';
import { Guide } from '../guide.js';
import { number, t } from '../i18n.js';
import { LiveImage } from '../live_image.js';
import { ExamForm } from './exam.js';

export class LiveScreen {
  constructor({ hello, light, run, command, onended, onrefused }) {
    this.run = run;
    this.onended = onended;
    this.image = new LiveImage(light);
    this.guide = new Guide();
    this.exam = new ExamForm({ ...hello, run, onrefused, onchange: (values, sweep) => command('exam', { ...values, sweep }) });
    this.other = h('p', { class: 'loading', hidden: true }, t('live.other'));
    this.pane = h('div', { class: 'pane', 'data-view': '3d', role: 'group', 'aria-label': t('live.volume') }, this.other);
    this.time = h('span', { class: 'number' });
    this.start = h('button', { class: 'start', onclick: () => this.toggle() });
    this.freeze = h('button', { class: 'ghost big', 'aria-pressed': 'false', onclick: () => this.run('freeze', { on: !this.frozen }) });
    this.form = h('button', { class: 'ghost big', 'aria-expanded': 'false', onclick: () => this.openForm(this.drawer.hidden) }, t('exam.title'));
    this.drawer = h('aside', { class: 'drawer', hidden: true }, this.exam.element);
    this.element = h('main', { class: 'screen live-screen' },
      h('div', { class: 'panes' }, this.image.element, this.pane),
      this.guide.element, this.drawer,
      h('div', { class: 'actions' }, this.form, this.freeze, this.start, this.time));
  }

  openForm(on) {
    show(this.drawer, on);
    this.form.setAttribute('aria-expanded', String(on));
  }

  toggle() {
    if (this.sweeping) this.run('stop');
    else {
      this.openForm(false);
      this.run('start', this.exam.values);
    }
  }

  // Whether the volume is of somebody else than the form, which the bar names: a patient is entered while the last one's is still there.
  anothers(state) {
    const { state: doing, exam } = state?.sweep ?? {};
    return Boolean(exam) && doing !== 'sweeping' && ['patient_name', 'patient_id'].some((key) => (exam[key] ?? '') !== (state.exam[key] ?? ''));
  }

  update(state, linked, fresh) {
    const why = this.image.update(state?.live ?? null, linked && state?.services.bridge !== 'gone');
    if (!state) return;
    const sweeping = state.sweep?.state === 'sweeping';
    const ended = this.sweeping && !sweeping && state.sweep && state.sweep.state !== 'rebuilding';
    this.sweeping = sweeping;
    this.frozen = Boolean(state.live?.frozen);
    document.body.classList.toggle('sweeping', sweeping);
    setText(this.start, t(sweeping ? 'live.stop' : 'live.start'));
    this.start.disabled = !linked || (!sweeping && (Boolean(why) || !state.operator?.me));
    setText(this.freeze, t(this.frozen ? 'live.unfreeze' : 'live.freeze'));
    this.freeze.setAttribute('aria-pressed', String(this.frozen));
    this.freeze.disabled = !state.operator?.me;
    show(this.other, this.anothers(state));
    show(this.guide.element, sweeping);
    if (sweeping) this.guide.update(state);
    setText(this.time, sweeping ? t('live.elapsed', { s: number(state.sweep.elapsed_s, 0) }) : state.operator?.me ? '' : t('live.take_first'));
    this.exam.update(state, fresh);
    if (ended) {
      say(t('live.ended'));
      this.onended(state.sweep);
    }
  }
}
