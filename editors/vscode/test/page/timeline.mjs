// The timeline by itself, drawn by a real browser: positions, the keyboard, the pointer.
//   usage: node test/page/timeline.mjs [PATTERN]
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { launch } from './browser.mjs';
import { runner, until } from './runner.mjs';

const root = join(import.meta.dirname, '../..');
const bundled = await build({
  stdin: {
    contents: `export { TimelineView } from './webview/timelineView';`,
    resolveDir: root,
    loader: 'ts',
  },
  bundle: true,
  format: 'iife',
  globalName: 'meanwhile',
  write: false,
});
const css = readFileSync(join(root, 'webview/panel.css'), 'utf8');
const browser = await launch();
const page = await browser.newPage({ viewport: { width: 800, height: 300 } });
page.on('pageerror', (error) => console.log('page:', error.stack));
await page.clock.install({ time: '2026-11-22T10:30:00Z' });
const { test: run, end } = runner(process.argv[2]);

/** Each test has its own page, with nothing drawn yet; `opened` lists the ids of opened tasks. */
const test = (name, work) =>
  run({ page }, name, async () => {
    await page.setContent(`<style>${css}</style><body><main></main></body>`);
    await page.addScriptTag({ content: bundled.outputFiles[0].text });
    await page.evaluate(() => {
      globalThis.opened = [];
      globalThis.view = new meanwhile.TimelineView((id) => opened.push(id));
      document.querySelector('main').append(view.element);
    });
    await scroller.waitFor({ state: 'hidden' });
    await work();
  });
const svg = page.locator('svg.lanes');
const scroller = page.locator('.lane-scroller');
const hover = page.locator('.hover');
const bar = (id) => page.locator(`rect[data-key="task:${id}"]`);
const focused = () => page.evaluate(() => document.activeElement?.getAttribute('data-key'));
const place = async (id) => ({
  x: Number(await bar(id).getAttribute('x')),
  width: Number(await bar(id).getAttribute('width')),
});

const at = (ms) => new Date(Date.parse('2026-11-22T10:00:00Z') + ms).toISOString();
const segment = (lane, kind, look, from, to, more = {}) => ({
  type: 'segment',
  key: `${kind}:${more.call ?? more.taskId}`,
  lane,
  kind,
  look,
  from: at(from),
  ...(to === undefined ? {} : { to: at(to) }),
  row: 0,
  says: [],
  label: kind,
  ...more,
});
const legend = ['asks', 'running', 'succeeded', 'failed', 'call', 'result', 'enters'].map(
  (look) => ({
    look,
    label: `means ${look}`,
  }),
);
const draw = (pieces, more = {}) =>
  page.evaluate((timeline) => view.show(timeline, 'story'), {
    pieces,
    legend,
    leftOut: 0,
    ...more,
  });

/** Draws `count` tasks of a minute each, a minute apart; `running` selects those without an end. */
const show = (count, running = () => false) =>
  draw(
    Array.from({ length: count }, (_, n) => {
      const look = running(n) ? 'running' : n % 2 ? 'failed' : 'succeeded';
      const [key, label] = [`t${n}`, `command ${n}`];
      const says = running(n) ? ['running'] : [`exit ${n % 2}`, '1m'];
      const to = running(n) ? undefined : (n + 1) * 60_000;
      return [
        { type: 'lane', key, kind: 'task', label, look, taskId: key },
        segment(key, 'task', look, n * 60_000, to, { label, says, taskId: key }),
      ];
    }).flat(),
  );

await test('the first drawing is as wide as there is room', async () => {
  await svg.evaluate((svg) => {
    globalThis.drawn = [];
    new MutationObserver(() => drawn.push(svg.getAttribute('viewBox'))).observe(svg, {
      attributeFilter: ['viewBox'],
    });
  });
  await show(3);
  await bar('t2').waitFor();
  const boxes = await page.evaluate(() => drawn);
  const width = await svg.evaluate((svg) => svg.clientWidth);
  assert.ok(width > 300, `${width}`);
  assert.equal(Number(boxes[0].split(' ')[2]), width);
});

