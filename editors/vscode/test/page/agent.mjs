// The agent in the page of a real VS Code, on a scripted model.
//   usage: node test/page/agent.mjs X.vsix [PATTERN]
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { startServer } from '../server.mjs';
import { launch, Window } from './browser.mjs';
import { daemons, running } from './processes.mjs';
import { hasCount, runner, until } from './runner.mjs';

const [vsix = 'meanwhile-linux-x64.vsix', pattern = ''] = process.argv.slice(2);

const SCRIPT = `
model = "scripted"
context_window = 20000
pace_ms = 5

[[turn]]
think = "A build takes long."
text = "I start **the build** in the background."
[[turn.call]]
tool = "background_run"
input = { command = "touch began; echo compiling; while [ ! -e go ]; do sleep 0.1; done; echo finished; exit 3" }

[[turn]]
text = "One look more."
[[turn.call]]
tool = "bash"
input = { command = "ls; echo a-step" }

[[turn]]
text = "It runs; you hear of its end."

[[turn]]
messages = ["background"]
expect = ["<background-results>", "exited 3"]
text = "The build has failed with 3."

[[turn]]
text = "Waiting for nothing."
hold = "hold"

[[turn]]
when = "And then this"
text = "That, then."

[[turn]]
when = "a line of a long script"
text = "It was long."

[[turn]]
when = "A long one"
[[turn.call]]
tool = "bash"
input = { command = '''
touch long
${'echo a line of a long script\n'.repeat(200)}''' }

[[turn]]
when = "the person changed this call"
text = "As you have it."

[[turn]]
when = "the person rejected all"
text = "Then not."

[[turn]]
when = "Change the notes"
[[turn.call]]
tool = "write_file"
input = { path = "src/notes.txt", content = "ONE\\ntwo\\nthree\\nfour\\nfive\\nsix\\nSEVEN\\n" }

[[turn]]
when = "asked-it"
text = "It was allowed."

[[turn]]
when = "Ask me later"
hold = "ask"
text = "I ask."
[[turn.call]]
tool = "bash"
input = { command = "touch asked; echo asked-it" }
`;

const program = join(import.meta.dirname, '../../bin/meanwhile');
const far = mkdtempSync(join(tmpdir(), 'meanwhile-far-'));
const PLACES = `
[places.far]
command = ["env", "HOME=${far}", "MEANWHILE_STATE_DIR=${far}/state", "${program}", "serve"]
workspace = "${far}"
[places.attic]
command = ["sh", "-c", "echo 'No route to host' >&2; exit 255"]
`;
const server = await startServer([], {
  vsix: resolve(vsix),
  files: { '../script.toml': SCRIPT, '../config/meanwhile/config.toml': PLACES },
  model: 'script.toml',
  configured: true,
});
const browser = await launch();
const window = await Window.open(browser, server, { width: 1280, height: 900 });
const { test: run, end } = runner(pattern);
const test = (name, work) => run(window, name, work);

const chat = () => window.chat();
const timeline = () => window.timeline();
const show = async () => {
  await window.showTimeline();
  await window.showChat();
};
const said = (text) => chat().locator('.entry.agent-text', { hasText: text });
const say = async (text) => {
  const box = chat().locator('textarea');
  await box.fill(text);
  await box.press('Enter');
};

await test('where nothing has run, the timeline plays a recording of the demo', async () => {
  await show();
  await timeline().locator('.empty', { hasText: 'This is a recording of' }).waitFor();
  await timeline().locator('.label.task', { hasText: 'pack' }).waitFor();
  await timeline().locator('rect.span.task[data-task]').first().waitFor();
});

await test('a prompt, a question of permission, a task in the background', async () => {
  await show();
  await chat().locator('textarea:enabled').waitFor();
  await say('Build it, please');
  await chat().locator('.entry.user', { hasText: 'Build it, please' }).waitFor();
  const ask = chat().locator('.ask');
  await ask.waitFor();
  assert.match(await ask.innerText(), /May the agent run in the background: touch began.*\?/s);
  assert.ok(!existsSync(join(server.workspace, 'began')), 'nothing is done before the answer');
  await ask.locator('button.primary[data-kind=allow_once]').click();
  await said('It runs; you hear of its end.').waitFor();
  await hasCount(chat().locator('.ask'), 0);
  await chat()
    .locator('.entry.tool .says', { hasText: /^exited 0 after/ })
    .waitFor();
  await hasCount(chat().locator('.agent-text strong', { hasText: 'the build' }), 1);
  await chat().locator('.entry.tool .badge', { hasText: 'in the background' }).waitFor();
  await chat().locator('.state', { hasText: '1 task runs in the background' }).waitFor();
});

