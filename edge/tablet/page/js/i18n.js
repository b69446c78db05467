// Words from /page/lang; numbers and dates as the language writes them. No sentence stands in the code.

let words = {};
let fallback = {};
export let language = 'en';

async function read(name) {
  return (await fetch(`/page/lang/${name}.json`)).json();
}

export async function setLanguage(wanted, known = ['en', 'fr', 'es']) {
  language = known.includes(wanted) ? wanted : known.find((one) => (navigator.language || 'en').startsWith(one)) || 'en';
  [words, fallback] = await Promise.all([read(language), read('en')]);
  document.documentElement.lang = language;
}

export function t(key, values = {}) {
  const text = words[key] ?? fallback[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
}

export function has(key) {
  return key in words || key in fallback;
}

export function number(value, digits = 0) {
  return new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

// Of how far off a place may be: null where nobody knows.
export const drift = (mm) => (mm === null ? t('drift.unknown') : t('drift.known', { mm: number(mm, 1) }));

export function clock(date) {
  return new Intl.DateTimeFormat(language, { timeStyle: 'medium' }).format(date);
}

// A day without a time, of a text such as 2026-11-27.
export function date(text) {
  return new Intl.DateTimeFormat(language, { dateStyle: 'long', timeZone: 'UTC' }).format(new Date(`${text}T00:00:00Z`));
}

// The day of this tablet, as such a text: that of the device may never have been set.
export function today(now = new Date()) {
  return [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((part) => String(part).padStart(2, '0')).join('-');
}

export function day(text) {
  return text ? new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(text)) : '–';
}
