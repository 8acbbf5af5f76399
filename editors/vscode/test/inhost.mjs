// Runs tests inside a real extension host, as @vscode/test-electron does, but without a download.
//   usage: node test/inhost.mjs out/host.js [FOLDER FOLDER ..]
// With folders, the window opens a workspace of these. Prints one line per test, then `N passed, N failed`.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { CHROMIUM } from './chromium.mjs';
import { startServer } from './server.mjs';

const extension = join(dirname(fileURLToPath(import.meta.url)), '..');
const TIMEOUT_MS = 240_000;

const [tests = 'out/host.js', ...folders] = process.argv.slice(2);
const server = await startServer(['--vscode-option', 'enable-smoke-test-driver'], {
  files: {
    ...Object.fromEntries(folders.map((name) => [`${name}/README.md`, name])),
    '../several.code-workspace': JSON.stringify({
      folders: folders.map((path) => ({ path: `project/${path}` })),
    }),
  },
});
const host = `127.0.0.1:${server.port}`;
const uri = (path) => `vscode-remote://${host}${path}`;
const payload = [
  ['extensionDevelopmentPath', uri(extension)],
  ['extensionTestsPath', uri(join(extension, tests))],
  ['skipWelcome', 'true'],
];
const context = await chromium.launchPersistentContext(join(server.root, 'browser'), {
  ...CHROMIUM,
  viewport: { width: 1280, height: 760 },
});
const page = await context.newPage();
let finished;
const exit = new Promise((resolve) => {
  finished = resolve;
});
await page.exposeFunction('codeAutomationLog', (type, args) => {
  if (process.env.MEANWHILE_TEST_VERBOSE) console.log(`[${type}]`, ...args);
});
await page.exposeFunction('codeAutomationExit', (code) => finished(code));
const open =
  folders.length > 0
    ? `workspace=${join(server.root, 'several.code-workspace')}`
    : `folder=${server.workspace}`;
const query = `${open}&payload=${encodeURIComponent(JSON.stringify(payload))}`;
await page.goto(`http://${host}/?${query}`);
let timer;
const code = await Promise.race([
  exit,
  new Promise((done) => {
    timer = setTimeout(() => done('a time-out'), TIMEOUT_MS);
  }),
]);
clearTimeout(timer);
if (process.env.SHOT) await page.screenshot({ path: process.env.SHOT });
await context.close();

const text = existsSync(server.results) ? readFileSync(server.results, 'utf8') : '';
process.stdout.write(text);
const passed = text.match(/^ok /gm)?.length ?? 0;
let failed = text.match(/^not ok /gm)?.length ?? 0;
if (code !== 0 && failed === 0) {
  console.log(`not ok the extension host ended with ${code}`);
  failed = 1;
}
if (failed > 0 && process.env.MEANWHILE_TEST_KEEP) console.log(`kept: ${server.root}`);
else await server.dispose();
await server.kill('SIGTERM');
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
