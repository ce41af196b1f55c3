// Calls of the server. The token stands in a header and in the memory of this tab, never in a
// cookie: no other page can make the browser send it.

const BASE = new URL('..', import.meta.url);
const onConsolePort = document.documentElement.dataset.api === 'console';
const KEY = 'naming-server.session';
const PATIENCE_MS = 15000;

/** Paths that differ between the port of clients and that of consoles. */
export const paths = onConsolePort
  ? {
    state: 'v3/console/server/state',
    service: 'v3/console/ns/service',
    services: 'v3/console/ns/service/list',
    subscribers: 'v3/console/ns/service/subscribers',
    cluster: 'v3/console/ns/service/cluster',
    namespace: 'v3/console/core/namespace',
  }
  : {
    state: 'v3/admin/core/state',
    service: 'v3/admin/ns/service',
    services: 'v3/admin/ns/service/list',
    subscribers: 'v3/admin/ns/service/subscribers',
    cluster: 'v3/admin/ns/cluster',
    namespace: 'v3/admin/core/namespace',
  };

/** A path of what only this server has. */
export const own = (name) => `v3/console/naming-server/${name}`;

/** A call that was refused, or not answered (`status` 0). */
export class Failure extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

let session = read();
let expired = () => {};

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? null;
  } catch {
    return null;
  }
}

export const user = () => session;

/** What to do when the server no longer knows who we are. */
export function onExpired(action) {
  expired = action;
}

export function remember(answer) {
  session = answer && {
    token: answer.accessToken, name: answer.username, isAdmin: answer.globalAdmin === true,
  };
  try {
    if (session) sessionStorage.setItem(KEY, JSON.stringify(session));
    else sessionStorage.removeItem(KEY);
  } catch {
    // Without storage the session lasts as long as the page.
  }
}

const given = (values) => Object.entries(values ?? {}).filter(([, value]) => value !== undefined && value !== null);

export function get(path, query) {
  const url = new URL(path, BASE);
  for (const [name, value] of given(query)) url.searchParams.set(name, value);
  return call(url, { method: 'GET' });
}

/** A write. Its parameters are a form, but for DELETE, where they stand in the query. */
export function write(method, path, values) {
  if (method === 'DELETE') {
    const url = new URL(path, BASE);
    for (const [name, value] of given(values)) url.searchParams.set(name, value);
    return call(url, { method });
  }
  return call(new URL(path, BASE), { method, body: new URLSearchParams(given(values)) });
}

async function call(url, options) {
  const headers = session?.token ? { Authorization: `Bearer ${session.token}` } : {};
  let response;
  try {
    response = await fetch(url, {
      ...options, headers, credentials: 'omit', cache: 'no-store', redirect: 'error',
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw new Failure(0, '');
  }
  const text = await response.text();
  const body = parsed(text);
  if (response.ok && (body?.code === undefined || body.code === 0)) {
    return body !== null && typeof body === 'object' && 'code' in body ? body.data : body;
  }
  const reason = [body?.data, body?.message, text].find((one) => typeof one === 'string' && one) ?? '';
  if (response.status === 403 && session && !(await isKnown(headers))) {
    remember(null);
    expired();
  }
  throw new Failure(response.status, reason.slice(0, 500));
}

/** Whether the server still knows who we are: every user may ask for this. */
async function isKnown(headers) {
  try {
    const response = await fetch(new URL(own('namespaces'), BASE), { headers, credentials: 'omit', cache: 'no-store' });
    return response.status !== 403;
  } catch {
    return true;
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
