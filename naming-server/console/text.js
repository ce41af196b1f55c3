// Texts in two languages. The English text is the key of the Chinese one; {0}, {1} are values.

import { chinese } from './chinese.js';

const KEY = 'naming-server.language';

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

let language = stored() ?? (navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en');

export const current = () => language;

export function speak(next) {
  language = next === 'zh' ? 'zh' : 'en';
  try {
    localStorage.setItem(KEY, language);
  } catch {
    // It holds until the page is closed.
  }
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
}

export function t(text, ...values) {
  const found = language === 'zh' ? chinese[text] ?? text : text;
  return found.replace(/\{(\d)\}/g, (whole, number) => (number in values ? String(values[number]) : whole));
}

const locale = () => (language === 'zh' ? 'zh-CN' : 'en-GB');

export const number = (value) => (typeof value === 'number' ? value.toLocaleString(locale()) : '–');

export function time(ms) {
  if (!ms) return '–';
  const moment = new Date(ms);
  const isToday = moment.toDateString() === new Date().toDateString();
  return moment.toLocaleString(locale(), isToday ? { timeStyle: 'medium' } : { dateStyle: 'medium', timeStyle: 'medium' });
}

/** So many milliseconds in the unit that fits. */
export function span(ms) {
  if (typeof ms !== 'number') return '–';
  const seconds = Math.round(ms / 1000);
  if (ms < 1000) return t('{0} ms', Math.round(ms));
  if (seconds < 120) return t('{0} s', seconds);
  if (seconds < 7200) return t('{0} min', Math.floor(seconds / 60));
  if (seconds < 172800) return t('{0} h', Math.floor(seconds / 3600));
  return t('{0} d', Math.floor(seconds / 86400));
}
