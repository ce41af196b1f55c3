// The services of a namespace, and instances of all services by their address.

import { get, own, paths } from './api.js';
import { h } from './dom.js';
import { createService } from './service-writes.js';
import { address as addressOf, badge, hash, pager, searchForm, serviceLink, table, yesNo } from './table.js';
import { number, t } from './text.js';

/** Namespaces to choose from; those that have no name can be typed into the address of the page. */
function namespaceOptions(namespaces, chosen) {
  const known = namespaces.map((one) => [one.namespace || 'public', one.namespaceShowName === one.namespace ? one.namespace : `${one.namespaceShowName} (${one.namespace || 'public'})`]);
  if (!known.some(([id]) => id === chosen)) known.push([chosen, chosen]);
  return known.map(([id, shown]) => [id, id === 'public' ? 'public' : shown]);
}

export function services({ parameters, go, ask }) {
  const namespace = parameters.namespace || 'public';
  const page = Math.max(1, Number(parameters.page) || 1);
  const size = Number(parameters.size) || 20;
  const address = parameters.address ?? '';
  // What stands in the page is about names; everywhere is asked for by its own box.
  const scope = parameters.everywhere === 'true' ? undefined : namespace;
  return {
    title: () => t('Services'),
    every: address ? 10000 : 5000,
    async load() {
      const [namespaces, found] = await Promise.all([
        get(own('namespaces')),
        address
          ? get(own('search'), { address, namespaceId: scope })
          : get(paths.services, {
            namespaceId: namespace, serviceNameParam: parameters.name, groupNameParam: parameters.group, pageNo: page, pageSize: size,
            ignoreEmptyService: parameters.hideEmpty === 'true' ? true : undefined,
          }),
      ]);
      return { namespaces, found };
    },
    view({ namespaces, found }) {
      return [
        h('div', { class: 'head' }, h('h1', {}, t('Services')), h('button', { class: 'main', onclick: () => createService(namespace).then((isDone) => isDone && ask()) }, t('Create a service'))),
        searchForm({
          label: t('Find services and instances'),
          values: { ...parameters, namespace },
          go: (values) => { location.hash = hash('services', { ...values, size: parameters.size }); },
          fields: [
            { name: 'namespace', label: t('Namespace'), options: namespaceOptions(namespaces, namespace) },
            { name: 'name', label: t('Name has') },
            { name: 'group', label: t('Group has') },
            { name: 'address', label: t('Address of an instance'), placeholder: '10.0.0.1:8080' },
            { name: 'everywhere', label: t('addresses in all namespaces'), type: 'checkbox' },
            { name: 'hideEmpty', label: t('only with instances'), type: 'checkbox' },
          ],
        }),
        h('section', { class: 'card' }, address ? foundInstances(found, address) : [serviceTable(found, namespace), pager({
          page, size, count: found.totalCount, go: (next, length) => go({ page: next, size: length }),
        })]),
      ];
    },
  };
}

function serviceTable(found, namespace) {
  return table({
    caption: t('Services'),
    rows: found.pageItems,
    key: (one) => `${one.groupName}@@${one.name}`,
    empty: t('No service is like that.'),
    columns: [
      { label: t('Service'), kind: 'wide', cell: (one) => serviceLink({ ...one, namespaceId: namespace }) },
      { label: t('Group'), cell: (one) => one.groupName },
      { label: t('Clusters'), kind: 'number', cell: (one) => number(one.clusterCount) },
      { label: t('Instances'), kind: 'number', cell: (one) => number(one.ipCount) },
      { label: t('Healthy'), kind: 'number', cell: (one) => (one.ipCount > 0 && one.healthyInstanceCount === 0 ? badge(number(0), 'bad') : number(one.healthyInstanceCount)) },
      { label: t('Protected'), cell: (one) => (String(one.triggerFlag) === 'true' ? badge(t('yes'), 'warn') : yesNo(false)) },
    ],
  });
}

function foundInstances(found, address) {
  return [
    h('h2', {}, found.more ? t('The first {0} instances at {1}', found.count, address) : t('{0} instances at {1}', found.count, address)),
    table({
      caption: t('Instances'),
      rows: found.instances,
      key: (one) => `${one.namespaceId}##${one.groupName}@@${one.serviceName} ${one.ip}:${one.port} ${one.clusterName} ${one.ephemeral}`,
      empty: t('No instance has this address.'),
      columns: [
        { label: t('Instance'), cell: addressOf },
        { label: t('Service'), cell: (one) => serviceLink(one) },
        { label: t('Namespace'), cell: (one) => one.namespaceId },
        { label: t('Cluster'), cell: (one) => one.clusterName },
        { label: t('Kind'), cell: (one) => (one.ephemeral ? t('ephemeral') : t('persistent')) },
        { label: t('Health'), cell: (one) => (one.healthy ? badge(t('healthy'), 'good') : badge(t('unhealthy'), 'bad')) },
        { label: t('Online'), cell: (one) => (one.enabled ? yesNo(true) : badge(t('offline'), 'warn')) },
      ],
    }),
  ];
}
