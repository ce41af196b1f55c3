// The console in a real browser: `cargo xtask browser` installs what this needs and starts it.
//
// SERVER and SUPERVISOR are programs, CHROMIUM the browser, SHOTS the folder for pictures. With ASSETS,
// files of that folder take the place of those in the server: changes are tried without a build.

import fs from 'node:fs';
import path from 'node:path';

import { chromium } from 'playwright-core';

import { accounts } from './accounts.mjs';
import { cluster } from './cluster.mjs';
import { alone } from './alone.mjs';

const only = process.argv[2];
const shots = process.env.SHOTS;
fs.mkdirSync(shots, { recursive: true });

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
const failures = [];
let passed = 0;

/** A tab of its own, which counts everything that goes wrong in it. */
async function tab({ width = 1280, height = 900, allowed = [], ...more } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, locale: 'en-GB', ...more });
  const page = await context.newPage();
  page.setDefaultTimeout(15000);
  page.troubles = [];
  if (process.env.ASSETS) {
    await page.route(/\/console\/[\w-]+\.(js|css)$/, (route) => route.fulfill({ path: path.join(process.env.ASSETS, path.basename(new URL(route.request().url()).pathname)) }));
  }
  const isAllowed = (text) => allowed.some((part) => text.includes(part));
  page.on('pageerror', (error) => page.troubles.push(`error: ${error.stack ?? error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error' && !isAllowed(message.text())) page.troubles.push(`console: ${message.text()}`);
  });
  page.on('dialog', (dialog) => {
    page.troubles.push(`a script has opened a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  return page;
}

/** Runs one check; its tabs are closed afterwards and must have had no trouble. */
async function check(name, run) {
  if (only && !name.includes(only)) return;
  const begun = Date.now();
  const tabs = [];
  const open = async (settings) => {
    const page = await tab(settings);
    tabs.push(page);
    return page;
  };
  try {
    await run(open);
    const troubles = tabs.flatMap((page) => page.troubles);
    if (troubles.length) throw new Error(troubles.join('\n'));
    passed += 1;
    console.log(`ok    ${name} (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failures.push(name);
    console.log(`FAIL  ${name}\n${error.stack}`);
    await tabs.at(-1)?.screenshot({ path: `${shots}/failed-${failures.length}.png` }).catch(() => {});
  }
  for (const page of tabs) await page.context().close();
}

/** A picture for the documentation. */
const picture = (page, name) => page.screenshot({ path: `${shots}/${name}.png` });

for (const part of [alone, accounts, cluster]) {
  try {
    await part({ check, picture });
  } catch (error) {
    failures.push(part.name);
    console.log(`FAIL  ${part.name}\n${error.stack}`);
  }
}
await browser.close();
console.log(`${passed} passed, ${failures.length} failed`);
process.exit(failures.length ? 1 : 0);
