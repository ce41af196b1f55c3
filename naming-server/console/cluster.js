// The members of the cluster, as the member that is asked sees them.

import { get, own } from './api.js';
import { h } from './dom.js';
import { badge, table, unanswered } from './table.js';
import { number, span, t } from './text.js';

const kinds = { UP: 'good', STARTING: 'warn', SUSPICIOUS: 'warn', ISOLATION: 'warn', DOWN: 'bad' };

const explained = () => ({
  UP: t('up'), STARTING: t('loading its data'), SUSPICIOUS: t('no answer'), ISOLATION: t('leaving'), DOWN: t('down'),
});

/** The console of another member, if its address can be one. */
function addressOf(member) {
  if (member.isOwn || !/^[\w.-]+:\d+$|^\[[\da-fA-F:.]+\]:\d+$/.test(member.address)) return member.address;
  const path = document.documentElement.dataset.api === 'admin' ? location.pathname : '/nacos/';
  return h('a', { href: `${location.protocol}//${member.address}${path}`, rel: 'noreferrer' }, member.address);
}

function share(member, slots) {
  if (typeof member.slots !== 'number') return '–';
  const percent = (member.slots / slots) * 100;
  return h('div', {}, `${percent.toFixed(1)} %`, ' ', h('meter', { min: 0, max: slots, value: member.slots, 'aria-label': t('Share of the services') }));
}

export function members(list, slots) {
  const info = (name) => (member) => member.extendInfo?.[name];
  const of = (name, show) => (member) => {
    const value = info(name)(member);
    return value === undefined || member.isOwn ? '–' : show(value);
  };
  return table({
    caption: t('Members'),
    key: (member) => member.address,
    rows: list,
    columns: [
      { label: t('Address'), cell: (member) => [addressOf(member), member.isOwn && [' ', badge(t('this one'))]] },
      { label: t('State'), cell: (member) => badge(explained()[member.state] ?? member.state, kinds[member.state]) },
      { label: t('Owns'), cell: (member) => share(member, slots) },
      list.some((member) => 'connections' in member) && { label: t('Connections'), kind: 'number', cell: (member) => number(member.connections) },
      { label: t('Lag'), kind: 'number', cell: of('lagMillis', span) },
      { label: t('Changes waiting'), kind: 'number', cell: of('queuedRecords', number) },
      { label: t('Beats waiting'), kind: 'number', cell: of('queuedBeats', number) },
      { label: t('Differences found'), kind: 'number', cell: of('differences', number) },
      { label: t('Clock ahead'), kind: 'number', cell: of('clockAheadMillis', span) },
      { label: t('Same members'), cell: of('agreesOnMembers', (agrees) => (agrees ? badge(t('yes'), 'good') : badge(t('no'), 'bad'))) },
    ].filter(Boolean),
  });
}

export function cluster() {
  return {
    title: () => t('Cluster'),
    every: 3000,
    load: () => get(own('members')),
    view({ address, own: self, slots, members: list, unanswered: silent }) {
      return [
        h('div', { class: 'head' }, h('h1', {}, t('Cluster')), h('span', { class: 'soft' }, t('as member {0} sees it', address))),
        unanswered(silent),
        h('section', { class: 'card' }, members(list, slots)),
        h('section', { class: 'card' }, h('h2', {}, t('This member')),
          h('dl', { class: 'facts' },
            h('dt', {}, t('Phase')), h('dd', {}, self.phase, self.whyNotReady && ` (${self.whyNotReady})`),
            h('dt', {}, t('Left to load')), h('dd', {}, `${self.loadLeft} / 32`),
            h('dt', {}, t('Changes of owners')), h('dd', {}, number(self.ownerChanges)),
            h('dt', {}, t('Slots that moved')), h('dd', {}, number(self.movedSlots)),
            h('dt', {}, t('Digest of all data')), h('dd', { class: 'mono' }, self.digest)),
          h('p', { class: 'note' }, t('Members that hold the same have the same digest. Members are not changed here: change the list that they read, or stop one.'))),
      ];
    },
  };
}
