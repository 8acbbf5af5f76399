import type { Shown } from '../../src/protocol/generated';

/** The `shown` of a task; most tests care only about its outcome. */
export function shown(outcome: Shown['outcome'] = 'running', change: Partial<Shown> = {}): Shown {
  return { title: 'npm test', outcome, stands: outcome, ...change };
}
