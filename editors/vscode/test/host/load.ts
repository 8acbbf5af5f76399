// Many tasks, much output: the window must stay quick.

import assert from 'node:assert/strict';
import { availableParallelism, loadavg } from 'node:os';
import { longestBlock, test, until } from './harness';
import { api, ended, folder, openTerminal, setting } from './setup';

/** The pause that a person notices as a hang; longer on a busy machine. */
const feltMs = () => 400 * Math.max(1, (loadavg()[0] ?? 0) / availableParallelism());

test('five hundred tasks in the list', async () => {
  const here = await folder();
  const { tree } = await api();
  await setting('notifications', 'off');
  const ids: string[] = [];
  const blocked = await longestBlock(async () => {
    for (let at = 0; at < 500; at += 50) {
      const some = await Promise.all(
        Array.from({ length: 50 }, (_, n) =>
          here.spawn({ command: `while [ ! -e all ]; do sleep 1; done # ${at + n}` }),
        ),
      );
      ids.push(...some.map(({ id }) => id));
    }
    await until(() => here.store.running().length >= 500, 'all run', 40_000);
  });
  const since = performance.now();
  const items = tree.getChildren().map((node) => tree.getTreeItem(node));
  const took = performance.now() - since;
  assert.ok(items.length >= 500);
  assert.ok(took < feltMs() / 4, `the list is made in ${took} ms`);
  assert.ok(blocked < feltMs(), `blocked for ${blocked} ms`);
  const stopping = await longestBlock(async () => {
    await Promise.all(ids.map((id) => here.stop(id)));
  });
  assert.ok(stopping < feltMs(), `blocked for ${stopping} ms while they were stopped`);
  await here.clearFinished();
  await setting('notifications', 'all');
});

test('a hundred megabytes of output: the end first, and no freeze', async () => {
  const here = await folder();
  const line = 'x'.repeat(99);
  const { id } = await here.spawn({
    command: `yes ${line} | head -c 100000000; echo THE-END`,
  });
  const task = await ended(here, id);
  assert.ok(task.output.total > 100_000_000);
  const since = performance.now();
  let text = '';
  const blocked = await longestBlock(async () => {
    const terminal = await openTerminal(here, id);
    await until(() => terminal.text.includes('THE-END'), 'the end');
    text = terminal.text;
  });
  const took = performance.now() - since;
  assert.ok(took < 8 * feltMs(), `the end was there after ${took} ms`);
  assert.ok(blocked < feltMs(), `blocked for ${blocked} ms`);
  assert.ok(text.length < 1_300_000, 'only the end');
  assert.match(text, /skipped/);
});

test('a hundred megabytes while a terminal shows them: shown as far as eyes can follow, then the end', async () => {
  const here = await folder();
  const { id } = await here.spawn({
    command: `sleep 0.5; yes ${'y'.repeat(99)} | head -c 100000000; echo THE-END`,
  });
  let shown = 0;
  const blocked = await longestBlock(async () => {
    const terminal = await openTerminal(here, id);
    await ended(here, id);
    await until(() => terminal.text.includes('THE-END'), 'the end');
    shown = terminal.text.length;
  });
  assert.ok(blocked < feltMs(), `blocked for ${blocked} ms`);
  assert.ok(shown < 30_000_000, `${shown} characters`);
});
