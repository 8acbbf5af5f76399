// Both editors on one folder: a real VS Code in its page and a real Neovim beside it, each with a
// daemon of its own on the same state.
//   usage: node test/page/together.mjs X.vsix [PATTERN]
// Prints one line per test, then `N passed, N failed`. Needs what `../setup all` installs.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { startServer } from '../server.mjs';
import { launch, Window } from './browser.mjs';
import { daemons, running } from './processes.mjs';
import { runner, until } from './runner.mjs';

const [vsix = 'meanwhile-linux-x64.vsix', pattern = ''] = process.argv.slice(2);
const program = join(import.meta.dirname, '../../bin/meanwhile');
const plugin = join(import.meta.dirname, '../../../nvim');

/** A headless Neovim in a folder, queried through its command line. */
class Neovim {
  constructor(server) {
    this.address = join(server.root, 'nvim.sock');
    const home = join(server.root, 'home');
    const setup = [
      'vim.g.meanwhile = { binary = vim.env.MEANWHILE_PROGRAM, notify = function() return true end }',
      'vim.g.told = {}',
      'vim.notify = function(text) vim.g.told = vim.list_extend(vim.g.told, { text }) end',
    ];
    this.child = spawn(
      'nvim',
      [
        ...['--clean', '--headless', '--listen', this.address],
        ...['--cmd', `set rtp^=${plugin} noswapfile columns=120`],
        ...['-c', `lua ${setup.join('; ')}`],
      ],
      {
        cwd: server.workspace,
        stdio: ['pipe', 'ignore', 'inherit'],
        env: {
          ...process.env,
          HOME: home,
          XDG_CONFIG_HOME: join(home, 'config'),
          XDG_STATE_HOME: join(home, 'state'),
          XDG_DATA_HOME: join(home, 'data'),
          XDG_CACHE_HOME: join(home, 'cache'),
          MEANWHILE_STATE_DIR: server.state,
          MEANWHILE_PROGRAM: program,
        },
      },
    );
    this.exited = new Promise((done) => this.child.once('exit', done));
  }

  /** The value of a Lua expression in it; undefined if it does not answer. */
  lua(expression) {
    const call = `luaeval('vim.json.encode({ ${expression.replaceAll("'", "''")} })')`;
    try {
      const answer = execFileSync('nvim', ['--server', this.address, '--remote-expr', call], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
        timeout: 20_000,
      });
      return JSON.parse(answer)[0];
    } catch {
      return undefined;
    }
  }

  command(text) {
    assert.equal(this.lua(`vim.cmd([[${text}]])`), '', `:${text}`);
  }

  /** Waits until its task list has a matching line. */
  lists(pattern) {
    const lines = 'vim.fn.getbufline(vim.fn.bufnr("meanwhile://tasks"), 1, "$")';
    return until(
      () => this.lua(lines)?.some((line) => pattern.test(line)),
      `the list of Neovim has ${pattern}`,
    );
  }

  /** Waits for a notification with this text. */
  tells(text) {
    return until(
      () => this.lua('vim.g.told')?.some((one) => one.includes(text)),
      `Neovim tells: ${text}`,
    );
  }

  told(text) {
    return this.lua('vim.g.told').filter((one) => one.includes(text)).length;
  }

  /** Quits it as a person does, or kills it. */
  async quit() {
    if (this.lua('vim.schedule(function() vim.cmd("qall!") end) or true') !== true) {
      this.child.kill('SIGKILL');
    }
    await this.exited;
  }
}

const server = await startServer([], { vsix: resolve(vsix) });
const browser = await launch();
const window = await Window.open(browser, server);
const neovim = new Neovim(server);
process.on('exit', () => neovim.child.kill('SIGKILL'));
await until(() => neovim.lua('true'), 'Neovim answers');
const { test: run, end } = runner(pattern);
const test = (name, work) => run(window, name, work);
const gone = (text) => until(() => running(server, text).length === 0, 'nothing of it is left');

await test('both are there, each with a daemon', async () => {
  await window.showTasks();
  neovim.command('Meanwhile list');
  await neovim.lists(/0 running/);
  await until(() => daemons(server).length === 2, 'two daemons');
});

await test('a task of VS Code is in Neovim\u2019s list, which stops it, and VS Code tells', async () => {
  await window.run('sleep 421');
  await window.row('sleep 421').waitFor();
  await neovim.lists(/running.*sleep 421/);
  await until(() => running(server, 'sleep\u0000421').length === 1, 'it runs');
  const id = neovim.lua('require("meanwhile").list()[1].id');
  await window.hideTasks();
  neovim.command(`Meanwhile stop ${id}`);
  await gone('sleep\u0000421');
  await window.toast('sleep 421 stopped by client').waitFor();
  await window.showTasks();
  await window
    .tree()
    .locator('.monaco-list-row', { hasText: /sleep 421.*stopped/s })
    .waitFor();
  await neovim.lists(/stopped by client.*sleep 421/);
  await neovim.tells('sleep 421 stopped by client');
  await window.command('Notifications: Clear All Notifications');
});

await test('a task of Neovim is in VS Code\u2019s list, which stops it, and Neovim tells', async () => {
  neovim.command('Meanwhile run ++label=from-neovim sleep 422');
  await window.showTasks();
  await window.row('from-neovim').waitFor();
  await neovim.lists(/running.*from-neovim/);
  await until(() => running(server, 'sleep\u0000422').length === 1, 'it runs');
  await window.act('from-neovim', 'Stop');
  await gone('sleep\u0000422');
  await neovim.tells('from-neovim stopped by client');
  await neovim.lists(/stopped by client.*from-neovim/);
  await window
    .tree()
    .locator('.monaco-list-row', { hasText: /from-neovim.*stopped/s })
    .waitFor();
  assert.equal(neovim.told('from-neovim'), 1, 'once');
});

await test('the output of the one is read in the other', async () => {
  neovim.command('Meanwhile run ++label=words echo from Neovim');
  await window.showTasks();
  await window.output('words', 'from Neovim');
  await window.run('echo from the "window"');
  await until(
    () => neovim.lua('require("meanwhile").list()[1].command') === 'echo from the "window"',
    'Neovim knows it',
  );
  neovim.command(`Meanwhile output ${neovim.lua('require("meanwhile").list()[1].id')}`);
  await until(
    () =>
      neovim
        .lua('vim.api.nvim_buf_get_lines(0, 0, -1, false)')
        ?.some((line) => line === 'from the window'),
    'Neovim shows it',
  );
});

await test('one goes, and the other still knows everything', async () => {
  neovim.command('Meanwhile run ++label=stays sleep 423');
  await window.showTasks();
  await window.row('stays').waitFor();
  await neovim.quit();
  await until(() => daemons(server).length === 1, 'its daemon is gone');
  assert.equal(running(server, 'sleep\u0000423').length, 1, 'the task goes on');
  await window.act('stays', 'Stop');
  await gone('sleep\u0000423');
  await window
    .tree()
    .locator('.monaco-list-row', { hasText: /stays.*stopped/s })
    .waitFor();
});

await browser.close();
await neovim.quit();
await server.dispose();
end();
