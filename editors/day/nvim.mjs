// The day in a real Neovim, in a real terminal.
//   usage: editors/day/by-hand nvim [TASK [COLUMNS [dark|light]]]
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { day, pause, prepare, until } from './day.mjs';

const [, , pattern = '', columns = '120', background = 'dark'] = process.argv;
const checkout = resolve(import.meta.dirname, '../..');
const program = process.env.MEANWHILE_BIN;
const root = mkdtempSync(join(tmpdir(), 'mw-day-'));
const shop = join(root, 'shop');
const out = join(process.env.DAY ?? join(root, 'pictures'), `${columns}-${background}`);
mkdirSync(shop, { recursive: true });
const env = {
  ...process.env,
  ...prepare(root, shop, program),
  HOME: root,
  XDG_STATE_HOME: join(root, 'state-home'),
  MEANWHILE_STATE_DIR: join(root, 'state'),
  MEANWHILE_BIN: program,
  COLORTERM: 'truecolor',
};

// A screen of its own, as large as the terminal.
const xvfb = spawn(
  'Xvfb',
  ['-displayfd', '3', '-screen', '0', `${columns * 9 + 10}x${36 * 19 + 8}x24`, '-nolisten', 'tcp'],
  { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] },
);
env.DISPLAY = `:${String(await new Promise((done) => xvfb.stdio[3].once('data', done))).trim()}`;
process.env.DISPLAY = env.DISPLAY;
const cli = (...args) =>
  execFileSync(program, args, { cwd: shop, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

let socket = '';
let count = 0;
let term;
async function start(...args) {
  socket = join(root, `nvim-${count++}.sock`);
  const [bg, fg] = background === 'light' ? ['#e0e2ea', '#14161b'] : ['#14161b', '#e0e2ea'];
  term = spawn(
    'xterm',
    [
      ...['-fa', 'DejaVu Sans Mono', '-fs', '11', '-geometry', `${columns}x36+0+0`, '-b', '4'],
      ...['-bg', bg, '-fg', fg, '-tn', 'xterm-256color', '-e'],
      ...[process.env.NVIM ?? 'nvim', '--clean', '--listen', socket],
      ...['--cmd', `set rtp^=${checkout}/editors/nvim background=${background} termguicolors`],
      ...['--cmd', 'set noswapfile shortmess+=I laststatus=2'],
      ...['--cmd', "set statusline=%f\\ %m%=%{%v:lua.require'meanwhile'.statusline()%}\\ "],
      ...['--cmd', 'lua vim.g.meanwhile = { binary = vim.env.MEANWHILE_BIN, notify_after = 3 }'],
      ...args,
    ],
    { cwd: shop, env, stdio: 'ignore' },
  );
  await until(() => lua('vim.v.vim_did_enter') === 1, 'Neovim has begun');
}

function remote(...args) {
  const options = { encoding: 'utf8', timeout: 20_000, stdio: ['ignore', 'pipe', 'ignore'] };
  return execFileSync(process.env.NVIM ?? 'nvim', ['--server', socket, ...args], options);
}
/** Types keys, and waits a moment for their effect. */
async function keys(text) {
  remote('--remote-send', text);
  await pause(250);
}
/** The value of a Lua expression; undefined while Neovim is busy. */
function lua(expression) {
  try {
    const call = `luaeval('vim.json.encode({ ${expression.replaceAll("'", "''")} })')`;
    return JSON.parse(remote('--remote-expr', call))[0];
  } catch {
    return undefined;
  }
}
/** A Lua expression for the text on the screen. */
const SCREEN = `(function() local s = {} for r = 1, vim.o.lines do local c = {} for i = 1, vim.o.columns do
  c[i] = vim.fn.screenstring(r, i) end s[r] = table.concat(c) end return table.concat(s, "\\n") end)()`;
const screen = () => lua(SCREEN.replace(/\n\s*/g, ' ')) ?? '';
const sees = (pattern) => until(() => pattern.test(screen()), `on the screen: ${pattern}`);

const picture = async (file) => {
  await pause(350);
  execFileSync('import', ['-window', 'root', `${file}.full.png`]);
  execFileSync('convert', [`${file}.full.png`, '+dither', '-colors', '64', '-strip', `PNG8:${file}`]);
  rmSync(`${file}.full.png`);
};

const quit = async () => {
  await keys('<C-\\><C-n>:qall!<CR>').catch(() => undefined);
  await new Promise((done) => (term.exitCode === null ? term.once('exit', done) : done()));
};
const clear = () => keys('<C-\\><C-n>:silent! only<CR>:edit cart.c<CR>');

const reads = (name) => readFileSync(join(shop, name), 'utf8');

const tasks = {
  async build(step) {
    await keys(':Meanwhile run ++label=build sh build.sh<CR>');
    await keys('Go<CR>/* more to do */<Esc>');
    await step('`:Meanwhile run ++label=build sh build.sh`, and the next line is typed');
    await keys(':Meanwhile output<CR>');
    await sees(/ [2-5]\d% \[#+/);
    await step('`:Meanwhile output`: the bar has the width of the window');
    await keys('q');
    await sees(/build exited 0 after/);
    await step('told in one line');
    await keys('u');
  },
  async failing(step) {
    await keys(':Meanwhile run make<CR>');
    await until(() => lua('require("meanwhile").list()[1].state') === 'exited', 'make ends');
    await keys(':Meanwhile quickfix<CR>');
    await step('`:Meanwhile run make`, `:Meanwhile quickfix`');
    await keys(':copen<CR>');
    await sees(/cart\.c\|9 col/);
    await keys(':cc<CR>');
    await step('`:copen`, `:cc`: at the line');
  },
  async input(step) {
    await keys(':Meanwhile run ++label=release sh release.sh<CR>');
    await keys(':Meanwhile list<CR>');
    await sees(/waits for input/);
    await step('`:Meanwhile list`: it waits for input');
    await keys('<CR>');
    await sees(/Publish shop/);
    await keys('i');
    await keys('y<CR>');
    await sees(/published/);
    await step('`<CR>` on its line, `i`, `y`: published');
  },
  async runaway(step) {
    await keys(':Meanwhile run ++label=server sh serve.sh<CR>');
    await keys(':Meanwhile output server<CR>');
    await sees(/GET .cart/);
    await keys('<C-w>p:Meanwhile stop server<CR>');
    await sees(/server stopped by client/);
    await step('`:Meanwhile stop server`: its child that ignores SIGTERM is gone, too');
    await keys(':Meanwhile list<CR>gg/server<CR>K');
    await sees(/cause/);
    await step('`K` in the list: why it ended');
    await keys('q');
  },
  async again(step) {
    await keys(':Meanwhile run ++label=again ++cwd=/tmp pwd; echo $SHOP_PORT; sleep 2<CR>');
    await until(() => lua('require("meanwhile").list()[1].shown.outcome') === 'succeeded', 'it ends');
    await keys(':Meanwhile list<CR>gg/again<CR>');
    await keys('<CR>');
    await keys('r');
    await until(() => lua('require("meanwhile").list()[1].shown.outcome') === 'running', 'again');
    await step('`r` in its output: the new one is in the same window');
  },
  async queue(step) {
    await keys(':Meanwhile run sh tests.sh<CR>');
    await keys(':Meanwhile run sh tests.sh<CR>');
    await keys(':Meanwhile list<CR>');
    await sees(/queued .*1st for tests/);
    await step('the second stands in the list as the first for the slot');
    await sees(/ 0 running/);
    await step('both are done, one after the other');
  },
  async agent(step) {
    await keys(':Meanwhile chat<CR>');
    await keys('iRun the tests<Esc><CR>');
    await sees(/May the agent/);
    await step('the question');
    await keys('1<CR>');
    await sees(/You hear from me/);
    await step('it goes on while the tests run');
    await keys('<C-w>h');
    await sees(/3 of 3 pass/);
    await step('the result has woken it');
  },
  async hunk(step) {
    await keys(':Meanwhile chat<CR>');
    await keys('iMend the cart<Esc><CR>');
    await sees(/May the agent write cart.py/);
    await keys('d');
    await until(() => lua('vim.wo.diff'), 'the diff');
    await step('`d`: the change');
    await keys(']c');
    await keys('do');
    await step('`]c`, `do`: the second part is taken back');
    await keys('ZZ');
    await sees(/Written as you left it/);
    await step('`ZZ`: written as it stood');
    if (!reads('cart.py').includes('", ".join')) throw new Error('the part was written');
  },
  async survive(step) {
    await keys(':Meanwhile run ++label=long sh tests.sh 6<CR>');
    await keys(':Meanwhile chat<CR>');
    await keys('ihalf a sentence<Esc>');
    // The daemon is a child of its Neovim.
    const pid = execFileSync('pgrep', ['-P', String(lua('vim.fn.getpid()')), '-f', 'serve']);
    process.kill(Number(pid), 'SIGKILL');
    await pause(1500);
    await step('the daemon was killed');
    await quit();
    await start('cart.c');
    await keys(':Meanwhile chat<CR>');
    await sees(/half a sentence/);
    await keys(':Meanwhile list<CR>');
    await sees(/long/);
    await step('after a restart of Neovim: the draft, the tasks, the one that ran goes on');
    await keys(':Meanwhile chat<CR>ggdG');
  },
  async timeline(step) {
    await keys(':Meanwhile timeline<CR>s');
    await pause(800);
    await keys('1<CR>');
    await sees(/agent/);
    await step('`:Meanwhile timeline`, `s`, the session');
    await keys(']]K');
    await step('`]]`, `K`: what a call was');
    await keys('q');
  },
  async place(step) {
    await keys(':Meanwhile run ++label=far ++on=build sh tests.sh<CR>');
    await keys(':Meanwhile run ++label=nowhere ++on=attic make<CR>');
    await keys(':Meanwhile list<CR>');
    await sees(/attic out of reach/);
    await step('both in the list');
    await keys('gg/nowhere<CR>K');
    await step('`K`: where, and why it does not go on');
    await keys('q');
    await sees(/✓.*far/);
    await keys('gg/far<CR><CR>');
    await sees(/test total/);
    await step('the output of the other machine');
    await keys('<C-w>p:Meanwhile stop nowhere<CR>');
    await step('the one that was not sent is stopped');
  },
  async watch(step) {
    const other = spawn(program, ['chat'], { cwd: shop, env, stdio: ['pipe', 'ignore', 'ignore'] });
    other.stdin.write('What is in the cart?\n');
    await until(() => cli('sessions').includes('What is in the cart'), 'its session');
    const [id] = cli('sessions').match(/[0-9a-f-]{8,36}/) ?? [];
    await keys(`:Meanwhile chat ${id}<CR>`);
    await sees(/a price and a count/);
    await step('`:Meanwhile chat ID`: what is said there');
    other.stdin.write('What is in the cart now?\n');
    await sees(/in the cart now/);
    await step('and what is said next');
    other.stdin.end();
    await new Promise((done) => other.once('exit', done));
    await sees(/The session was closed/);
    await keys('iWhat is in the cart, then?<Esc><CR>');
    await sees(/then\?[\s\S]*a price and a count/);
    await step('it is free: the next prompt is said from here');
  },
};

let code = 1;
try {
  await start('cart.c');
  const all = Object.fromEntries(
    Object.entries(tasks).map(([name, work]) => [
      name,
      async (step) => {
        await clear();
        await work(step);
      },
    ]),
  );
  code = await day('nvim', out, pattern, all, picture);
  await quit();
} finally {
  term?.kill();
  xvfb.kill();
  for (const [cwd, state] of [
    [shop, 'state'],
    [join(root, 'far/shop'), 'far/state'],
  ]) {
    execFileSync(program, ['stop', '--all'], {
      cwd,
      env: { ...env, MEANWHILE_STATE_DIR: join(root, state) },
      stdio: 'ignore',
    });
  }
  console.log(out);
}
process.exit(code);
