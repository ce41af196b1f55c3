// The frame around the pages: who is logged in, which page is open, and when it asks anew.

import { Failure, get, onExpired, paths, remember, user } from './api.js';
import { h, update } from './dom.js';
import { reasonOf } from './dialog.js';
import { hash } from './table.js';
import { current, speak, t } from './text.js';
import { firstAdministrator, login } from './login.js';
import { overview } from './overview.js';
import { services } from './services.js';
import { service } from './service.js';
import { events } from './events.js';
import { client, clients } from './clients.js';
import { cluster } from './cluster.js';
import { permissions, roles, users } from './accounts.js';
import { audit, namespaces, switches } from './settings.js';

const THEME = 'naming-server.theme';
const pages = { overview, services, service, events, clients, client, cluster, namespaces, users, roles, permissions, switches, audit };
/** Pages in the navigation; a page that stands behind one of these names it. */
const entries = () => [
  ['overview', t('Overview')], ['services', t('Services')], ['clients', t('Clients')], ['events', t('Events')],
  ['cluster', t('Cluster')], ['namespaces', t('Namespaces')], ['users', t('Users')], ['roles', t('Roles')],
  ['permissions', t('Permissions')], ['switches', t('Switches')], ['audit', t('Audit')],
];
const behind = { service: 'services', client: 'clients' };

const frame = document.getElementById('frame');
let state = {};
let open = null;
let hasMoved = false;

function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

const prefersDark = matchMedia('(prefers-color-scheme: dark)');

function dress() {
  const theme = stored(THEME) ?? 'auto';
  document.documentElement.dataset.theme = theme === 'auto' ? (prefersDark.matches ? 'dark' : 'light') : theme;
}

function setTheme(theme) {
  try {
    localStorage.setItem(THEME, theme);
  } catch {
    document.documentElement.dataset.theme = theme;
    return;
  }
  dress();
}

/** What the address of the page says: which page, and its parameters. */
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split(/\?/, 2);
  const name = path in pages ? path : 'overview';
  return { name, parameters: Object.fromEntries(new URLSearchParams(query ?? '')) };
}

async function start() {
  speak(current());
  dress();
  prefersDark.addEventListener('change', dress);
  onExpired(() => show());
  window.addEventListener('hashchange', () => show());
  document.addEventListener('visibilitychange', () => { if (!document.hidden) open?.ask(); });
  document.querySelector('.skip').addEventListener('click', (event) => {
    event.preventDefault();
    document.getElementById('main')?.focus();
  });
  await learn();
  show();
}

async function learn() {
  try {
    state = await get(paths.state);
  } catch (failure) {
    state = { failure };
  }
}

const isAuthOn = () => state.auth_enabled === 'true' || state.auth_enabled === true;

/** Shows the page that the address names, or whatever has to come before. */
async function show() {
  document.querySelector('.skip').textContent = t('Skip to content');
  open?.close();
  open = null;
  if (state.failure) {
    update(frame, h('main', { id: 'main', class: 'login', tabindex: '-1' }, h('div', { class: 'card' }, h('h1', {}, 'naming-server'),
      h('p', { class: 'error', role: 'alert' }, reasonOf(state.failure)),
      h('button', { class: 'main', onclick: async () => { await learn(); show(); } }, t('Try again')))));
    return;
  }
  if (isAuthOn() && !user()) {
    const needsAdmin = state.auth_admin_request === 'true';
    const done = async (answer) => {
      if (answer) remember(answer);
      await learn();
      show();
    };
    document.title = t('Log in');
    update(frame, h('main', { id: 'main', class: 'login', tabindex: '-1' }, controls('login-controls'), needsAdmin ? firstAdministrator(done) : login(done)));
    frame.querySelector('input')?.focus();
    return;
  }
  const { name, parameters } = place();
  open = new Open(name, parameters);
  open.begin();
}

