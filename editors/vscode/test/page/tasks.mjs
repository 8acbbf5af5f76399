// Background tasks in the page of a real VS Code, with the package installed as a person would.
//   usage: node test/page/tasks.mjs X.vsix [PATTERN]
// Prints one line per test, then `N passed, N failed`.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { availableParallelism, loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { startServer } from '../server.mjs';
import { launch, Window } from './browser.mjs';
import { connect } from './client.mjs';
import { daemons, parentOf, running } from './processes.mjs';
import { hasCount, runner, until } from './runner.mjs';

const [vsix = 'meanwhile-linux-x64.vsix', pattern = ''] = process.argv.slice(2);
/** The pause that a person notices as a hang; longer on a busy machine. */
const feltMs = () => 800 * Math.max(1, loadavg()[0] / availableParallelism());

const server = await startServer([], {
  vsix: resolve(vsix),
  files: {
    '.vscode/tasks.json': JSON.stringify({
      version: '2.0.0',
      tasks: [{ type: 'meanwhile', label: 'server', command: 'echo serving; sleep 404' }],
    }),
  },
});
const program = join(import.meta.dirname, '../../bin/meanwhile');
/** The command line, as another client of the same workspace. */
const cli = (...args) =>
  execFileSync(program, args, {
    cwd: server.workspace,
    encoding: 'utf8',
    env: { ...process.env, MEANWHILE_STATE_DIR: server.state },
  });
const browser = await launch();
const window = await Window.open(browser, server);
// Otherwise the next test would count tasks that a failed test left running.
const { test: run, end } = runner(pattern, () => cli('stop', '--all'));
const test = (name, work) => run(window, name, work);

/** Whether all commands that contain these words have ended. */
const idle = (words) => !cli('ps', '--state', 'running', '--json').includes(words);

const clear = async () => {
  await window.command('Notifications: Clear All Notifications');
};

await test('a command is run, shows in the list and the status bar, and is told when it ends', async () => {
  await window.showTasks();
  await window.run('echo one; while [ ! -e stop-one ]; do sleep 0.1; done; echo two; exit 7');
  await window.row('echo one').waitFor();
  await until(async () => /1/.test(await window.statusText()), 'the status bar counts it');
  await window.hideTasks();
  execFileSync('touch', [join(server.workspace, 'stop-one')]);
  await window.toast('exited 7 after').waitFor();
  await window.toast('exited 7 after').getByText('Show Output').click();
  await window.terminal('two').waitFor();
  await window.page.locator('.activitybar .badge:visible', { hasText: '1' }).waitFor();
  await until(async () => (await window.statusText()) !== '', 'the status bar counts the failure');
  await window.showTasks();
  await until(async () => (await window.statusText()) === '', 'idle, it says nothing');
  await window.row('echo one').filter({ hasText: 'exit 7' }).waitFor();
});

await test('its progress is shown by the list and by the status bar', async () => {
  await window.showTasks();
  await window.run('echo "42% done"; while [ ! -e stop-pct ]; do sleep 0.1; done');
  await window
    .tree()
    .locator('.monaco-list-row', { hasText: /42% echo.*\ds · about/s })
    .waitFor();
  await window.page
    .locator('.statusbar-item', { hasText: /42%|echo "42% done"/ })
    .first()
    .waitFor();
  assert.equal(await window.page.locator('.statusbar-item', { hasText: /42%/ }).count(), 1);
  execFileSync('touch', [join(server.workspace, 'stop-pct')]);
  await window
    .tree()
    .locator('.monaco-list-row', { hasText: /42% done.*just now/ })
    .waitFor();
});

await test('output comes live, and input goes in', async () => {
  await window.showTasks();
  await window.run(
    'read name; echo "hello, $name"; sleep 0.2; echo "and $(tput cols 2>/dev/null || echo bye)"',
  );
  await window.row('read name').dblclick();
  await window.page.locator('.xterm-helper-textarea:focus').waitFor({ state: 'attached' });
  await window.page.keyboard.type('world');
  await window.page.keyboard.press('Enter');
  await window.terminal('hello, world').waitFor();
  await window.terminal('[exited 0').waitFor();
  await clear();
});

