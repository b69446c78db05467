// What must be seen at any time: link, recording, who operates, battery, heat, storage.

import { h, setText, show } from './dom.js';
import { number, t } from './i18n.js';

const MINUTES_TOLD = 600; // of recording that still fit: beyond a day's work the figure only takes room

export class StatusBar {
  constructor({ takeOperator }) {
    const item = (name) => h('span', { class: `status ${name}`, hidden: true });
    this.items = Object.fromEntries(['link', 'recording', 'quality', 'storage', 'battery', 'heat', 'patient'].map((name) => [name, item(name)]));
    this.operator = h('button', { class: 'ghost small', onclick: takeOperator });
    this.operating = h('span', { class: 'status operating' }, t('status.you_operate'));
    this.element = h('header', { class: 'status-bar' },
      h('div', { class: 'statuses' }, h('span', { class: 'research' }, t('research')), ...Object.values(this.items)), h('div', {}, this.operator, this.operating));
  }

  put(name, text, level = '') {
    setText(this.items[name], text);
    this.items[name].dataset.level = level;
    show(this.items[name], Boolean(text));
  }

  update(state, linked, delay_ms) {
    this.put('link', linked ? t('status.linked', { ms: number(delay_ms ?? 0) }) : t('status.link_lost'), linked ? '' : 'bad');
    if (!state) return;
    const { sweep, storage, battery, temperature, operator } = state;
    const recording = sweep?.state === 'sweeping' ? sweep.recording : '';
    this.put('recording', recording ? t(`status.recording.${recording}`, { frames: number(sweep.recorded_frames) }) : '',
      { recording: 'rec', failed: 'bad' }[recording] ?? 'warn');
    this.put('quality', state.quality === 'full' ? '' : t(`status.quality.${state.quality}`), 'warn');
    const minutes = storage.minutes === null || storage.minutes > MINUTES_TOLD ? '' : t('status.minutes', { minutes: number(storage.minutes) });
    this.put('storage', t('status.storage', { gb: number(storage.free_mib / 1024, 0), minutes }), storage.free_mib < 1024 ? 'bad' : '');
    this.put('battery', battery ? t(battery.charging ? 'status.charging' : 'status.battery', { percent: battery.percent }) : '',
      battery && battery.percent < 15 && !battery.charging ? 'bad' : '');
    this.put('heat', temperature ? t('status.heat', { celsius: number(temperature.celsius) }) : '',
      { warm: 'warn', hot: 'bad' }[temperature?.level] ?? '');
    const { patient_name: name, patient_id: id } = state.exam;
    this.put('patient', [name, id].filter(Boolean).join(' · ') || t('status.anonymous'));
    setText(this.operator, operator ? t('status.operates', { name: operator.name }) : t('status.take'));
    show(this.operator, !operator?.me);
    show(this.operating, Boolean(operator?.me));
  }
}
