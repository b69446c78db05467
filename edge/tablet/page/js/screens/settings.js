// Language, theme, hand, link, paired tablets; what this device is.

import { field, h, show } from '../dom.js';
import { day, has, number, t } from '../i18n.js';

export class SettingsScreen {
  constructor({ hello, settings, onsetting, run, selfTest }) {
    const choice = (name, values, words) => {
      const select = h('select', { onchange: () => onsetting(name, select.value) }, values.map((value) => h('option', { value, selected: settings[name] === value }, words(value))));
      return field(t(`settings.${name}`), select);
    };
    this.run = run;
    this.code = h('div', { class: 'pairing', hidden: true });
    this.tablets = h('ul', { class: 'tablets' });
    this.health = h('dl', { class: 'health' });
    this.clock = h('button', { class: 'ghost', hidden: true, onclick: () => this.run('set_clock', { t: Date.now() }) }, t('health.clock.set'));
    this.told = '';
    this.table = h('pre', { class: 'selftest', hidden: true });
    this.element = h('main', { class: 'screen settings-screen' }, h('h1', {}, t('settings.title')),
      h('div', { class: 'fields' },
        choice('language', hello.languages, (value) => t(`language.${value}`)),
        choice('theme', ['dark', 'bright'], (value) => t(`theme.${value}`)),
        choice('hand', ['right', 'left'], (value) => t(`hand.${value}`)),
        choice('quality', ['auto', 'full', 'half', 'frames'], (value) => t(`quality.${value}`))),
      h('h2', {}, t('settings.tablets')),
      h('div', { class: 'row' }, h('button', { class: 'ghost', onclick: () => this.pair() }, t('settings.pair')), h('button', { class: 'ghost', onclick: () => this.list() }, t('settings.list'))),
      this.code, this.tablets,
      h('h2', {}, t('health.title')), this.health, this.clock,
      h('h2', {}, t('settings.device')), hello.logo ? h('img', { src: hello.logo, alt: hello.product, class: 'logo' }) : null,
      h('p', {}, t('settings.about', { device: [hello.product, hello.device].filter(Boolean).join(' · '), version: hello.version })),
      h('p', {}, t(hello.secure ? 'settings.secure' : 'settings.plain')), h('p', {}, t('research')), h('p', { class: 'fine' }, t('settings.licence')),
      h('button', { class: 'ghost', onclick: async () => this.test(await selfTest()) }, t('settings.selftest')), this.table);
  }

  update(state) {
    show(this.clock, Boolean(state) && !state.clock.trusted);
    const rows = state ? healthOf(state) : [];
    if (JSON.stringify(rows) === this.told) return;
    this.told = JSON.stringify(rows);
    this.health.replaceChildren(...rows.flatMap(([name, text, level]) => [h('dt', {}, name), h('dd', { class: 'status', 'data-level': level }, text)]));
  }

  async pair() {
    const told = await this.run('pairing', { on: true });
    if (!told) return;
    const picture = h('img', { alt: t('settings.qr'), src: `data:image/svg+xml,${encodeURIComponent(withNamespace(told.qr))}`, class: 'qr' });
    this.code.replaceChildren(picture, h('p', {}, told.url.split('#')[0]), h('p', { class: 'code' }, `${told.code.slice(0, 4)} ${told.code.slice(4)}`));
    show(this.code, true);
    setTimeout(() => show(this.code, false), 1000 * told.open_s);
  }

  async list() {
    const told = await this.run('tablets');
    if (!told) return;
    this.tablets.replaceChildren(...told.tablets.map((tablet) => h('li', {}, h('strong', {}, tablet.name), h('span', {}, t(`role.${tablet.role}`)),
      h('span', {}, day(new Date(1000 * tablet.seen).toISOString())),
      h('button', { class: 'danger', onclick: () => this.run('revoke', { tablet: tablet.name }).then(() => this.list()) }, t('settings.revoke')))));
  }

  test(rows) {
    this.table.textContent = rows.map((row) => Object.values(row).join('  ')).join('\n');
    show(this.table, true);
  }
}

const withNamespace = (svg) => (svg.includes('xmlns') ? svg : svg.replace('<svg', '<svg xmlns="http://www.w3.org/2000/svg"'));

// [what, how it is, level] of each part of the device.
function healthOf({ services, storage, battery, temperature, clock }) {
  const state = (told) => (has(`health.state.${told}`) ? t(`health.state.${told}`) : told);
  return [
    ...Object.entries(services).map(([name, told]) => [t(`health.${name}`), state(told), told === 'gone' ? 'bad' : '']),
    [t('health.storage'), t('status.storage', { gb: number(storage.free_mib / 1024, 0), minutes: '' }), storage.free_mib < 1024 ? 'bad' : ''],
    temperature && [t('health.temperature'), t('status.heat', { celsius: number(temperature.celsius) }), { warm: 'warn', hot: 'bad' }[temperature.level] ?? ''],
    battery && [t('health.battery'), t(battery.charging ? 'status.charging' : 'status.battery', { percent: battery.percent }), ''],
    [t('health.clock'), t(`health.clock.${clock.trusted ? 'trusted' : clock.source ? 'tablet' : 'untrusted'}`, { time: day(clock.now), source: clock.source.replace(/^tablet /, '') }),
      clock.trusted || clock.source ? '' : 'warn'],
  ].filter(Boolean);
}