await test('the timeline has the agent, its model calls, and the task that runs', async () => {
  await show();
  await until(async () => (await timeline().locator('rect.span.call').count()) >= 2, 'two calls');
  await timeline().locator('rect.span.task.running[aria-label*="compiling"]').waitFor();
  await timeline().locator('rect.span.turn:not(.open)').waitFor();
  await until(async () => (await timeline().locator('path.arrow.began').count()) >= 1, 'its start');
});

await test('hidden and shown again it is as it was, with what was typed', async () => {
  await chat().locator('textarea').fill('half a th');
  await window.command('View: Toggle Output');
  await window.hideChat();
  await show();
  await said('It runs; you hear of its end.').waitFor();
  assert.equal(await chat().locator('textarea').inputValue(), 'half a th');
  await chat().locator('textarea').fill('');
});

await test('a result wakes the agent, stands out, and has its drain point', async () => {
  await show();
  writeFileSync(join(server.workspace, 'go'), '');
  const background = chat().locator('.entry.background');
  await background.waitFor();
  const woken = /background result entered here.*exited 3 after.*idle, woke the agent with call/s;
  await background.filter({ hasText: woken }).waitFor();
  assert.ok(!(await background.innerText()).includes('No human input'), 'that is for the model');
  await said('The build has failed with 3.').waitFor();
  await timeline().locator('rect.span.task.failed[aria-label*="compiling"]').waitFor();
  await timeline().locator('path.mark.enters[aria-label*="receives 1 result"]').waitFor();
  await hasCount(timeline().locator('rect.span.result[aria-label*="compiling"]'), 1);
  await until(async () => (await timeline().locator('path.arrow.entered').count()) >= 1, 'its way');
});

await test('the output of the agent\u2019s task opens from the conversation', async () => {
  await show();
  await chat().locator('.entry.tool .task-link').first().click();
  await window.terminal('compiling').waitFor();
  await window.terminal('exited 3').waitFor();
});

await test('a turn can be cancelled', async () => {
  await show();
  // Toasts would cover the button.
  assert.equal(await window.page.locator('.notification-toast').count(), 0, 'all was seen here');
  await chat().locator('textarea:enabled').waitFor();
  await say('And now wait');
  await chat().locator('.state', { hasText: 'Working' }).waitFor();
  await say('And then this');
  const waits = chat().locator('.entry.waiting', { hasText: 'And then this' });
  await waits.filter({ hasText: 'waits for the running turn' }).waitFor();
  await chat().locator('button[title^="Cancel the turn"]:visible').click();
  await chat().locator('.entry.turn-mark', { hasText: 'Cancelled' }).waitFor();
  await waits.waitFor({ state: 'detached' });
  await said('That, then.').waitFor();
});

const whole = async () => {
  await show();
  await said('The build has failed with 3.').waitFor();
  await hasCount(chat().locator('.entry.background'), 1);
  await hasCount(chat().locator('.entry.user'), 3);
  await timeline().locator('path.mark.enters[aria-label*="receives 1 result"]').waitFor();
};

await test('after a daemon was killed the session is back', async () => {
  await show();
  // Events sent again would be shown twice, at least for a moment.
  const page = chat().locator('body');
  await page.evaluate(() => {
    globalThis.toldAgain = [];
    addEventListener('message', ({ data }) => {
      if (data.type === 'events') globalThis.toldAgain.push(...data.events);
    });
  });
  const [old] = daemons(server);
  process.kill(old.pid, 'SIGKILL');
  await until(() => daemons(server).some(({ pid }) => pid !== old.pid), 'another daemon');
  await timeline().locator('path.mark.resumed').waitFor({ state: 'attached' });
  await whole();
  const words = ({ update }) => update?.sessionUpdate.endsWith('_message_chunk');
  assert.deepEqual((await page.evaluate(() => globalThis.toldAgain)).filter(words), []);
});

await test('after a reload of the window the session is back', async () => {
  await window.reload();
  await whole();
});

await test('a past session is chosen from the list, and all tasks are another story', async () => {
  await show();
  const select = chat().locator('select[aria-label=Session]');
  await select.selectOption('all');
  await chat().locator('.entry.user').first().waitFor({ state: 'detached' });
  await hasCount(timeline().locator('rect.span.call'), 0);
  const session = select.locator('option').nth(2);
  await select.selectOption(await session.getAttribute('value'));
  await whole();
});