await test('a command has the width of the terminal that shows it', async () => {
  await window.showTasks();
  await window.run(
    ": its size; trap 'stty size' WINCH; echo ready; stty size; while :; do sleep 0.05; done",
  );
  await window.output(': its size', 'ready');
  const fits = async () => {
    const screen = window.page.locator('.terminal-wrapper.active .xterm-rows:visible');
    const rows = await screen.locator('> div').count();
    const [, last] = (await screen.innerText()).match(/(\d+)[\s\u00a0]+\d+\s*$/) ?? [];
    return Number(last) === rows;
  };
  await until(fits, 'the size of the terminal as it opened');
  await window.command('View: Toggle Maximized Panel');
  await until(fits, 'the size of the terminal made larger');
  await window.command('View: Toggle Maximized Panel');
  await until(fits, 'the size of the terminal made smaller');
  await window.showTasks();
  await window.act(': its size', 'Stop');
  await window.run(': size from its start; stty size; cat');
  await window.output(': size from', /\d+ \d+/);
  await until(fits, 'a command begins with the size that was seen last');
  await window.showTasks();
  await window.act(': size from', 'Stop');
});

await test('what a person sees needs no notice, and several are one, kept until the window has focus', async () => {
  const end = (name) => execFileSync('touch', [join(server.workspace, name)]);
  await clear();
  await window.showTasks();
  const wait = (name) => `: ${name}; while [ ! -e ${name} ]; do sleep 0.05; done`;
  for (const name of ['seen', 'gone-1', 'gone-2', 'in-terminal']) {
    await window.run(wait(name));
    await window.row(`: ${name}`).waitFor();
  }
  end('seen');
  await window
    .tree()
    .locator('.monaco-list-row', { hasText: /: seen.*just now/ })
    .waitFor();
  await window.row(': in-terminal').click();
  await window.page.locator('.terminal-wrapper.active:visible').waitFor();
  await window.hideTasks();
  end('in-terminal');
  await window.terminal('exited 0 after').waitFor();
  await window.focused(false);
  for (const name of ['gone-1', 'gone-2']) end(name);
  await until(() => idle('gone-'), 'both have ended');
  await window.page.locator('.activitybar .badge:visible', { hasText: '3' }).waitFor();
  assert.equal(
    await window.page.locator('.notification-toast').count(),
    0,
    'nothing was told so far',
  );
  await window.focused(true);
  await window
    .toast(/2 background tasks finished: : gone-[12].* exited 0.*: gone-[12].* exited 0/)
    .waitFor();
  assert.equal(await window.page.locator('.notification-toast').count(), 1);
  await clear();
  await window.showTasks();
  assert.equal(
    JSON.parse(cli('drain', '--queue', 'person', '--json')).notifications.length,
    0,
    'the client that told has emptied the queue',
  );
});

await test('what ended while no window was there is told by the next one', async () => {
  await window.showTasks();
  await window.run('while [ ! -e away ]; do sleep 0.05; done; exit 9');
  await window.row('away').waitFor();
  const [{ pid }] = daemons(server);
  await window.page.goto('about:blank');
  process.kill(parentOf(pid), 'SIGKILL');
  await until(() => daemons(server).length === 0, 'its daemon is gone', 60_000);
  execFileSync('touch', [join(server.workspace, 'away')]);
  await until(() => idle('away'), 'it has ended');
  await window.page.goBack();
  await window.ready();
  await window.toast('exited 9 after').waitFor();
  await clear();
});

await test('stop and restart at the end of a line', async () => {
  await window.showTasks();
  await window.run('sleep 401');
  await window.row('sleep 401').waitFor();
  await until(() => running(server, 'sleep\u0000401').length > 0, 'it runs');
  await window.act('sleep 401', 'Restart');
  await window
    .tree()
    .locator('.monaco-list-row', { hasText: /sleep 401.*stopped/s })
    .waitFor();
  await window.act('sleep 401', 'Stop');
  await until(() => running(server, 'sleep\u0000401').length === 0, 'nothing of it is left');
  assert.equal(
    await window.tree().locator('.monaco-list-row', { hasText: 'sleep 401' }).count(),
    2,
  );
});

