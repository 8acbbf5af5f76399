import type { Shown } from '../../src/protocol/generated';

/** A task in the daemon's words, of which most tests need only how it stands. */
export function shown(outcome: Shown['outcome'] = 'running', change: Partial<Shown> = {}): Shown {
  return { title: 'npm test', outcome, stands: outcome, ...change };
}