await test('a second window watches the session, and goes on with it once it is free', async () => {
  const other = await Window.open(browser, server);
  await other.showTimeline();
  await other.showChat();
  const select = other.chat().locator('select[aria-label=Session]');
  await select.waitFor();
  await until(async () => (await select.locator('option').count()) >= 3, 'the list');
  await select.selectOption(await select.locator('option').nth(2).getAttribute('value'));
  const state = other.chat().locator('.state');
  await state.filter({ hasText: /Process \d+ has this session open/ }).waitFor();
  await other.timeline().locator('path.mark.enters[aria-label*="receives 1 result"]').waitFor();
  await other.chat().locator('textarea:disabled').waitFor();
  await say('And then this');
  await other.chat().locator('.entry.user', { hasText: 'And then this' }).nth(1).waitFor();
  await until(async () => (await said('That, then.').count()) === 2, 'the answer here');
  await until(
    async () =>
      (await other.chat().locator('.agent-text', { hasText: 'That, then.' }).count()) === 2,
    'and there',
  );
  // A daemon that exits closes its sessions.
  await window.command('Meanwhile: New Agent Session');
  await window.command('Meanwhile: Restart Daemon (Tasks Go On)');
  await state.filter({ hasText: 'The next prompt continues it here' }).waitFor();
  const box = other.chat().locator('textarea:enabled');
  await box.fill('And then this, from here');
  await box.press('Enter');
  await until(
    async () =>
      (await other.chat().locator('.agent-text', { hasText: 'That, then.' }).count()) === 3,
    'the answer to it',
  );
  await other.close();
});

await test('a question that nobody sees is told outside of the panel', async () => {
  const { page } = window;
  await show();
  await window.command('Notifications: Clear All Notifications');
  await window.command('Meanwhile: New Agent Session');
  await chat().locator('.welcome').waitFor();
  await chat().locator('textarea:enabled').waitFor();
  await say('Ask me later');
  await chat().locator('.entry.user', { hasText: 'Ask me later' }).waitFor();
  await chat().locator('.state', { hasText: 'Working' }).waitFor();
  await window.hideChat();
  // Once this command has run, the extension knows that the chat is hidden.
  await window.command('Meanwhile: Filter...');
  await page.locator('.quick-input-title', { hasText: 'Filter' }).waitFor();
  await page.keyboard.press('Escape');
  writeFileSync(join(server.workspace, 'ask'), '');
  const toast = window.toast('May the agent run touch asked');
  await toast.waitFor();
  await toast.getByText('Show', { exact: true }).click();
  await chat().locator('.ask button.primary[data-kind=allow_once]').click();
  await said('It was allowed.').waitFor();
  assert.ok(existsSync(join(server.workspace, 'asked')));
  await page.keyboard.press('Escape');
});

const NOTES = 'one\ntwo\nthree\nfour\nfive\nsix\nseven\n';
const notes = () => readFileSync(join(server.workspace, 'src/notes.txt'), 'utf8');
const propose = async (before = NOTES) => {
  mkdirSync(join(server.workspace, 'src'), { recursive: true });
  writeFileSync(join(server.workspace, 'src/notes.txt'), before);
  await show();
  await window.command('Meanwhile: New Agent Session');
  await chat().locator('.welcome').waitFor();
  await say('Change the notes');
  const ask = chat().locator('.ask');
  await ask.locator('strong', { hasText: 'May the agent write src/notes.txt?' }).waitFor();
  await ask.locator('button.review').click();
  const diff = window.page.locator('.editor-instance .monaco-diff-editor .editor.modified');
  const line = (text) => diff.locator('.view-line', { hasText: new RegExp(`^${text}$`) });
  await line('SEVEN').waitFor();
  return { ask, diff, line };
};