await test('bars lie one after the other, each as long as its task', async () => {
  await show(4);
  await bar('t3').waitFor();
  const places = await Promise.all(['t0', 't1', 't2', 't3'].map(place));
  const [first] = places;
  assert.ok(first.width > 50);
  for (const [n, { x, width }] of places.entries()) {
    assert.ok(Math.abs(width - first.width) < 0.1, `${n}: ${width}`);
    assert.ok(Math.abs(x - (first.x + n * first.width)) < 0.1, `${n}: ${x}`);
  }
  assert.match(await bar('t1').getAttribute('class'), /failed/);
  assert.match(await bar('t2').getAttribute('aria-label'), /^command 2, exit 0, 1m/);
});

await test('what has the focus keeps it while it is scrolled out of sight, and moved out', async () => {
  await show(60);
  await bar('t0').focus();
  await scroller.evaluate((element) => {
    element.scrollTop = element.scrollHeight;
  });
  await bar('t59').waitFor();
  assert.equal(await bar('t20').count(), 0, 'what is out of sight is not drawn');
  assert.equal(await focused(), 'task:t0');
  await page.keyboard.press('ArrowDown');
  assert.equal(await focused(), 'task:t1');
  for (let times = 0; times < 6; times++) await page.keyboard.press('+');
  assert.equal(await focused(), 'task:t1');
});

await test('the keyboard goes through lanes, opens, and is never without a place', async () => {
  await show(5);
  await bar('t0').waitFor();
  assert.equal(await svg.locator('[tabindex="0"]').count(), 1);
  await bar('t0').focus();
  const at = async (key) => {
    await page.keyboard.press(key);
    assert.equal(await svg.locator('[tabindex="0"]').count(), 1, key);
    return (await focused())?.split(':')[1];
  };
  assert.equal(await at('ArrowDown'), 't1');
  assert.equal(await at('ArrowRight'), 't2');
  assert.equal(await at('ArrowLeft'), 't1');
  assert.equal(await at('End'), 't4');
  assert.equal(await at('ArrowDown'), 't4', 'the last stays the last');
  assert.equal(await at('Home'), 't0');
  assert.equal(await at('ArrowUp'), 't0');
  await page.keyboard.press('End');
  await page.keyboard.press('Enter');
  await page.keyboard.press(' ');
  assert.deepEqual(await page.evaluate(() => opened), ['t4', 't4']);
  assert.equal(await hover.isVisible(), true);
  assert.match(await hover.innerText(), /^command 4\nexit 0\n1m\n/);
  await page.keyboard.press('Escape');
  assert.equal(await hover.isVisible(), false);
});

await test('zoom with keys, with the wheel, and all of it again', async () => {
  await show(4);
  await bar('t0').focus();
  const whole = await place('t1');
  await page.keyboard.press('+');
  assert.ok(Math.abs((await place('t1')).width - 2 * whole.width) < 0.5);
  await page.keyboard.press('-');
  await page.keyboard.press('0');
  assert.deepEqual(await place('t1'), whole);
  const box = await bar('t2').boundingBox();
  await page.mouse.move(box.x + 1, box.y + 2);
  await page.keyboard.down('Control');
  await page.mouse.wheel(0, -100);
  await page.keyboard.up('Control');
  await until(async () => (await place('t2')).width > whole.width * 1.2, 'it is nearer');
  const near = await bar('t2').boundingBox();
  assert.ok(Math.abs(near.x - box.x) < 2, 'what is under the pointer stays there');
});

await test('it is dragged, and let go', async () => {
  await show(4);
  const before = await bar('t1').boundingBox();
  await page.mouse.move(before.x + 5, before.y + 40);
  await page.mouse.down();
  await page.mouse.move(before.x + 65, before.y + 40, { steps: 3 });
  const after = await bar('t1').boundingBox();
  assert.ok(Math.abs(after.x - before.x - 60) < 2, `${after.x - before.x}`);
  await page.mouse.up();
  await page.mouse.move(before.x, before.y + 40);
  assert.deepEqual(await bar('t1').boundingBox(), after);
});

