import { expect, test } from 'vitest';
import { without } from '../../src/daemon/secrets';

const SECRETS = { OPENAI_API_KEY: 'sk-"1"', NONE: '' };

test.each([
  ['text', 'key sk-"1" here', 'key *** here'],
  ['JSON', JSON.stringify({ key: 'sk-"1"' }), '{"key":"***"}'],
])('a secret is hidden in %s', (_, text, hidden) => expect(without(SECRETS, text)).toBe(hidden));