await test('the parts of a change that a person takes are written, and nothing before', async () => {
  const { ask, diff, line } = await propose();
  const answers = await ask.locator('button[data-kind]').allInnerTexts();
  const always = 'allow edits in `src`';
  assert.deepEqual(answers, ['Allow', `Always ${always}`, 'Reject', `Never ${always}`]);
  assert.equal(await ask.locator('pre').count(), 0, 'no arguments of a call');
  assert.equal(await chat().locator('.entry.tool pre').count(), 0, 'nor in the conversation');
  // Does what VS Code's arrow beside a part does.
  await line('SEVEN').click();
  await window.command('Diff Editor: Revert');
  await line('SEVEN').waitFor({ state: 'detached' });
  await line('ONE').waitFor();
  assert.equal(notes(), NOTES, 'nothing is written before');
  await window.page
    .locator('.editor-actions .action-label[aria-label^="Allow This Version"]')
    .click();
  await said('As you have it.').waitFor();
  assert.equal(notes(), NOTES.replace('one', 'ONE'));
  await diff.waitFor({ state: 'detached' });
  // The conversation still shows what was written.
  await chat().locator('.entry.tool [data-change]').click();
  const now = window.page.locator('.tab', { hasText: 'what the agent changed' });
  await now.waitFor();
  await now.hover();
  await window.command('View: Close All Editors');
});

await test('a change of which nothing is left is a no', async () => {
  const { ask, diff, line } = await propose();
  await line('ONE').click();
  await window.page.keyboard.press('Control+A');
  await window.command('Diff Editor: Revert');
  await line('ONE').waitFor({ state: 'detached' });
  await ask.locator('button[data-kind=allow_once]').click();
  await said('Then not.').waitFor();
  // A refused change can still be opened, and is shown instead of its arguments.
  await chat().locator('.entry.tool.failed [data-change]').waitFor();
  assert.equal(notes(), NOTES);
  await diff.waitFor({ state: 'detached' });
});

await test('what the diff of a change hides is said beside it', async () => {
  const { ask, diff } = await propose(NOTES.replaceAll('\n', '\r\n'));
  const says = 'line endings change from CRLF to LF';
  await ask.locator('.reason', { hasText: says }).waitFor();
  await window.page.locator('.tab', { hasText: says }).waitFor();
  await ask.locator('button[data-kind=reject_once]').click();
  await diff.waitFor({ state: 'detached' });
});

await test('a question however long leaves its answers and the prompt in sight', async () => {
  await window.page.setViewportSize({ width: 800, height: 500 });
  await show();
  await window.command('Meanwhile: New Agent Session');
  await chat().locator('.welcome').waitFor();
  await say('A long one');
  const ask = chat().locator('.ask');
  await ask.waitFor();
  for (const one of [ask.locator('button').last(), chat().locator('.prompt')]) {
    const box = await one.boundingBox();
    assert.ok(box && box.y + box.height <= 500, 'it can be reached without scrolling');
    await one.click({ trial: true, timeout: 2_000 });
  }
  await ask.locator('button.primary').click();
  await said('It was long.').waitFor();
  await window.page.setViewportSize({ width: 1280, height: 900 });
});

await test('where there are other machines a person says on which one it runs', async () => {
  const on = (place) =>
    window.page.locator('.quick-input-list .monaco-list-row', { hasText: place }).first().click();
  await window.showTasks();
  await window.run('pwd; echo there');
  await on('far');
  await window.row(/pwd; echo there.*at far/s).waitFor();
  await window.output('pwd; echo there', far);
  await window.run('sleep 300');
  await on('attic');
  await window.row(/sleep 300.*attic out of reach/s).waitFor();
  // Redrawing a line closes its hover, and its clock redraws it each second.
  const why = window.page.locator('.monaco-hover', { hasText: 'No route to host' });
  const seen = async () => {
    await window.page.mouse.move(700, 300);
    await window.row('sleep 300').hover();
    return why.waitFor({ timeout: 3_000 }).then(
      () => true,
      () => false,
    );
  };
  await until(seen, 'why it does not go on', 40_000);
  await window.act('sleep 300', 'Stop');
  await window.row(/sleep 300.*stopped/s).waitFor();
  await window.run('echo here');
  await on('This machine');
  await window.row(/echo here.*just now/s).waitFor();
});

await test('without a folder the panel says what is missing, and nothing pops up', async () => {
  const empty = await Window.empty(browser, server);
  await empty.showChat();
  await empty.chat().locator('.state', { hasText: 'Open a folder to talk to' }).waitFor();
  // Effects of the panel's first message come before the answer to a later one.
  await empty.chat().locator('.state button', { hasText: 'Try again' }).click();
  assert.equal(await empty.page.locator('.notification-toast').count(), 0);
  await empty.close();
});

await browser.close();
// The courier of a place keeps running for a while.
for (const { pid } of running(server, '\u0000courier\u0000')) process.kill(pid);
await server.dispose();
rmSync(far, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
end();
