// /trust: one language, and the steps of what is held in the hand. Without this script all of it stands there.

const settings = JSON.parse(localStorage.getItem('sonosweep') ?? '{}');
const sections = [...document.querySelectorAll('section[lang]')];
const buttons = [...document.querySelectorAll('[data-language]')];
const device = /Android/.test(navigator.userAgent) ? 'android' : /iPad|iPhone/.test(navigator.userAgent) || navigator.maxTouchPoints > 1 ? 'ipad' : 'laptop'; // an iPad calls itself a Macintosh

function speak(language) {
  for (const section of sections) section.hidden = section.lang !== language;
  for (const button of buttons) button.setAttribute('aria-pressed', String(button.dataset.language === language));
  document.documentElement.lang = language;
}

for (const steps of document.querySelectorAll('details[data-device]')) steps.open = steps.dataset.device === device;
for (const button of buttons) button.addEventListener('click', () => speak(button.dataset.language));
document.querySelector('.languages').hidden = false;
document.documentElement.dataset.theme = settings.theme ?? 'bright';
const wanted = settings.language || navigator.language || 'en';
speak(sections.find(({ lang }) => wanted.startsWith(lang))?.lang ?? 'en');
