// Servers to be looked at. Each runs below a supervisor that ends it when this process ends.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const PATIENCE_MS = 60000;

export const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Waits until `condition` gives something true, which is given back. */
export async function until(what, condition, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await pause(25);
  }
}

const isFree = (port) => new Promise((resolve) => {
  const probe = net.createServer();
  probe.once('error', () => resolve(false));
  probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
});

export async function freePort() {
  for (;;) {
    const port = 20000 + Math.floor(Math.random() * 20000);
    // gRPC is 1000 above.
    if (await isFree(port) && await isFree(port + 1000)) return port;
  }
}

export class Server {
  constructor(port, folder, settings) {
    Object.assign(this, { port, folder, settings });
    this.address = `127.0.0.1:${port}`;
    this.beats = new Set();
    this.page = `http://${this.address}/nacos/`;
  }

  static async start(settings = []) {
    const server = new Server(await freePort(), fs.mkdtempSync(path.join(os.tmpdir(), 'console-')), settings);
    await server.run();
    return server;
  }

  /** Three members. */
  static async cluster() {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'console-'));
    const [members, secret] = [path.join(folder, 'members'), path.join(folder, 'secret')];
    const ports = [await freePort(), await freePort(), await freePort()];
    fs.writeFileSync(members, ports.map((port) => `127.0.0.1:${port}\n`).join(''));
    fs.writeFileSync(secret, 'a secret of thirty-two bytes or more\n', { mode: 0o600 });
    const servers = ports.map((port, index) => new Server(port, path.join(folder, `data-${index}`), [
      `advertise=127.0.0.1:${port}`, `cluster.members_file=${members}`, `cluster.secret_file=${secret}`,
    ]));
    await Promise.all(servers.map((server) => server.run()));
    return servers;
  }

  async run() {
    const settings = ['log.level=warn', ...this.settings].flatMap((setting) => ['--set', setting]);
    const command = [process.env.SERVER, '--bind', '127.0.0.1', '--port', String(this.port), '--data-dir', this.folder, ...settings];
    this.log = '';
    this.process = spawn(process.env.SUPERVISOR, ['supervise', ...command], { stdio: ['pipe', 'ignore', 'pipe'] });
    this.process.stderr.on('data', (data) => { this.log = (this.log + data).slice(-20000); });
    this.process.stdin.on('error', () => {});
    let isOver = false;
    this.process.on('exit', () => { isOver = true; });
    await until('a server that is ready', async () => {
      if (isOver) throw new Error(`the server has ended:\n${this.log}`);
      return (await this.ask('GET', 'v1/console/health/readiness').catch(() => null))?.status === 200;
    });
  }

  /** Ends it as `kill -9` does. */
  async kill() {
    this.process.stdin.write('kill\n');
    await until('the end of a server', () => this.ask('GET', '').then(() => false, () => true));
    this.process.stdin.end();
  }

  end() {
    clearInterval(this.beating);
    this.process.stdin.end();
  }

  async ask(method, target, headers = {}, body = undefined) {
    const response = await fetch(`${this.page}${target}`, { method, headers, body, redirect: 'manual' });
    return { status: response.status, headers: response.headers, text: await response.text() };
  }

  /** A request that must be answered 200. */
  async call(method, target, headers, body) {
    const answer = await this.ask(method, target, headers, body);
    if (answer.status !== 200) throw new Error(`${method} ${target}: ${answer.status} ${answer.text}`);
    return answer.text;
  }

  register(serviceName, ip, port, more = {}, isKept = true) {
    if (isKept) this.beats.add(String(new URLSearchParams({ serviceName, ip, port })));
    this.beating ??= setInterval(() => this.beat(), 4000);
    const query = new URLSearchParams({ serviceName, ip, port, ...more });
    return this.call('POST', `v2/ns/instance?${query}`, { 'user-agent': 'Nacos-Java-Client:v1.4.8' });
  }

  /** Beats for what was registered with `register`, so that it stays. */
  async beat() {
    for (const beat of this.beats) await this.ask('PUT', `v1/ns/instance/beat?${beat}`).catch(() => {});
  }

  /** The addresses that clients are given. */
  async hosts(serviceName) {
    const list = JSON.parse(await this.call('GET', `v1/ns/instance/list?serviceName=${serviceName}`));
    return list.hosts.map((host) => `${host.ip}:${host.port}`);
  }
}
