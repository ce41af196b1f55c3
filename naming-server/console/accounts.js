// Users, roles and permissions.

import { get, write } from './api.js';
import { h } from './dom.js';
import { ask } from './dialog.js';
import { pager, searchForm, table } from './table.js';
import { t } from './text.js';

/** A page that lists accounts of a kind. While authentication is off there are none to be shown. */
function accounts({ title, path, add, columns, key, fields }) {
  return ({ parameters, isAuthOn, go, ask: again }) => {
    const page = Math.max(1, Number(parameters.page) || 1);
    const size = Number(parameters.size) || 20;
    const wanted = Object.fromEntries(fields().map(({ name }) => [name, parameters[name] ? `*${parameters[name]}*` : undefined]));
    const after = (write) => write.then((isDone) => { if (isDone) again(); });
    return {
      title,
      every: isAuthOn ? 10000 : 0,
      load: async () => (isAuthOn ? get(path, { pageNo: page, pageSize: size, search: 'blur', ...wanted }) : null),
      view(found) {
        if (!found) return [h('h1', {}, title()), h('p', { class: 'note' }, t('Authentication is off on this server (auth.enabled): nobody logs in, and whoever reaches it may do everything.'))];
        return [
          h('div', { class: 'head' }, h('h1', {}, title()), h('button', { class: 'main', onclick: () => after(add()) }, t('Add'))),
          searchForm({ label: title(), values: parameters, fields: fields(), go: (values) => go({ ...values, page: 1 }) }),
          h('section', { class: 'card' },
            table({ caption: title(), rows: found.pageItems, key, columns: columns(after) }),
            pager({ page, size, count: found.totalCount, go: (next, length) => go({ page: next, size: length }) })),
        ];
      },
    };
  };
}

const actions = (...buttons) => h('div', { class: 'actions' }, buttons);
const remove = (onclick) => h('button', { class: 'small danger', onclick }, t('Delete'));

export const users = accounts({
  title: () => t('Users'),
  path: 'v3/auth/user/list',
  key: (one) => one.username,
  fields: () => [{ name: 'username', label: t('Name has') }],
  add: () => ask({
    title: t('Add a user'),
    fields: [
      { name: 'username', label: t('Name'), required: true, autocomplete: 'off' },
      { name: 'password', label: t('Password'), type: 'password', required: true, autocomplete: 'new-password' },
    ],
    confirm: t('Add'),
    run: (values) => write('POST', 'v3/auth/user', values),
    done: t('The user is added.'),
  }),
  columns: (after) => [
    { label: t('Name'), cell: (one) => one.username },
    {
      label: t('Actions'), kind: 'actions', cell: ({ username }) => actions(
        h('button', {
          class: 'small', onclick: () => after(ask({
            title: t('New password of {0}', username),
            text: t('The user is logged out everywhere.'),
            fields: [{ name: 'newPassword', label: t('Password'), type: 'password', required: true, autocomplete: 'new-password' }],
            run: ({ newPassword }) => write('PUT', 'v3/auth/user', { username, newPassword }),
            done: t('The password is changed.'),
          })),
        }, t('New password')),
        remove(() => after(ask({
          title: t('Delete {0}?', username), confirm: t('Delete'), isDanger: true,
          run: () => write('DELETE', 'v3/auth/user', { username }), done: t('The user is deleted.'),
        })))),
    },
  ],
});

export const roles = accounts({
  title: () => t('Roles'),
  path: 'v3/auth/role/list',
  key: (one) => `${one.role} ${one.username}`,
  fields: () => [{ name: 'role', label: t('Role has') }, { name: 'username', label: t('User has') }],
  add: () => ask({
    title: t('Give a role to a user'),
    fields: [{ name: 'role', label: t('Role'), required: true }, { name: 'username', label: t('User'), required: true }],
    confirm: t('Add'),
    run: (values) => write('POST', 'v3/auth/role', values),
    done: t('The role is given.'),
  }),
  columns: (after) => [
    { label: t('Role'), cell: (one) => one.role },
    { label: t('User'), cell: (one) => one.username },
    {
      label: t('Actions'), kind: 'actions', cell: ({ role, username }) => actions(remove(() => after(ask({
        title: t('Take the role {0} from {1}?', role, username), confirm: t('Delete'), isDanger: true,
        run: () => write('DELETE', 'v3/auth/role', { role, username }), done: t('The role is taken.'),
      })))),
    },
  ],
});

const allowed = () => ({ r: t('read'), w: t('write'), rw: t('read and write') });

export const permissions = accounts({
  title: () => t('Permissions'),
  path: 'v3/auth/permission/list',
  key: (one) => `${one.role} ${one.resource} ${one.action}`,
  fields: () => [{ name: 'role', label: t('Role has') }],
  add: () => ask({
    title: t('Allow something to a role'),
    fields: [
      { name: 'role', label: t('Role'), required: true },
      { name: 'resource', label: t('Resource'), value: ':*:*', required: true, hint: t('namespace:group:naming/service, where * stands for all and nothing for public') },
      { name: 'action', label: t('Action'), options: Object.entries(allowed()).map(([value, label]) => ({ value, label })) },
    ],
    confirm: t('Add'),
    run: (values) => write('POST', 'v3/auth/permission', values),
    done: t('The permission is given.'),
  }),
  columns: (after) => [
    { label: t('Role'), cell: (one) => one.role },
    { label: t('Resource'), cell: (one) => h('span', { class: 'mono' }, one.resource) },
    { label: t('Action'), cell: (one) => allowed()[one.action] ?? one.action },
    {
      label: t('Actions'), kind: 'actions', cell: (one) => actions(remove(() => after(ask({
        title: t('Take this permission from {0}?', one.role), text: `${one.resource} ${one.action}`, confirm: t('Delete'), isDanger: true,
        run: () => write('DELETE', 'v3/auth/permission', one), done: t('The permission is taken.'),
      })))),
    },
  ],
});
