// A window whose agent has no model, and a person who gives it one.
//   usage: node test/page/model.mjs X.vsix [PATTERN]
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join, resolve } from 'node:path';
import { startServer } from '../server.mjs';
import { launch, Window } from './browser.mjs';
import { runner } from './runner.mjs';

const [vsix = 'meanwhile-linux-x64.vsix', pattern = ''] = process.argv.slice(2);
const KEY = 'sk-of-a-person-0123456789';
const keys = [];
/** A model server that refuses all requests, and records their keys. */
const vendor = createServer((request, reply) => {
  keys.push(request.headers['x-api-key']);
  reply.writeHead(401, { 'content-type': 'application/json' });
  reply.end('{"type":"error","error":{"type":"authentication_error","message":"who are you?"}}');
}).listen(0, '127.0.0.1');
await once(vendor, 'listening');

const server = await startServer([], {
  vsix: resolve(vsix),
  model: '',
  env: { ANTHROPIC_BASE_URL: `http://127.0.0.1:${vendor.address().port}` },
});
const browser = await launch();
const window = await Window.open(browser, server);
const { test: run, end } = runner(pattern);
const test = (name, work) => run(window, name, work);

await test('without a model there are buttons, and the first one mends it', async () => {
  await window.showChat();
  const chat = window.chat();
  await chat.locator('textarea:enabled').fill('hello');
  await chat.locator('textarea').press('Enter');
  const help = chat.locator('.no-model');
  await help.waitFor();
  assert.ok((await help.innerText()).split('\n').length <= 8, await help.innerText());
  assert.deepEqual(await help.locator('button').allInnerTexts(), [
    'Set a Key…',
    'Use a Local Server…',
    'Open Settings',
    'Play the Lesson',
    'Try again',
  ]);
  assert.equal(await chat.locator('textarea').inputValue(), 'hello', 'what was typed is kept');
  await help.getByText('Set a Key…').click();
  const row = window.page.locator('.quick-input-list .monaco-list-row', { hasText: 'Anthropic' });
  await row.click();
  const box = window.page.locator('.quick-input-widget:visible input');
  await window.page.locator('.quick-input-message', { hasText: 'The key' }).waitFor();
  await box.first().fill(KEY);
  await window.page.keyboard.press('Enter');
  await window.page.locator('.quick-input-message', { hasText: 'The name of the model' }).waitFor();
  await box.first().fill('a-model');
  await window.page.keyboard.press('Enter');
  await help.waitFor({ state: 'detached' });
  await chat.locator('textarea:enabled').press('Enter');
  await chat.locator('.entry.error').waitFor();
  assert.ok(keys.includes(KEY), 'the server is asked with it');
});

await test('the key is in no file in clear', async () => {
  const files = (dir) =>
    readdirSync(dir, { withFileTypes: true }).flatMap((one) => {
      const path = join(dir, one.name);
      return one.isDirectory()
        ? files(path)
        : one.isFile() && statSync(path).size < 5e6
          ? [path]
          : [];
    });
  const found = [server.state, join(server.root, 'data/user')]
    .flatMap(files)
    .filter((path) => readFileSync(path).includes(KEY));
  assert.deepEqual(found, []);
});

await browser.close();
await server.dispose();
vendor.close();
end();
