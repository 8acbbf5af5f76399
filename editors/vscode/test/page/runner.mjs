// Runs tests one after the other in one window, prints a line for each, and counts them.
import { join } from 'node:path';

/** `tidy` cleans up after a failed test, so that it does not make others fail. */
export function runner(pattern = '', tidy = () => undefined) {
  const counts = { passed: 0, failed: 0 };
  const wanted = new RegExp(pattern);
  return {
    counts,
    /** Runs a test; if it fails, takes a screenshot of the window. */
    async test(window, name, work) {
      if (!wanted.test(name)) return;
      const since = Date.now();
      try {
        await work();
        counts.passed++;
        console.log(`ok ${name} (${Date.now() - since} ms)`);
      } catch (error) {
        counts.failed++;
        console.log(`not ok ${name} (${Date.now() - since} ms)\n${error.stack}`);
        if (process.env.SHOTS) {
          const shot = join(process.env.SHOTS, `${name.replaceAll(/\W+/g, '-')}.png`);
          await window.page.screenshot({ path: shot }).catch(() => undefined);
        }
        await window.page.keyboard.press('Escape').catch(() => undefined);
        try {
          await tidy();
        } catch (error) {
          console.log(`# not tidied: ${error.message}`);
        }
      }
    },
    end() {
      console.log(`${counts.passed} passed, ${counts.failed} failed`);
      process.exit(counts.failed === 0 ? 0 : 1);
    },
  };
}

export async function until(condition, what, ms = 15_000) {
  const end = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 25));
  }
}

/** Waits until a locator has exactly this number of elements: two panels do not draw the same change at once. */
export async function hasCount(locator, expected) {
  const isExpected = async () => (await locator.count()) === expected;
  await until(isExpected, `${expected} of ${locator}`);
}
