// Why instances came and went.

import { get, own } from './api.js';
import { h, s } from './dom.js';
import { address, badge, memberField, searchForm, serviceLink, table, unanswered } from './table.js';
import { span, t, time } from './text.js';

const kinds = {
  registered: 'good', healthy: 'good', restored: 'calm', replaced: 'calm', updated: 'calm', unhealthy: 'warn',
  deregistered: 'warn', 'service deleted': 'warn', expired: 'bad', lapsed: 'bad',
};

const names = () => ({
  restored: t('restored'), registered: t('registered'), replaced: t('replaced'), updated: t('updated'), deregistered: t('deregistered'),
  'service deleted': t('service deleted'), unhealthy: t('unhealthy'), healthy: t('healthy'), expired: t('expired'), lapsed: t('lapsed'),
});

/** The reason of an event in a sentence. */
function reasonOf({ event, by, silentMillis, ephemeral }) {
  if (event === 'restored') return t('it was there before the server started again; its client is yet to be heard');
  if (event === 'lapsed') return by ? t('its connection ended: {0}', by) : t('its connection ended');
  if (silentMillis > 0) {
    const silence = span(silentMillis);
    return event === 'expired' ? t('no beat for {0}: removed', silence) : t('no beat for {0}', silence);
  }
  if (!by) return ephemeral ? '–' : t('a health check');
  // What browsers call themselves is long and says little.
  return h('span', { title: by }, by.replace(/ Mozilla\/.*$/, ` ${t('a browser')}`));
}

const partsOf = (event) => {
  const [groupName, serviceName] = event.service.includes('@@') ? event.service.split(/@@(.*)/s) : ['DEFAULT_GROUP', event.service];
  return { namespaceId: event.namespaceId, groupName, serviceName };
};

export function eventTable(list, hasService) {
  const hasMember = new Set(list.map((event) => event.member)).size > 1;
  return table({
    caption: t('Events'),
    rows: list,
    key: (event) => `${event.time} ${event.service} ${event.ip}:${event.port} ${event.event} ${event.member}`,
    empty: t('Nothing has happened yet.'),
    columns: [
      { label: t('Time'), kind: 'time', cell: (event) => time(event.time) },
      hasService && { label: t('Service'), cell: (event) => serviceLink(partsOf(event)) },
      { label: t('Instance'), cell: address },
      { label: t('Event'), cell: (event) => badge(names()[event.event] ?? event.event, kinds[event.event]) },
      hasMember && { label: t('Seen by'), cell: (event) => event.member },
      { label: t('Why, or who'), kind: 'wide', cell: (event) => reasonOf(event) },
    ].filter(Boolean),
  });
}

/** Events along a line of time, the newest at the right. */
export function timeline(list) {
  if (list.length < 2) return null;
  const [last, first] = [Date.now(), Math.min(...list.map((event) => event.time))];
  const width = Math.max(last - first, 1);
  const rows = { good: 10, calm: 20, warn: 28, bad: 38 };
  const dots = list.map((event) => {
    const kind = kinds[event.event] ?? 'calm';
    return s('rect', { class: kind, x: (((event.time - first) / width) * 990).toFixed(1), y: rows[kind], width: 5, height: 6, rx: 1 },
      s('title', {}, `${time(event.time)} ${event.ip}:${event.port} ${names()[event.event] ?? event.event}`));
  });
  return [
    s('svg', { class: 'timeline', viewBox: '0 0 1000 50', preserveAspectRatio: 'none', role: 'img', 'aria-label': t('{0} events since {1}', list.length, time(first)) },
      s('line', { x1: 0, x2: 1000, y1: 25, y2: 25 }), dots),
    h('div', { class: 'span', 'aria-hidden': 'true' }, h('span', {}, time(first)), h('span', {}, t('now'))),
  ];
}

export function events({ parameters, go }) {
  const { namespace = '', ip = '', port = '', member = '' } = parameters;
  return {
    title: () => t('Events'),
    every: 3000,
    load: () => get(own('events'), { limit: 200, namespaceId: namespace || undefined, ip: ip || undefined, port: port || undefined, member: member || undefined }),
    view({ events: list, unanswered: silent }) {
      return [
        h('h1', {}, t('Events')),
        h('p', { class: 'note' }, t('Why instances came and went, as all members have seen it.')),
        searchForm({
          label: t('Events'),
          values: parameters,
          go,
          fields: [{ name: 'namespace', label: t('Namespace') }, { name: 'ip', label: t('Address') }, { name: 'port', label: t('Port') },
            memberField(list.map((event) => event.member), member)],
        }),
        unanswered(silent),
        h('section', { class: 'card' }, timeline(list), eventTable(list, true)),
      ];
    },
  };
}