await test('the delete key stops what runs, and asks before it removes what has ended', async () => {
  await window.run('sleep 410');
  const row = () => window.tree().locator('.monaco-list-row', { hasText: 'sleep 410' });
  await window.showTasks();
  await row().waitFor();
  await row().click();
  await window.page.locator('.terminal-wrapper.active:visible').waitFor();
  await window.page.keyboard.press('Delete');
  await row().filter({ hasText: 'stopped' }).waitFor();
  await window.page.keyboard.press('Delete');
  const dialog = window.page.locator('.monaco-dialog-box', { hasText: 'sleep 410' });
  await dialog.getByText('Forget', { exact: true }).click();
  await row().waitFor({ state: 'detached' });
});

await test('filter, and clear what has finished', async () => {
  await window.showTasks();
  await window.command('Meanwhile: Filter...');
  await window.page.locator('.quick-input-title', { hasText: 'Filter' }).waitFor();
  await window.input().fill('no such command');
  await window.page.keyboard.press('Enter');
  await window.page.getByText(/nothing matches/).waitFor();
  await window.command('Meanwhile: Clear Filter');
  await window.row('sleep 401').waitFor();
  cli('stop', '--all');
  await window.command('Meanwhile: Clear Finished');
  await window.page.locator('.monaco-dialog-box').getByText('Forget', { exact: true }).click();
  await window.page.getByText(/Nothing runs in the background/).waitFor();
});

await test('a daemon killed with SIGKILL is back, and the list with it', async () => {
  await window.showTasks();
  await window.run('sleep 402');
  await window.row('sleep 402').waitFor();
  const [old] = daemons(server);
  process.kill(old.pid, 'SIGKILL');
  await until(() => daemons(server).some(({ pid }) => pid !== old.pid), 'another daemon');
  await window.row('sleep 402').waitFor();
  await window.act('sleep 402', 'Stop');
  await window
    .tree()
    .locator('.monaco-list-row', { hasText: /sleep 402.*stopped/s })
    .waitFor();
});

await test('after a reload of the window the task goes on and the list is back', async () => {
  await window.showTasks();
  await window.run('echo still here; sleep 403');
  await window.row('still here').waitFor();
  await until(() => running(server, 'sleep\u0000403').length > 0, 'it runs');
  const [{ pid }] = running(server, 'sleep\u0000403');
  await window.reload();
  await window.showTasks();
  await window.row('still here').waitFor();
  assert.deepEqual(
    running(server, 'sleep\u0000403').map((one) => one.pid),
    [pid],
  );
  await window.output('still here', 'still here');
  await window.act('still here', 'Stop');
  await until(() => running(server, 'sleep\u0000403').length === 0, 'it is stopped');
});

await test('a task of tasks.json survives a reload too', async () => {
  const listed = window.page
    .locator('.quick-input-list .monaco-list-row', { hasText: /server/ })
    .first();
  await until(async () => {
    // Right after a reload, VS Code lists only the entries that it knows so far, and does not update the list.
    await window.command('Tasks: Run Task');
    const isThere = await listed.waitFor({ timeout: 3_000 }).then(
      () => true,
      () => false,
    );
    if (!isThere) await window.page.keyboard.press('Escape');
    return isThere;
  }, 'the task is listed');
  await listed.click();
  await window.terminal('serving').waitFor();
  await until(() => running(server, 'sleep\u0000404').length > 0, 'it runs');
  await window.reload();
  await window.showTasks();
  await window.row('server').waitFor();
  assert.equal(running(server, 'sleep\u0000404').length, 1);
  await window.act('server', 'Stop');
  await until(() => running(server, 'sleep\u0000404').length === 0, 'it is stopped');
});

