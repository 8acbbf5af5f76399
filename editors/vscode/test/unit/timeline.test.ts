import { expect, test } from 'vitest';
import { NOTHING, Picture, place } from '../../src/panel/timeline';
import type { Piece, Timeline } from '../../src/protocol/generated';

const ZERO = Date.parse('2026-11-22T10:00:00.000Z');
const at = (seconds: number) => new Date(ZERO + seconds * 1_000).toISOString();
const seconds = (ms: number | undefined) => (ms === undefined ? '..' : (ms - ZERO) / 1_000);

const lane = (key: string): Piece => ({ type: 'lane', key, kind: 'task', label: key });
const segment = (
  lane: string,
  from: number,
  to?: number,
  kind: 'task' | 'result' = 'task',
): Piece => ({
  type: 'segment',
  key: `${kind}:${lane}`,
  lane,
  kind,
  look: to === undefined ? 'running' : 'succeeded',
  from: at(from),
  ...(to === undefined ? {} : { to: at(to) }),
  row: 0,
  label: lane,
  says: ['exit 0'],
});
const gap = (from: number, to: number): Piece => ({
  type: 'gap',
  key: `gap:${from}`,
  from: at(from),
  to: at(to),
  label: `${to - from} s`,
});
const of = (...pieces: Piece[]): Timeline => ({ ...NOTHING, pieces });

/** The lanes as text: each thing with its position, in seconds. */
function drawn({ lanes }: Picture): string[] {
  return lanes.map(({ label, things }) =>
    [
      `${label}:`,
      ...things.map(({ piece, from, to }) => `${piece.kind}[${seconds(from)}-${seconds(to)}]`),
    ].join(' '),
  );
}

test('pieces lie in their lanes, and the picture is as long as they are', () => {
  const picture = new Picture(of(lane('a'), lane('b'), segment('b', 2, 9), segment('a', 1, 4)));
  expect(drawn(picture)).toEqual(['a: task[1-4]', 'b: task[2-9]']);
  expect([picture.start, picture.end].map(seconds)).toEqual([1, 9]);
});

test('a piece takes the place of the one of its key, and others come behind', () => {
  const before = of(lane('a'), segment('a', 1));
  const after = place(before, [segment('a', 1, 4), lane('b'), segment('b', 2, 3)]);
  expect(drawn(new Picture(after))).toEqual(['a: task[1-4]', 'b: task[2-3]']);
  expect(drawn(new Picture(before))).toEqual(['a: task[1-..]']);
});

test('what goes on keeps the picture open; a result that waits does not', () => {
  expect(new Picture(of(lane('a'), segment('a', 1))).end).toBeUndefined();
  const waits = of(lane('a'), segment('a', 1, 4), segment('a', 4, undefined, 'result'));
  expect(seconds(new Picture(waits).end)).toBe(4);
});

test('a gap is as long as any other, and the axis leaves it out', () => {
  const picture = new Picture(
    of(
      lane('a'),
      segment('a', 0, 100),
      gap(100, 90_100),
      gap(90_200, 93_800),
      lane('b'),
      segment('b', 90_100, 93_900),
    ),
  );
  const folded = (s: number) => Math.round(picture.fold(ZERO + s * 1_000) - ZERO) / 1_000;
  // Outside the gaps there are three hundred seconds.
  expect(folded(100)).toBe(100);
  expect(folded(90_100)).toBe(109);
  expect(folded(45_100)).toBe(104.5);
  expect(folded(90_200)).toBe(209);
  expect(folded(93_800)).toBe(218);
  expect(folded(93_900)).toBe(318);
  const { lines, step } = picture.axis(ZERO, ZERO + 318_000, 800);
  expect(step).toBe(60_000);
  expect(lines.map(seconds)).toEqual([0, 60, 90_120, 90_180, 93_840, 93_900]);
});

test('a recording is drawn as it was at a moment', () => {
  const recorded = of(lane('a'), segment('a', 1, 4), lane('b'), segment('b', 6, 9));
  const picture = new Picture(recorded, ZERO + 3_000);
  expect(drawn(picture)).toEqual(['a: task[1-..]', 'b:']);
  expect(picture.lanes[0]?.things[0]?.piece).toMatchObject({ says: [], look: 'running' });
  expect(picture.end).toBeUndefined();
});

test.each([
  [1_000, 10],
  [60_000, 7],
  [86_400_000, 9],
])('the axis of %i ms has lines that can be read', (span, most) => {
  const { lines } = new Picture(NOTHING).axis(ZERO, ZERO + span, 800);
  expect(lines.length).toBeGreaterThan(2);
  expect(lines.length).toBeLessThanOrEqual(most);
});
