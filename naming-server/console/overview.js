// This member and the others: how many, how fast, and what has changed lately.

import { get, own } from './api.js';
import { h, s } from './dom.js';
import { members } from './cluster.js';
import { eventTable } from './events.js';
import { badge } from './table.js';
import { number, span, t } from './text.js';

/** Samples that a curve shows. */
const MOST_SAMPLES = 60;
const EVERY_MS = 3000;

// They outlive the page, so that whoever comes back sees what was.
const samples = [];

function note(shown) {
  const last = samples.at(-1);
  // Another server, or the same one started anew: its counters begin again.
  if (last && (last.startedAt !== shown.startedAt || last.address !== shown.address)) samples.length = 0;
  if (last?.time === shown.time) return;
  samples.push(shown);
  if (samples.length > MOST_SAMPLES) samples.shift();
}

/** The growth of a counter in a second, between each two samples. */
function rates(name) {
  return samples.slice(1).map((sample, index) => {
    const before = samples[index];
    const seconds = (sample.time - before.time) / 1000;
    return seconds > 0 ? Math.max(0, (sample.counters[name] - before.counters[name]) / seconds) : 0;
  });
}

function curve(values) {
  if (values.length < 2) return null;
  const most = Math.max(...values, 1e-9);
  const points = values.map((value, index) => `${(index / (values.length - 1)) * 100},${(20 - (value / most) * 18).toFixed(2)}`);
  return s('svg', { viewBox: '0 0 100 22', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, s('path', { d: `M${points.join('L')}` }));
}

const stat = (label, value, drawing) => h('div', { class: 'stat' }, h('span', {}, label), h('b', {}, value), drawing);

function rate(label, name) {
  const values = rates(name);
  const last = values.at(-1);
  const shown = last === undefined ? '–' : last >= 100 ? number(Math.round(last)) : last.toFixed(1);
  return stat(label, shown, curve(values));
}

export function overview() {
  return {
    title: () => t('Overview'),
    every: EVERY_MS,
    async load() {
      const [shown, latest] = await Promise.all([
        get(own('overview')),
        // Not everybody may see the events of all services.
        get(own('events'), { limit: 12 }).catch(() => null),
      ]);
      note(shown);
      return { shown, latest };
    },
    view({ shown, latest }) {
      return [
        h('div', { class: 'head' }, h('h1', {}, t('Overview')),
          h('span', { class: 'soft' }, t('as member {0} sees it', shown.address), ' ', badge(shown.status, shown.status === 'UP' ? 'good' : 'warn'), ' ', t('version {0}, up for {1}', shown.version, span(shown.upMillis)))),
        h('div', { class: 'cards' },
          stat(t('Services'), number(shown.services), curve(samples.map((one) => one.services))),
          stat(t('Instances'), number(shown.instances), curve(samples.map((one) => one.instances))),
          stat(t('Connections to this member'), number(shown.connections), curve(samples.map((one) => one.connections))),
          stat(t('Subscriptions at this member'), number(shown.subscribers), curve(samples.map((one) => one.subscribers))),
          rate(t('Requests a second'), 'requests'),
          rate(t('Beats a second'), 'beats'),
          rate(t('Pushes a second'), 'pushes'),
          stat(t('Processor of the machine'), `${Math.round(shown.cpu * 100)} %`, curve(samples.map((one) => one.cpu)))),
        h('section', { class: 'card' }, h('h2', {}, t('Members')), members(shown.members, 1024)),
        h('section', { class: 'card' }, h('h2', {}, t('What changed lately')),
          latest ? eventTable(latest.events, true) : h('p', { class: 'note' }, t('Only an administrator sees the events of all services.'))),
      ];
    },
  };
}