await test('what goes on grows by itself, and says so', async () => {
  await show(2, (n) => n === 1);
  await bar('t1').hover();
  assert.match(await hover.innerText(), /command 1\nrunning\n.* now, 29m/);
  assert.match(await bar('t1').getAttribute('aria-label'), /for 29 minutes so far/);
  const before = (await place('t0')).width;
  await page.clock.runFor(20 * 60_000);
  await until(async () => (await place('t0')).width < before * 0.8, 'time goes on');
  assert.match(await bar('t1').getAttribute('class'), /running open/);
});

/** An agent that calls twice, waits for a person, sleeps for an hour, and is woken by a result. */
const story = [
  { type: 'lane', key: 'agent', kind: 'agent', label: 'agent' },
  { type: 'lane', key: 'queue', kind: 'queue', label: 'queue' },
  segment('agent', 'call', 'call', 0, 2_000, { call: 1 }),
  segment('agent', 'asks', 'asks', 2_000, 8_000, { call: 1, label: 'Waits for you' }),
  segment('agent', 'call', 'call', 8_000, 8_010, { call: 2 }),
  segment('agent', 'call', 'call', 8_030, 8_400, { call: 3 }),
  { type: 'gap', key: 'gap:1', from: at(8_400), to: at(3_608_400), label: '1h' },
  segment('agent', 'call', 'call', 3_610_000, 3_612_000, { call: 4 }),
  segment('queue', 'result', 'result', 3_608_400, 3_610_000, { taskId: 'a', label: 'Result of a' }),
  {
    type: 'mark',
    key: 'enters:4',
    lane: 'agent',
    kind: 'enters',
    at: at(3_610_000),
    label: 'Call 4 receives 1 result',
    says: [],
  },
  { type: 'arrow', key: 'entered:a', from: 'queue', to: 'agent', at: at(3_610_000), taskId: 'a' },
];

await test('an hour without anything is a break of its own, with its length', async () => {
  await draw(story);
  await page.locator('rect[data-key="call:4"]').waitFor();
  const gap = page.locator('rect.gap');
  const width = Number(await gap.getAttribute('width'));
  const asks = Number(await page.locator('rect.span.asks').getAttribute('width'));
  assert.ok(width > 10 && width < asks, `${width} of ${asks}`);
  assert.equal(await page.locator('text.gap-text').textContent(), '⋯ 1h ⋯');
});

await test('the numbers of calls are neither doubled nor cut', async () => {
  await draw(story);
  await page.locator('rect[data-key="call:4"]').waitFor();
  const numbers = await page.locator('text.tick-text').allTextContents();
  assert.deepEqual(numbers, ['1', '2', '4'], 'the third would lie over the second');
  const clocks = await page.locator('text.axis:not(.gap-text)').allTextContents();
  assert.equal(new Set(clocks).size, clocks.length, clocks.join());
});

await test('the legend has what is in the picture, and stays', async () => {
  await draw(story);
  await page.locator('rect[data-key="call:4"]').waitFor();
  const names = await page.locator('.legend span').allTextContents();
  assert.deepEqual(names, ['means asks', 'means call', 'means result', 'means enters']);
});

await test('a recording plays, says what it is, and begins again', async () => {
  await draw(story.slice(0, 6), { recorded: true });
  await page.locator('rect[data-key="call:1"]').waitFor();
  assert.match(await page.locator('.empty').innerText(), /a recording of `meanwhile demo`/);
  assert.equal(await page.locator('rect[data-key="call:3"]').count(), 0, 'it has not come yet');
  await page.clock.runFor(9_500);
  await page.locator('rect[data-key="call:3"]').waitFor();
  await page.clock.runFor(3_500);
  await page.locator('rect[data-key="call:3"]').waitFor({ state: 'detached' });
});

await browser.close();
end();
