// The day in a real VS Code, in the page of a real browser.
//   usage: editors/day/by-hand vscode [TASK [WIDTH [dark|light|contrast]]]
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { launch, Window } from '../vscode/test/page/browser.mjs';
import { daemons } from '../vscode/test/page/processes.mjs';
import { startServer } from '../vscode/test/server.mjs';
import { day, pause, prepare, until } from './day.mjs';

const [, , pattern = '', width = '1360', look = 'dark'] = process.argv;
const themes = {
  dark: 'Default Dark Modern',
  light: 'Default Light Modern',
  contrast: 'Default High Contrast',
};
const vscode = resolve(import.meta.dirname, '../vscode');
const program = join(vscode, 'bin/meanwhile');
const place = mkdtempSync(join(tmpdir(), 'mw-day-'));
const out = join(process.env.DAY ?? join(place, 'pictures'), `${width}-${look}`);
const shop = join(place, 'shop');
const env = prepare(place, shop, program);
const server = await startServer([], {
  vsix: join(vscode, 'meanwhile-linux-x64.vsix'),
  env,
  workspace: shop,
  settings: {
    'workbench.colorTheme': themes[look],
    'editor.minimap.enabled': false,
    'breadcrumbs.enabled': false,
    'meanwhile.notifyAfterSeconds': 3,
  },
});
const cli = (...args) =>
  execFileSync(program, args, {
    cwd: shop,
    encoding: 'utf8',
    env: { ...process.env, ...env, MEANWHILE_STATE_DIR: server.state },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
const browser = await launch();
const window = await Window.open(browser, server, { width: Number(width), height: 860 });
const { page } = window;
const chat = () => window.chat();
const picture = async (file) => {
  await page.mouse.move(Number(width) / 2, 200);
  await pause(600);
  await page.screenshot({ path: file });
};
const edit = async (name) => {
  await window.command('Go to File...');
  await page.locator('.quick-input-widget input[type=text]').fill(name);
  await page.locator('.quick-input-list .monaco-list-row', { hasText: name }).first().click();
  await page.locator('.editor-instance .view-line').first().click();
};
const said = (text) => chat().locator('.entry.agent-text', { hasText: text });
const say = async (text) => {
  await window.showChat();
  await chat().locator('textarea:enabled').fill(text);
  await chat().locator('textarea').press('Enter');
};
/** Runs a command; if places are set up, chooses this machine. */
const run = async (command, where = 'This machine') => {
  await window.run(command);
  await page.locator('.quick-input-list .monaco-list-row', { hasText: where }).first().click();
};

const tasks = {
  async build(step) {
    await edit('cart.c');
    await run('sh build.sh');
    await page.locator('.editor-instance .view-line').last().click();
    await page.keyboard.type('// more to do');
    await step('Ctrl+Alt+W R, `sh build.sh`, and typing goes on');
    await window.showTasks();
    await window.output('sh build.sh', '#####');
    await step('a click on its line: the bar has the width of the terminal');
    await window.command('View: Show Explorer');
    await page.locator('.editor-instance .view-line').last().click();
    await window.command('View: Hide Panel');
    // Its terminal is the active one, in a hidden panel: a success is not told, the badge counts it.
    await page.locator('.activitybar .badge-content', { hasText: '1' }).first().waitFor();
    await step('counted on the badge of the view');
    await page.locator('.editor-instance .view-line').last().click();
    await page.keyboard.press('Control+Z');
    await page.keyboard.press('Control+S');
  },
  async failing(step) {
    await run('make');
    await window.showTasks();
    await window.row(/make.*exit 2/s).waitFor();
    await window.command('Problems: Focus on Problems View');
    const problem = page.locator('.markers-panel .monaco-list-row', { hasText: 'cuont' });
    await problem.waitFor();
    await step('`make`, and the Problems view');
    await problem.dblclick();
    await step('a double click: at the line');
  },
  async input(step) {
    await window.command('View: Show Explorer');
    await run('sh release.sh');
    await window.toast('waits for input').waitFor({ timeout: 40_000 });
    await step('told that it waits');
    await window.toast('waits for input').getByText('Show Output').click();
    await window.terminal('Publish shop').waitFor();
    await page.keyboard.type('y\n');
    await window.terminal('published').waitFor();
    await step('Show Output, `y`: published');
    await window.command('Notifications: Clear All Notifications');
  },
  async runaway(step) {
    await window.showTasks();
    await run('sh serve.sh');
    await window.output('sh serve.sh', 'GET /cart');
    await window.act('sh serve.sh', 'Stop');
    await window.row(/serve\.sh.*stopped by/s).waitFor();
    await step('Stop at the end of its line');
    await window.row('sh serve.sh').hover();
    await page.locator('.monaco-hover', { hasText: 'process' }).waitFor();
    await pause(600);
    await page.screenshot({ path: join(out, 'vscode-04-runaway-hover.png') });
  },
  async again(step) {
    writeFileSync(join(shop, '.env-of-server'), '');
    await run('cd /tmp && pwd; sleep 1');
    await window.row(/cd .tmp.*just now/s).waitFor();
    await window.act('cd /tmp', 'Restart');
    await window.terminal('/tmp').waitFor();
    await step('Restart: the new one in the terminal of the old one');
  },
  async queue(step) {
    await run('sh tests.sh');
    await run('sh tests.sh');
    await window.showTasks();
    await window.row(/queued, 1st for tests/).waitFor();
    await step('the second is queued, and says behind what');
    await until(
      async () => (await window.tree().locator('.monaco-list-row', { hasText: /tests\.sh.*just now/s }).count()) === 2,
      'both are done',
    );
    await step('both are done');
  },
  async agent(step) {
    await say('Run the tests');
    await chat().locator('.ask').waitFor();
    await step('the question');
    await chat().locator('.ask button.primary').click();
    await said('You hear from me').waitFor();
    await edit('cart.py');
    await step('it goes on while the tests run');
    await said('3 of 3 pass').waitFor();
    await step('the result has woken it');
  },
  async hunk(step) {
    await say('Mend the cart');
    await chat().locator('.ask button.review').click();
    const diff = page.locator('.editor-instance .monaco-diff-editor .editor.modified');
    await diff.locator('.view-line', { hasText: 'item.count' }).waitFor();
    await step('Look at the Change');
    await diff.locator('.view-line', { hasText: '; ' }).click();
    await window.command('Diff Editor: Revert');
    await step('the second part is taken back');
    await page.locator('.editor-actions .action-label[aria-label^="Allow This Version"]').click();
    await said('the comma stays').waitFor();
    await step('allowed as it stood');
    const text = readFileSync(join(shop, 'cart.py'), 'utf8');
    if (!text.includes('", ".join') || !text.includes('item.count')) throw new Error(text);
  },
  async survive(step) {
    await run('sh tests.sh 6');
    await window.showChat();
    await chat().locator('textarea').fill('half a sentence');
    const [old] = daemons(server);
    process.kill(old.pid, 'SIGKILL');
    await until(() => daemons(server).some(({ pid }) => pid !== old.pid), 'another daemon');
    await pause(1500);
    await step('the daemon was killed');
    await window.reload();
    await window.showTasks();
    await window.showChat();
    await said('the comma stays').waitFor();
    await window.row(/tests\.sh 6/).waitFor();
    await step('after a reload of the window');
  },
  async timeline(step) {
    await window.showTimeline();
    const select = window.timeline().locator('select[aria-label=Session]');
    await until(async () => (await select.locator('option').count()) >= 3, 'the list');
    await select.selectOption(await select.locator('option').nth(2).getAttribute('value'));
    await window.timeline().locator('rect.span.call').first().waitFor();
    await step('Ctrl+Alt+W L, and the session');
    await window.timeline().locator('path.mark.enters').first().hover();
    await pause(500);
    await page.screenshot({ path: join(out, 'vscode-10-timeline-hover.png') });
  },
  async place(step) {
    await window.showTasks();
    await run('sh tests.sh 1', 'build');
    await run('make shop', 'attic');
    await window.row(/make shop/).waitFor();
    await window.row(/tests\.sh 1.*just now/s).waitFor({ timeout: 30_000 });
    await step('one is done there, one cannot be reached');
    // A line that is drawn again while the mouse rests on it shows no hover: rest there once more.
    const hover = page.locator('.monaco-hover', { hasText: 'No route' });
    await until(async () => {
      await page.mouse.move(Number(width) / 2, 200);
      await window.row('make shop').hover();
      return hover.waitFor({ timeout: 3_000 }).then(
        () => true,
        () => false,
      );
    }, 'the hover');
    await page.screenshot({ path: join(out, 'vscode-11-place-hover.png') });
    await window.output('sh tests.sh 1', 'test total');
    await window.act('make shop', 'Stop');
    await window.row(/make shop.*stopped/s).waitFor();
    await step('its output, and the other one is stopped');
  },
  async watch(step) {
    const other = spawn(program, ['chat'], {
      cwd: shop,
      env: { ...process.env, ...env, MEANWHILE_STATE_DIR: server.state },
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    other.stdin.write('What is in the cart?\n');
    await until(() => cli('sessions').includes('What is in the cart'), 'its session');
    await window.command('Meanwhile: Open Agent Session...');
    await page.locator('.quick-input-list .monaco-list-row', { hasText: 'What is in' }).click();
    await said('a price and a count').waitFor();
    await step('Open Session: what is said there');
    other.stdin.write('What is in the cart now?\n');
    await chat().locator('.entry.user', { hasText: 'now?' }).waitFor();
    await step('and what is said next');
    other.stdin.end();
    await new Promise((done) => other.once('exit', done));
    await say('What is in the cart, then?');
    await until(async () => (await said('a price and a count').count()) === 3, 'the answer');
    await step('it is free: the next prompt is said from here');
  },
};

let code = 1;
try {
  code = await day('vscode', out, pattern, tasks, picture);
} finally {
  await browser.close();
  await server.dispose();
  execFileSync(program, ['stop', '--all'], {
    cwd: join(place, 'far/shop'),
    env: { ...process.env, MEANWHILE_STATE_DIR: join(place, 'far/state') },
    stdio: 'ignore',
  });
  console.log(out);
}
process.exit(code);