await test('two windows on one folder see one another\u2019s tasks, and the command line\u2019s', async () => {
  const other = await Window.open(browser, server);
  await other.showTasks();
  await other.run('sleep 405');
  await window.page.bringToFront();
  await window.showTasks();
  await window.row('sleep 405').waitFor();
  await window.act('sleep 405', 'Stop');
  await other
    .tree()
    .locator('.monaco-list-row', { hasText: /sleep 405.*stopped/s })
    .waitFor();
  cli('spawn', '--label', 'from-a-shell', '--', 'sleep', '406');
  await window.row('from-a-shell').waitFor();
  await other.row('from-a-shell').waitFor();
  cli('stop', '--all');
  await other.close();
});

await test('the panel draws a lane for each task, and is rebuilt after it was hidden', async () => {
  await window.run('sleep 407 # lane');
  await window.showTimeline();
  const bar = window.timeline().locator('rect.span.task.running[aria-label*="sleep 407"]');
  await bar.waitFor();
  const tasks = JSON.parse(cli('ps', '--all', '--json')).tasks.length;
  await hasCount(window.timeline().locator('.label.task'), tasks);
  await bar.focus();
  await window.timeline().locator('.hover', { hasText: 'sleep 407' }).waitFor();
  await window.page.keyboard.press('Home');
  const focused = await window.timeline().locator(':focus').getAttribute('aria-label');
  assert.ok(tasks === 1 || !/sleep 407/.test(focused ?? ''), 'the first thing has the focus');
  await window.page.keyboard.press('End');
  await window.page.keyboard.press('Enter');
  await window.page.locator('.terminal-wrapper.active:visible').waitFor();
  await window.showTimeline();
  await bar.waitFor();
  await hasCount(window.timeline().locator('.label.task'), tasks);
  cli('stop', '--all');
  await window.timeline().locator('rect.span.task.stopped[aria-label*="sleep 407"]').waitFor();
});

await test('five hundred tasks in the list, without lag', async () => {
  await window.showTasks();
  const env = { ...process.env, MEANWHILE_STATE_DIR: server.state };
  const client = await connect(program, server.workspace, env).start();
  let coming;
  try {
    coming = await window.longestFrame(async () => {
      await Promise.all(
        Array.from({ length: 500 }, () => client.call('task/spawn', { command: ['sleep', '408'] })),
      );
      await until(async () => /500/.test(await window.statusText()), 'all run', 30_000);
    });
  } finally {
    client.end();
  }
  assert.ok(coming < feltMs(), `while they came a frame took ${Math.round(coming)} ms`);
  const longest = await window.longestFrame(async () => {
    await window.row('sleep 408').click();
    for (const key of ['End', 'Home', 'PageDown', 'PageDown', 'End']) {
      await window.page.keyboard.press(key);
    }
    await window.row('sleep 408').waitFor();
  });
  assert.ok(longest < feltMs(), `a frame took ${Math.round(longest)} ms`);
  cli('stop', '--all');
  await until(async () => !/\d{2,}/.test(await window.statusText()), 'none runs', 30_000);
  await window.command('Meanwhile: Clear Finished');
  await window.page.locator('.monaco-dialog-box').getByText('Forget', { exact: true }).click();
  await clear();
});

await test('a hundred megabytes of output open at their end, without a freeze', async () => {
  await window.showTasks();
  await window.run(`: big; yes ${'z'.repeat(99)} | head -c 100000000; echo THE-END`);
  await window
    .tree()
    .locator('.monaco-list-row', { hasText: /big.*just now/ })
    .waitFor({ timeout: 60_000 });
  const since = Date.now();
  const longest = await window.longestFrame(async () => {
    await window.output(': big', 'THE-END');
  });
  assert.ok(Date.now() - since < 10_000);
  assert.ok(longest < feltMs(), `a frame took ${Math.round(longest)} ms`);
});

await test('nothing is left when the editor is killed, but the tasks', async () => {
  await window.showTasks();
  await window.run('sleep 409');
  await until(() => running(server, 'sleep\u0000409').length > 0, 'it runs');
  await browser.close();
  await server.kill('SIGKILL');
  await until(() => daemons(server).length === 0, 'no daemon is left');
  assert.equal(running(server, 'sleep\u0000409').length, 1, 'the task goes on');
  assert.match(cli('ps'), /sleep 409/);
});

await browser.close();
await server.dispose();
end();
