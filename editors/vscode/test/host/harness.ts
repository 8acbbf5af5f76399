// A test runner of a few lines: the extension host has none, and a test framework would be more code
// than the tests need. Results go to the file that MEANWHILE_TEST_RESULTS names.

import { appendFileSync } from 'node:fs';

type Work = () => Promise<void> | void;
const tests: { name: string; work: Work }[] = [];
const TEST_TIMEOUT_MS = 60_000;

export function test(name: string, work: Work): void {
  tests.push({ name, work });
}

export async function runAll(): Promise<void> {
  const only = process.env.MEANWHILE_TEST_ONLY;
  let failed = 0;
  // Repeats the tests, to find rare failures.
  const times = Number(process.env.MEANWHILE_TEST_TIMES ?? 1);
  for (const { name, work } of Array.from({ length: times }, () => tests).flat()) {
    if (only && !new RegExp(only).test(name)) continue;
    const since = Date.now();
    let line = `ok ${name}`;
    try {
      await Promise.race([work(), timeout(TEST_TIMEOUT_MS)]);
    } catch (error) {
      failed++;
      // Later failures are mostly consequences of the first.
      if (process.env.MEANWHILE_TEST_FAIL_FAST && failed > 2) break;
      line = `not ok ${name}\n${(error as Error).stack ?? error}`;
    }
    report(line.replace(/$/m, ` (${Date.now() - since} ms)`));
  }
  if (failed > 0) throw new Error(`${failed} failed`);
}

function report(line: string): void {
  const file = process.env.MEANWHILE_TEST_RESULTS;
  if (file) appendFileSync(file, `${line}\n`);
  else console.log(line);
}

function timeout(ms: number): Promise<never> {
  return new Promise((_, fail) => {
    setTimeout(() => fail(new Error(`not done after ${ms} ms`)), ms);
  });
}

/** Waits until a condition holds, and returns its value. */
export async function until<T>(
  condition: () => T | undefined | false | Promise<T | undefined | false>,
  what: string,
  ms = 10_000,
): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((done) => {
      setTimeout(done, 20);
    });
  }
}

/** The longest time the event loop was blocked while something ran. */
export async function longestBlock(work: () => Promise<void>): Promise<number> {
  let longest = 0;
  let last = Date.now();
  const timer = setInterval(() => {
    const now = Date.now();
    longest = Math.max(longest, now - last - 5);
    last = now;
  }, 5);
  await work();
  longest = Math.max(longest, Date.now() - last - 5);
  clearInterval(timer);
  return longest;
}
