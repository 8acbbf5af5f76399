import { expect, test } from 'vitest';
import { plain } from '../../src/output/ansi';
import { FILL_BYTES, OutputFeed } from '../../src/output/feed';
import { LineInput } from '../../src/output/line';
import { fileLinks } from '../../src/output/links';
import type { OutputPush, ReadResult } from '../../src/protocol/generated';

/** A growing output, and a feed that shows it. */
function feedOf(initial: string, tail = 1_000_000, kept = 0) {
  let output = initial;
  let shown = '';
  const subscribed: number[] = [];
  const feed = new OutputFeed(
    {
      read: async (offset, limit): Promise<ReadResult> => {
        const from = Math.max(offset, kept);
        const data = output.slice(from, from + limit);
        return {
          data,
          encoding: 'utf8',
          offset: from,
          nextOffset: from + data.length,
          eof: from + data.length >= output.length,
          ...(from > offset ? { gap: { from: offset, to: from } } : {}),
        };
      },
      subscribe: async (offset) => subscribed.push(offset),
    },
    (text) => {
      shown += text;
    },
    tail,
  );
  const push = (offset: number, data: string, encoding: OutputPush['encoding'] = 'utf8') =>
    feed.push({ id: 'b3f9c2a1', offset, data, encoding });
  return {
    feed,
    push,
    subscribed,
    grow: (text: string) => {
      output += text;
    },
    get shown() {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the extension's notes are dim.
      return shown.replace(/\u001b\[0m\u001b\[2m(.*?)\u001b\[0m/g, '<$1>');
    },
  };
}

test('what is there, then what comes', async () => {
  const it = feedOf('one\n');
  await it.feed.open(4, true);
  expect(it.subscribed).toEqual([4]);
  it.push(4, 'two\n');
  await it.feed.finish(8);
  expect(it.shown).toBe('one\r\ntwo\r\n');
});

test('a push that overlaps what is shown adds only what is new', async () => {
  const it = feedOf('abcdef');
  await it.feed.open(6, true);
  it.push(2, 'cdefgh');
  it.push(0, 'abc');
  await it.feed.finish(6);
  expect(it.shown).toBe('abcdefgh');
});

test('a jump is read, if it is short', async () => {
  const it = feedOf('');
  await it.feed.open(0, true);
  it.grow('0123456789');
  it.push(7, '789');
  await it.feed.finish(10);
  expect(it.shown).toBe('0123456789');
});

test('a long jump is skipped with a note, on a line of its own', async () => {
  const it = feedOf('');
  await it.feed.open(0, true);
  it.grow(`${'x'.repeat(FILL_BYTES + 1)}end\n`);
  it.push(0, 'x');
  it.push(FILL_BYTES + 2 - 1 + 0, 'end\n');
  it.push(FILL_BYTES * 3, 'far\n');
  await it.feed.finish(0);
  expect(it.shown).toMatch(/end\r\n<… .* skipped; .*>\r\nfar\r\n$/);
});

test('of a long output the end comes first', async () => {
  const it = feedOf(`${'line\n'.repeat(1_000)}last\n`, 10);
  await it.feed.open(5_005, true);
  expect(it.shown).toMatch(/^<… 4\.9 KiB skipped.*>\r\nline\r\nlast\r\n$/);
});

test('what was not kept is told', async () => {
  const it = feedOf('0123456789', 1_000, 4);
  await it.feed.open(10, false);
  expect(it.shown).toMatch(/^<… 4 B were not kept …>\r\n456789$/);
});

test('a carriage return and its newline may come apart', async () => {
  const it = feedOf('a\r');
  await it.feed.open(2, true);
  it.push(2, '\nb\n\nc');
  await it.feed.finish(6);
  expect(it.shown).toBe('a\r\nb\r\n\r\nc');
});

test('bytes that are not text come as base64', async () => {
  const it = feedOf('');
  await it.feed.open(0, true);
  it.push(0, Buffer.from([0x61, 0xff, 0x62]).toString('base64'), 'base64');
  it.push(3, 'ü');
  it.push(5, '!');
  await it.feed.finish(6);
  expect(it.shown).toBe('a\ufffdbü!');
});

test('after a daemon came back the feed goes on where it was', async () => {
  const it = feedOf('one ');
  await it.feed.open(4, true);
  it.grow('two ');
  await it.feed.open(8, true);
  it.push(8, 'three');
  await it.feed.finish(13);
  expect(it.shown).toBe('one two three');
  expect(it.subscribed).toEqual([4, 8]);
});

test('a closed feed says nothing more', async () => {
  const it = feedOf('one');
  it.feed.close();
  await it.feed.open(3, true);
  it.push(3, 'two');
  expect(it.shown).toBe('');
});

test('a line is edited before it is sent', () => {
  const line = new LineInput();
  expect(line.input('ab')).toEqual({ echo: 'ab', send: '', eof: false });
  expect(line.input('\u007f\u007f\u007f')).toEqual({ echo: '\b \b\b \b', send: '', eof: false });
  expect(line.input('é\u001b[A x\r')).toEqual({ echo: 'é x\r\n', send: 'é x\n', eof: false });
  expect(line.input('no\u0015yes\u0004')).toEqual({
    echo: 'no\b \b\b \byes',
    send: 'yes',
    eof: false,
  });
  expect(line.input('\u0004')).toEqual({ echo: '', send: '', eof: true });
  expect(line.input('\u0003')).toEqual({ echo: '', send: '', eof: false });
});

test.each([
  ['\u001b[1;31mred\u001b[0m', 'red'],
  ['\u001b]8;;http://x\u0007link\u001b]8;;\u0007', 'link'],
  ['10%\r20%\rdone\r\n', 'done\n'],
  ['a\u0007b\tc', 'ab\tc'],
])('%j is shown as %j', (text, expected) => expect(plain(text)).toBe(expected));

test.each<[string, [string, number | undefined, number | undefined][]]>([
  ['  --> src/main.rs:12:5', [['src/main.rs', 12, 5]]],
  ['main.c:3: error', [['main.c', 3, undefined]]],
  ['src/a.ts(4,7): error TS1', [['src/a.ts', 4, 7]]],
  ['File "/x/y.py", line 9, in f', [['/x/y.py', 9, undefined]]],
  ['see ./README.md.', [['./README.md', undefined, undefined]]],
  ['at f (/a/b.js:1:2)', [['/a/b.js', 1, 2]]],
  ['version 1.2.3 of nothing', []],
  ['plain words', []],
])('%s', (line, expected) =>
  expect(fileLinks(line).map(({ path, line, column }) => [path, line, column])).toEqual(expected),
);

test('a link covers the text that it is made of', () => {
  const text = 'in src/main.rs:12:5, or';
  const [link] = fileLinks(text);
  expect(text.slice(link?.start, (link?.start ?? 0) + (link?.length ?? 0))).toBe(
    'src/main.rs:12:5',
  );
});
