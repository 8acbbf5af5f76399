import type { Shown } from '../../src/protocol/generated';

/** The `shown` of a task; most tests care only about its outcome. */
export function shown(outcome: Shown['outcome'] = 'running', change: Partial<Shown> = {}): Shown {
  const words = { title: 'npm test', outcome, stands: outcome };
  switch (outcome) {
    case 'queued':
    case 'running':
    case 'stopping':
      return { ...words, order: '1', ...change };
    case 'succeeded':
    case 'stopped':
      return { ...words, order: '2', notice: 'info', ...change };
    case 'failed':
    case 'timedOut':
    case 'lost':
      return { ...words, order: '2', notice: 'error', ...change };
  }
}