function controls(id) {
  const theme = stored(THEME) ?? 'auto';
  return h('div', { class: 'row', id },
    h('label', { class: 'field' }, t('Theme'), h('select', { id: 'theme', value: theme, onchange: (event) => setTheme(event.target.value) },
      h('option', { value: 'auto' }, t('as the system')), h('option', { value: 'light' }, t('light')), h('option', { value: 'dark' }, t('dark')))),
    h('label', { class: 'field' }, t('Language'), h('select', { id: 'language', value: current(), onchange: (event) => { speak(event.target.value); show(); } },
      h('option', { value: 'en' }, 'English'), h('option', { value: 'zh' }, '中文'))));
}

/** A page that is open: what it shows, and when it asks again. */
class Open {
  constructor(name, parameters) {
    this.name = name;
    this.parameters = parameters;
    this.page = pages[name]({
      parameters,
      isAuthOn: isAuthOn(),
      /** The same page with other parameters. */
      go: (changed) => { location.hash = hash(name, { ...parameters, ...changed }); },
      ask: () => this.ask(),
    });
    this.isOver = false;
    this.isAsking = false;
    this.failure = null;
    // Nothing has been answered yet.
    this.asked = undefined;
  }

  begin() {
    const title = this.page.title();
    document.title = `${title} · naming-server`;
    this.draw();
    // Whoever reads by ear hears where the way has led; the first page begins at its beginning.
    if (hasMoved && document.activeElement === document.body) document.getElementById('main').focus({ preventScroll: true });
    hasMoved = true;
    window.scrollTo(0, 0);
    this.ask();
  }

  close() {
    this.isOver = true;
    clearTimeout(this.timer);
  }

  /** Asks anew now. A page that nobody sees does not ask. */
  async ask() {
    clearTimeout(this.timer);
    if (this.isAsking) {
      this.isMissed = true;
      return;
    }
    this.isAsking = true;
    try {
      this.asked = await this.page.load();
      this.failure = null;
    } catch (failure) {
      if (!(failure instanceof Failure)) console.error(failure);
      this.failure = failure;
    }
    this.isAsking = false;
    if (this.isOver) return;
    this.draw();
    if (this.isMissed) {
      this.isMissed = false;
      this.ask();
      return;
    }
    if (this.page.every && !document.hidden) this.timer = setTimeout(() => this.ask(), this.page.every);
  }

  draw() {
    const active = behind[this.name] ?? this.name;
    const known = user();
    const leave = () => { remember(null); show(); };
    const body = this.asked !== undefined
      ? this.page.view(this.asked)
      : this.failure ? [] : h('p', { class: 'soft' }, t('Loading …'));
    update(frame, h('div', { class: 'frame' },
      h('header', { class: 'side' },
        h('div', { class: 'brand' }, h('img', { src: 'console/icon.svg', alt: '' }), 'naming-server'),
        h('nav', { 'aria-label': t('Main navigation') }, h('ul', {}, entries().map(([name, label]) =>
          h('li', {}, h('a', { href: hash(name), 'aria-current': name === active ? 'page' : null }, label)))))),
      h('div', {},
        h('div', { class: 'top' },
          h('span', { class: 'grow' }, known ? t('Logged in as {0}', known.name) : t('Authentication is off: whoever reaches this page may change everything.')),
          controls('controls'),
          known && h('button', { onclick: leave }, t('Log out'))),
        h('div', { id: 'trouble', role: 'alert' }, this.failure && this.asked !== undefined
          && h('div', { class: 'banner' }, t('What you see is not up to date: {0} Asking again.', reasonOf(this.failure)))),
        h('main', { id: 'main', tabindex: '-1', 'aria-busy': this.asked === undefined && !this.failure ? 'true' : null },
          this.failure && this.asked === undefined && [h('h1', {}, this.page.title()), h('p', { class: 'error' }, reasonOf(this.failure)), h('p', { class: 'note' }, t('Without the right to see this page, ask an administrator.'))],
          body))));
  }
}

start();
